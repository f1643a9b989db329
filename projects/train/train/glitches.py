"""Kernels with a glitch in one detector."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.background import Background

LOUDEST_PART = 0.01
"""Part of all seconds that counts as glitches where there is no list."""

GLITCH_LENGTH = 1 / 16
"""Time over which power is summed in the search for the loudest seconds [s]."""


def read_triggers(path: Path, ifos: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read a list of glitches.

    Args:
        path: CSV file with the columns `ifo` and `time` (GPS, the middle of the glitch) [s];
            further columns, such as `snr`, may be there.
        ifos: Detectors; rows of others are left out.

    Returns:
        GPS times of each detector's glitches, float64, sorted.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing, or a time is no number.
    """
    times: dict[str, list[float]] = {ifo: [] for ifo in ifos}
    with Path(path).open(newline="") as file:
        rows = csv.DictReader(file)
        missing = {"ifo", "time"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(
                f"{path} has no column {' and '.join(sorted(missing))}: expected ifo,time[,snr], "
                f"found {','.join(rows.fieldnames or ())}"
            )
        for row in rows:
            try:
                time = float(row["time"])
            except (TypeError, ValueError):
                raise ValueError(
                    f"{path}, line {rows.line_num}: time {row['time']} is no GPS time"
                ) from None
            if row["ifo"] in times:
                times[row["ifo"]].append(time)
    return {ifo: np.sort(np.array(found)) for ifo, found in times.items()}


def loudest_samples(values: Tensor, sample_rate: float) -> Tensor:
    """Middles of the loudest parts of the loudest seconds of one detector.

    Args:
        values: Whitened strain, of shape (time,).
        sample_rate: Sample rate [Hz].

    Returns:
        Samples, one for each hundred seconds or part thereof.
    """
    second, size = round(sample_rate), round(GLITCH_LENGTH * sample_rate)
    power = torch.nn.functional.avg_pool1d(values.square()[None], size, size // 2)[0]
    per_second = second // (size // 2)
    missing = -len(power) % per_second
    power = torch.nn.functional.pad(power, (0, missing)).reshape(-1, per_second)
    loudest = power.max(dim=-1)
    count = math.ceil(len(power) * LOUDEST_PART)
    seconds = loudest.values.topk(count).indices
    return (seconds * per_second + loudest.indices[seconds]) * (size // 2) + size // 2


class Glitches:
    """Where kernels that see a glitch begin.

    Args:
        ifos: Detectors.
        triggers: GPS times of each detector's glitches [s]; the loudest hundredth of all seconds
            of the background where None.
    """

    def __init__(
        self, ifos: tuple[str, ...], triggers: Mapping[str, np.ndarray] | None = None
    ) -> None:
        self.ifos = ifos
        self.triggers = triggers

    def _samples(self, background: Background, row: int, slot: int) -> Tensor:
        """Positions of a detector's glitches in a stretch."""
        where = background.slots[slot]
        rate = background.recipe.sample_rate
        values = background.values[row, where.place : where.place + where.size]
        if self.triggers is None:
            return where.place + loudest_samples(values, rate)
        seconds = self.triggers[self.ifos[row]] - where.gps_start
        samples = np.floor(seconds * rate).astype(np.int64)
        inside = samples[(samples >= 0) & (samples < where.size)]
        return torch.from_numpy(where.place + inside).to(values.device)

    def find(self, background: Background) -> None:
        """Find the glitches that the background in memory holds.

        A glitch from which no kernel may be taken, since it lies at a window that is left out or
        at an end, is passed over.

        Raises:
            ValueError: None is left.
        """
        first, last = background.first, background.last
        rows, begins, ends = [], [], []
        for row in range(len(self.ifos)):
            samples = torch.cat(
                [self._samples(background, row, slot) for slot in range(len(background.slots))]
            )
            # of the run that the earliest kernel around the glitch lies in, or of the next
            begin = samples - background.kernel_size + 1
            run = torch.searchsorted(last, begin).clamp(max=len(last) - 1)
            begin = torch.maximum(begin, first[run])
            end = torch.minimum(samples, last[run])
            good = begin <= end
            rows.append(torch.full_like(begin[good], row))
            begins.append(begin[good])
            ends.append(end[good])
        self._rows, self._begins, self._ends = map(torch.cat, (rows, begins, ends))
        if not len(self._rows):
            raise ValueError(
                "none of the glitches of data.glitches lies in the training strain in memory: "
                "give others, raise data.memory_length or set data.glitch_fraction to 0"
            )

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw glitches, each as often as any other, anywhere in a kernel.

        Args:
            count: Number of kernels.
            generator: Random numbers, on the device of the background.

        Returns:
            The detector of each and the position at which its kernel begins, of shape (count,).
        """
        device = self._rows.device
        which = torch.randint(len(self._rows), (count,), generator=generator, device=device)
        begin, size = self._begins[which], (self._ends - self._begins + 1)[which]
        part = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
        return self._rows[which], begin + (part * size).long()
