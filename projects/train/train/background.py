"""Whitened background from which kernels are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from ledger.strain import Role
from preprocessing import WhitenedStretch, stretches
from preprocessing.stretches import LoadedStretch
from runtime import Experiment
from torch import Tensor

Sampling = Literal["independent", "coincident", "slid"]


def load_stretches(
    index_path: Path, experiment: Experiment, role: Role, fold: int, device: torch.device
) -> list[LoadedStretch]:
    """Read and whiten all files of a role that are long enough for a kernel.

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
    shortest = experiment.kernel_length
    return list(stretches.load_stretches(index_path, experiment, role, fold, shortest, device))


def allowed_starts(
    gps_start: float,
    size: int,
    kernel_size: int,
    sample_rate: float,
    left_out: Sequence[tuple[float, float]],
) -> list[tuple[int, int]]:
    """Runs of samples of a stretch at which a kernel may begin.

    Args:
        gps_start: GPS time of the first sample [s].
        size: Samples in the stretch.
        kernel_size: Samples in a kernel.
        sample_rate: Sample rate [Hz].
        left_out: GPS windows that no kernel may touch [s].

    Returns:
        Half-open runs of samples of the stretch.
    """
    runs = []
    begin, end = 0, size - kernel_size + 1
    cuts = sorted(
        (
            int((start - gps_start) * sample_rate) - kernel_size,
            int((stop - gps_start) * sample_rate) + 1,
        )
        for start, stop in left_out
    )
    for start, stop in cuts:
        if stop <= begin or start >= end:
            continue
        if start > begin:
            runs.append((begin, start))
        begin = max(begin, stop)
    if begin < end:
        runs.append((begin, end))
    return runs


@dataclass(frozen=True)
class Slot:
    """Where a stretch lies in memory.

    Attributes:
        place: First sample in the row of all stretches.
        block: First of its filters among those of all stretches.
        gps_start: GPS time of its first sample [s].
        size: Samples in it.
    """

    place: int
    block: int
    gps_start: float
    size: int


