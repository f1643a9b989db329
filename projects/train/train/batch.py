"""What a network is trained on in one step."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from torch import Tensor


class Kind(IntEnum):
    """What a kernel holds. All but `SIGNAL` are labelled noise."""

    NOISE = 0
    """Background as it was drawn."""
    SIGNAL = 1
    """A signal, seen by all detectors."""
    SWAPPED = 2
    """A signal, with another one in its place in one detector."""
    MUTED = 3
    """A signal that one detector does not see."""
    GLITCH = 4
    """Background with a glitch in one detector."""


class Batch(NamedTuple):
    """Kernels of a training step.

    Attributes:
        kernels: Whitened strain, float32, of shape (batch, ifo, kernel_size).
        labels: 1 for a signal, 0 for noise, float32, of shape (batch,).
        taps: The filters that whitened the kernels, of shape (batch, ifo, filter_size).
        kind: What each kernel holds, a code of `Kind`, int8, of shape (batch,).
    """

    kernels: Tensor
    labels: Tensor
    taps: Tensor
    kind: Tensor
