"""Signals before they meet a detector."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ledger.product import Product, column, group, scalar


@dataclass(kw_only=True)
class WaveformSet(Product):
    """Sources to train on, with their plus and cross polarizations or without.

    Without, `waveforms.PolarizationSet` makes them when they are needed.
    """

    product: ClassVar[str] = "waveforms"
    schema: ClassVar[int] = 2
    sample_rate: float = scalar("Hz", "samples per second")
    coalescence: float = scalar("s", "time of coalescence after the first sample")
    parameters: dict[str, np.ndarray] = group("waveform", "source parameters by name")
    num_failed: int = scalar("", "draws replaced because the model gave something unphysical")
    plus: np.ndarray = column(
        "stored,time", "strain", "plus polarization, of all sources or of none", "float32"
    )
    cross: np.ndarray = column(
        "stored,time", "strain", "cross polarization, of all sources or of none", "float32"
    )