class Background:
    """Random kernels of whitened noise.

    Stretches lie in slots of one row of samples. A position is a sample of that row; kernels begin
    at positions of runs in which nothing is left out.

    Args:
        loaded: Whitened stretches, one for each slot.
        kernel_size: Samples in a kernel.
        left_out: GPS windows that no kernel may touch, such as those of known events [s].
        sampling: `independent`: each detector at a time of its own; `coincident`: all detectors at
            one time; `slid`: the allowed time of each detector is rolled further than that of the
            one before by a step that is drawn for each batch, as in a time slide.
        sizes: Samples that each slot has room for; those of the stretches if None.

    Raises:
        ValueError: Nothing is left to draw from, or too little to slide.
    """

    def __init__(
        self,
        loaded: Iterable[LoadedStretch],
        kernel_size: int,
        left_out: Sequence[tuple[float, float]] = (),
        sampling: Sampling = "independent",
        sizes: Sequence[int] | None = None,
    ) -> None:
        self.kernel_size = kernel_size
        self.left_out = left_out
        self.sampling = sampling
        self.seconds_waiting = 0.0
        if sizes is None:
            loaded = list(loaded)
            sizes = [item.stretch.values.shape[-1] for item in loaded]
        for number, item in enumerate(loaded):
            if not number:
                self._allocate(item.stretch, sizes)
            self._put(number, item)
        self.update_runs()

    def _allocate(self, example: WhitenedStretch, sizes: Sequence[int]) -> None:
        """Take the memory of all slots, of the type and on the device of a stretch."""
        self.recipe = example.recipe
        ends = [0, *itertools.accumulate(sizes)]
        blocks = [-(-size // self.recipe.update_size) for size in sizes]
        block_ends = [0, *itertools.accumulate(blocks)]
        self.slots = [Slot(ends[i], block_ends[i], 0.0, 0) for i in range(len(sizes))]
        self.values = example.values.new_zeros(len(example.values), ends[-1])
        self.taps = example.taps.new_zeros(block_ends[-1], *example.taps.shape[1:])

    def _put(self, number: int, item: LoadedStretch) -> None:
        """Lay a stretch into a slot; the runs are to be updated afterwards."""
        slot, size = self.slots[number], item.stretch.values.shape[-1]
        self.values[:, slot.place : slot.place + size] = item.stretch.values
        self.taps[slot.block : slot.block + len(item.stretch.taps)] = item.stretch.taps
        self.slots[number] = replace(slot, gps_start=item.gps_start, size=size)

    def update_runs(self) -> None:
        """Find the runs in which kernels may begin.

        Raises:
            ValueError: There are none, or too short ones to slide.
        """
        rows = [
            (slot.place + begin, slot.place + end, slot.place, slot.block)
            for slot in self.slots
            for begin, end in allowed_starts(
                slot.gps_start,
                slot.size,
                self.kernel_size,
                self.recipe.sample_rate,
                self.left_out,
            )
        ]
        if not rows:
            raise ValueError(
                "no background is left to train on: every kernel touches a window that is left out"
            )
        device = self.values.device
        table = torch.tensor(rows, device=device)
        self.first, self.last = table[:, 0].contiguous(), table[:, 1] - 1
        self._place, self._block = table[:, 2], table[:, 3]
        self.total = sum(end - begin for begin, end, _, _ in rows)
        self.cumulative = (self.last + 1 - self.first).cumsum(0)
        self.livetime = self.total / self.recipe.sample_rate
        if self.sampling == "slid" and self.total <= len(self.values) * self.kernel_size:
            raise ValueError(
                f"{self.livetime:.1f} s of background are too short to slide {len(self.values)} "
                "detectors by a kernel each: use data.sampling: independent"
            )

    def prepare(self, number: int) -> bool:
        """Make ready for a batch.

        Args:
            number: Number of the batch.

        Returns:
            Whether other strain is in memory than before.
        """
        return False

    def draw_starts(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw where kernels begin.

        Args:
            batch: Number of kernels.
            generator: Random numbers, on the device of the background.

        Returns:
            Positions, of shape (ifo, batch).
        """
        num_ifos, device = len(self.values), self.values.device
        count = num_ifos if self.sampling == "independent" else 1
        draws = torch.randint(self.total, (count, batch), generator=generator, device=device)
        if self.sampling == "slid":
            longest = (self.total - self.kernel_size) // max(1, num_ifos - 1)
            step = torch.randint(
                self.kernel_size, longest + 1, (1, 1), generator=generator, device=device
            )
            draws = draws + step * torch.arange(num_ifos, device=device)[:, None]
        draws = draws.expand(num_ifos, batch) % self.total
        run = torch.searchsorted(self.cumulative, draws.contiguous(), right=True)
        return self.last[run] + 1 - (self.cumulative[run] - draws)

    def kernels_at(self, starts: Tensor) -> Tensor:
        """Kernels at given places.

        Args:
            starts: Positions, of shape (ifo, batch).

        Returns:
            Tensor of shape (batch, ifo, kernel_size).
        """
        windows = self.values.unfold(-1, self.kernel_size, 1)
        return torch.stack([windows[i][starts[i]] for i in range(len(starts))], dim=1)

    def taps_at(self, starts: Tensor) -> Tensor:
        """Filters that whitened the middles of kernels.

        Args:
            starts: Positions, of shape (ifo, batch).

        Returns:
            Tensor of shape (batch, ifo, filter_size).
        """
        run = torch.searchsorted(self.first, starts.contiguous(), right=True) - 1
        middle = starts + self.kernel_size // 2 - self._place[run]
        size = self.recipe.update_size
        block = self._block[run] + torch.div(middle, size, rounding_mode="floor")
        return torch.stack([self.taps[block[i], i] for i in range(len(starts))], dim=1)

    def draw(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw kernels, and the filters that whitened them.

        Args:
            batch: Number of kernels.
            generator: Random numbers, on the device of the background.

        Returns:
            Kernels, of shape (batch, ifo, kernel_size), and filters, of shape (batch, ifo,
            filter_size).
        """
        starts = self.draw_starts(batch, generator)
        return self.kernels_at(starts), self.taps_at(starts)

    def close(self) -> None:
        """End what reads strain; nothing where all is in memory."""
