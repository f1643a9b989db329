"""Signals before they meet a detector."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ledger.product import Product, column, group, scalar


@dataclass(kw_only=True)
class WaveformSet(Product):
    """Plus and cross polarizations of many sources, for training."""

    product: ClassVar[str] = "waveforms"
    sample_rate: float = scalar("Hz", "samples per second")
    coalescence: float = scalar("s", "time of coalescence after the first sample")
    parameters: dict[str, np.ndarray] = group("waveform", "source parameters by name")
    plus: np.ndarray = column("waveform,time", "strain", "plus polarization", "float32")
    cross: np.ndarray = column("waveform,time", "strain", "cross polarization", "float32")
