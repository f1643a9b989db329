"""Polarizations that are made when they are asked for."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from waveforms.model import SignalModel, Sources, num_sources, rows_of
from waveforms.responses import require_all

log = logging.getLogger("waveforms")


class PolarizationSet:
    """Signals to train on, from parameters alone.

    Only the rows asked for are made, together. Bits may depend on the company in the last place,
    so a whole run is repeated bit for bit if it asks for the same rows together, not else. A row
    of which the model makes nothing physical is replaced by the good one before it (or after it)
    among those asked for, logged and counted in `num_replaced`: one bad source in a hundred
    thousand must not end a training.

    Args:
        model: Makes the polarizations, on its device.
        sources: Parameters by name, of length n.
    """

    def __init__(self, model: SignalModel, sources: Sources) -> None:
        self.model, self.sources = model, sources
        self.num_replaced = 0

    def __len__(self) -> int:
        return num_sources(self.sources)

    def __getitem__(self, rows: slice | np.ndarray | list[int]) -> tuple[Tensor, Tensor]:
        """Plus and cross, float32, of shape (rows, size), on the model's device.

        Args:
            rows: Which, as numpy takes them: a slice, indices in any order, or a mask.

        Raises:
            IndexError: There is no such row.
            ValueError: Not one of the signals can be made.
        """
        wanted = np.arange(len(self))[rows]
        shape = (len(wanted), self.model.size)
        plus = torch.zeros(shape, dtype=torch.float32, device=self.model.device)
        cross = torch.zeros_like(plus)
        for batch in self.model.batches(rows_of(self.sources, wanted)):
            plus[batch.index], cross[batch.index] = batch.plus.float(), batch.cross.float()
        if self.model.failures:
            self._replace(plus, cross, wanted)
        return plus, cross

    def _replace(self, plus: Tensor, cross: Tensor, wanted: np.ndarray) -> None:
        """Put good signals where there are none."""
        failures = self.model.failures
        good = np.ones(len(wanted), dtype=bool)
        good[[failure.index for failure in failures]] = False
        if not good.any():
            require_all(self.model, rows=wanted)
        if not self.num_replaced:
            log.warning(
                "row %d has no signal (%s): another takes its place",
                wanted[failures[0].index],
                failures[0].reason,
            )
        self.num_replaced += len(failures)
        places = np.flatnonzero(good)
        before = np.clip(np.searchsorted(places, np.flatnonzero(~good)) - 1, 0, None)
        bad = torch.from_numpy(np.flatnonzero(~good)).to(plus.device)
        donor = torch.from_numpy(places[before]).to(plus.device)
        plus[bad], cross[bad] = plus[donor], cross[donor]
