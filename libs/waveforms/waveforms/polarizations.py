"""Polarizations that are made when they are asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from waveforms.model import SignalModel, Sources, num_sources, rows_of
from waveforms.responses import require_all


class PolarizationSet:
    """Signals to train on, from parameters alone.

    Only the rows asked for are made, together. Bits may depend on the company in the last place,
    so a whole run is repeated bit for bit if it asks for the same rows together, not else.

    Args:
        model: Makes the polarizations, on its device.
        sources: Parameters by name, of length n.
    """

    def __init__(self, model: SignalModel, sources: Sources) -> None:
        self.model, self.sources = model, sources

    def __len__(self) -> int:
        return num_sources(self.sources)

    def __getitem__(self, rows: slice | np.ndarray | list[int]) -> tuple[Tensor, Tensor]:
        """Plus and cross, float32, of shape (rows, size), on the model's device.

        Args:
            rows: Which, as numpy takes them: a slice, indices in any order, or a mask.

        Raises:
            IndexError: There is no such row.
            ValueError: The signal of a row cannot be made.
        """
        wanted = np.arange(len(self))[rows]
        shape = (len(wanted), self.model.size)
        plus = torch.zeros(shape, dtype=torch.float32, device=self.model.device)
        cross = torch.zeros_like(plus)
        for batch in self.model.batches(rows_of(self.sources, wanted)):
            plus[batch.index], cross[batch.index] = batch.plus.float(), batch.cross.float()
        require_all(self.model, rows=wanted)
        return plus, cross
