"""Simulated signals placed in detector data."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ledger.product import Product, column, group, scalar


@dataclass(kw_only=True)
class InjectionSet(Product):
    """Signals as the detectors would see them, and those that were drawn but are hopeless.

    The rejected draws are part of the population: a sensitive volume counts them as missed.
    """

    product: ClassVar[str] = "injections"
    ifos: tuple[str, ...] = scalar("", "detectors")
    sample_rate: float = scalar("Hz", "samples per second of the responses")
    coalescence: float = scalar("s", "time of coalescence after a response's first sample")
    snr_threshold: float = scalar("", "least network SNR of an accepted injection")
    volume: float = scalar("Gpc^3", "integral of dVc/dz/(1+z) over the population's redshifts")
    time: np.ndarray = column("injection", "s", "GPS time of coalescence at the geocentre")
    snr: np.ndarray = column("injection", "", "optimal network SNR by the local PSD")
    ifo_snr: np.ndarray = column("injection,ifo", "", "optimal SNR in each detector")
    parameters: dict[str, np.ndarray] = group("injection", "parameters of the accepted")
    response: np.ndarray = column(
        "injection,ifo,time",
        "strain",
        "signal in each detector; sample i is at time - coalescence + i / sample_rate",
        "float32",
    )
    rejected: dict[str, np.ndarray] = group("rejected", "parameters of the rejected")
    rejected_snr: np.ndarray = column("rejected", "", "optimal network SNR of the rejected")

    @property
    def num_drawn(self) -> int:
        """Number of draws from the population, accepted and rejected."""
        return len(self.snr) + len(self.rejected_snr)
