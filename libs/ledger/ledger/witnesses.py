"""Strain with the channels that witness its noise."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ledger.files import ProductError
from ledger.product import Product, column, scalar


@dataclass(kw_only=True)
class WitnessSet(Product):
    """A stretch of strain and of witness channels, each at one rate, to learn couplings from."""

    product: ClassVar[str] = "witnesses"
    gps_start: int = scalar("s", "GPS second of the first sample")
    strain_rate: int = scalar("Hz", "samples of strain per second")
    witness_rate: int = scalar("Hz", "samples of each witness per second")
    strain_channel: str = scalar("", "full name of the strain channel")
    problem: str = scalar("", "digest of the problem that the channels are taken from")
    channel: list[str] = column("channel", "", "full names of the witnesses", "str")
    strain: np.ndarray = column("time", "strain", "strain; zero where not usable")
    witness: np.ndarray = column(
        "channel,sample", "", "witnesses in their own units; zero where not usable", "float32"
    )
    usable: np.ndarray = column(
        "second", "", "whether a second was there, and analysed, in all channels", "int8"
    )

    @property
    def gps_stop(self) -> int:
        """GPS second after the last sample."""
        return self.gps_start + len(self.usable)

    def validate(self) -> None:
        """Check the declarations, and that all columns have one length in time.

        Raises:
            ProductError: Strain or witnesses are longer or shorter than the seconds.
        """
        super().validate()
        for name, values, rate in (
            ("strain", self.strain, self.strain_rate),
            ("witness", self.witness, self.witness_rate),
        ):
            if values.shape[-1] != len(self.usable) * rate:
                raise ProductError(
                    f"witnesses: {name} has {values.shape[-1]} samples, expected "
                    f"{len(self.usable) * rate} for {len(self.usable)} s at {rate} Hz"
                )
