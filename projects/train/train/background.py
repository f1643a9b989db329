"""Whitened background from which kernels are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from ledger import StrainFile, StrainIndex, StrainSegment
from ledger.strain import Role
from preprocessing import WhitenedStretch, WhiteningRecipe, whiten
from runtime import Experiment, progress, require_same
from runtime.provenance import SAME_STRAIN
from torch import Tensor


@dataclass(frozen=True)
class LoadedStretch:
    """One file's whitened strain.

    Attributes:
        file: Where it is from.
        gps_start: GPS time of the first whitened sample [s].
        stretch: The whitened strain and its filters.
    """

    file: StrainFile
    gps_start: float
    stretch: WhitenedStretch


def load_stretches(
    index_path: Path, experiment: Experiment, role: Role, fold: int, device: torch.device
) -> list[LoadedStretch]:
    """Read and whiten all files of a role.

    Args:
        index_path: The strain index.
        experiment: The experiment.
        role: Which files.
        fold: Fold of the experiment.
        device: Where the whitened strain stays.

    Raises:
        ProductError: The index or a file was made with other settings.
        ValueError: No file of that role is long enough.
    """
    require_same(index_path, experiment, SAME_STRAIN)
    index = StrainIndex.read(index_path)
    if not 0 <= fold < index.num_folds:
        raise ValueError(f"{index_path} has folds 0 to {index.num_folds - 1}, found fold {fold}")
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    loaded = []
    for file in progress(index.files(index_path, role, fold), f"whiten {role}", unit="file"):
        segment = StrainSegment.read(file.path, experiment.ifos)
        strain = torch.stack([torch.from_numpy(segment.strain[i]) for i in experiment.ifos])
        if recipe.whitened_size(strain.shape[-1]) < experiment.kernel_length * recipe.sample_rate:
            continue
        stretch = whiten(strain.to(device), recipe)
        loaded.append(LoadedStretch(file, segment.gps_start + recipe.lead, stretch))
    if not loaded:
        raise ValueError(
            f"{index_path} has no {role} file of at least {experiment.shortest_segment} s in fold "
            f"{fold} (psd_length + fduration + kernel_length)"
        )
    return loaded


def allowed_starts(
    loaded: Sequence[LoadedStretch],
    kernel_size: int,
    sample_rate: float,
    left_out: Sequence[tuple[float, float]],
) -> list[tuple[int, int]]:
    """Runs of samples at which a kernel may begin.

    Args:
        loaded: Stretches, laid end to end.
        kernel_size: Samples in a kernel.
        sample_rate: Sample rate [Hz].
        left_out: GPS windows that no kernel may touch [s].

    Returns:
        Half-open runs of positions in the row of all stretches.
    """
    runs = []
    offset = 0
    for item in loaded:
        size = item.stretch.values.shape[-1]
        begin, end = 0, size - kernel_size + 1
        cuts = sorted(
            (
                int((start - item.gps_start) * sample_rate) - kernel_size,
                int((stop - item.gps_start) * sample_rate) + 1,
            )
            for start, stop in left_out
        )
        for start, stop in cuts:
            if stop <= begin or start >= end:
                continue
            if start > begin:
                runs.append((offset + begin, offset + start))
            begin = max(begin, stop)
        if begin < end:
            runs.append((offset + begin, offset + end))
        offset += size
    return runs


class Background:
    """Random kernels of whitened noise, each detector at a time of its own.

    Args:
        loaded: Whitened stretches.
        kernel_size: Samples in a kernel.
        left_out: GPS windows that no kernel may touch, such as those of known events [s].

    Raises:
        ValueError: Nothing is left to draw from.
    """

    def __init__(
        self,
        loaded: Sequence[LoadedStretch],
        kernel_size: int,
        left_out: Sequence[tuple[float, float]] = (),
    ) -> None:
        recipe = loaded[0].stretch.recipe
        self.kernel_size = kernel_size
        self.values = torch.cat([item.stretch.values for item in loaded], dim=-1)
        self.taps = torch.cat([item.stretch.taps for item in loaded])
        device = self.values.device
        blocks, offset = [], 0
        for item in loaded:
            samples = torch.arange(item.stretch.values.shape[-1], device=device)
            blocks.append((item.stretch.block_of(samples) + offset).int())
            offset += len(item.stretch.taps)
        self.block = torch.cat(blocks)
        runs = allowed_starts(loaded, kernel_size, recipe.sample_rate, left_out)
        if not runs:
            raise ValueError(
                "no background is left to train on: every kernel touches a window that is left out"
            )
        self.first = torch.tensor([a for a, _ in runs], device=device)
        self.cumulative = torch.tensor([b - a for a, b in runs], device=device).cumsum(0)
        self.livetime = float(self.cumulative[-1]) / recipe.sample_rate

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw kernels.

        Args:
            batch: Number of kernels.
            generator: Random numbers, on the device of the background.

        Returns:
            Kernels, of shape (batch, ifo, kernel_size), and the filters that whitened them, of
            shape (batch, ifo, filter_size).
        """
        num_ifos = len(self.values)
        device = self.values.device
        draws = torch.randint(
            int(self.cumulative[-1]), (num_ifos, batch), generator=generator, device=device
        )
        run = torch.searchsorted(self.cumulative, draws, right=True)
        before = torch.where(run > 0, self.cumulative[run - 1], 0)
        start = self.first[run] + draws - before
        samples = start[..., None] + torch.arange(self.kernel_size, device=device)
        kernels = torch.stack([self.values[i][samples[i]] for i in range(num_ifos)], dim=1)
        middle = self.block[start + self.kernel_size // 2].long()
        taps = torch.stack([self.taps[middle[i], i] for i in range(num_ifos)], dim=1)
        return kernels, taps
