"""Shapes of real glitches."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ledger.files import ProductError
from ledger.product import Product, column, scalar


@dataclass(kw_only=True)
class GlitchSet(Product):
    """Glitches cut from data and whitened by the noise around them."""

    product: ClassVar[str] = "glitches"
    sample_rate: float = scalar("Hz", "samples per second")
    ifo: list[str] = column("glitch", "", "detector that a glitch was cut from", "str")
    time: np.ndarray = column("glitch", "s", "GPS time of the middle of the shape")
    snr: np.ndarray = column("glitch", "", "root of the sum of squares of the shape")
    shape: np.ndarray = column(
        "glitch,time",
        "",
        "whitened strain, in which Gaussian noise has density 2 / sample_rate",
        "float32",
    )

    def validate(self) -> None:
        """Check the declarations, and that each shape has its SNR.

        Raises:
            ProductError: A shape is empty, or louder or quieter than its SNR.
        """
        super().validate()
        found = np.sqrt(np.square(self.shape, dtype=np.float64).sum(axis=-1))
        wrong = np.flatnonzero((found <= 0) | (np.abs(found - self.snr) > 1e-4 * found))
        if len(wrong):
            raise ProductError(
                f"glitches: shape {wrong[0]} has SNR {found[wrong[0]]}, its row says "
                f"{self.snr[wrong[0]]}"
            )
