"""How far a detector sees."""

from __future__ import annotations

import numpy as np
from cleaning import asd
from gwpy.astro import sensemon_range
from gwpy.frequencyseries import FrequencySeries

LOWEST = 20.0
"""Where the integral begins [Hz]."""


def inspiral_range(strain: np.ndarray, rate: int) -> float:
    """Distance at which two neutron stars are seen with an SNR of 8, averaged over directions.

    R^2 = 5 c^(1/3) (G M)^(5/3) 1.77^2 / (96 pi^(4/3) 8^2) * int f^(-7/3) / S(f) df, with the
    chirp mass M of two stars of 1.4 solar masses, from `LOWEST` to the innermost stable orbit
    (LIGO-T030276). Not corrected for redshift. The density is the median over 2 s segments.

    Args:
        strain: Of shape (time,).
        rate: Sample rate [Hz].

    Returns:
        The range [Mpc].
    """
    frequency, density = asd(strain, rate)
    series = FrequencySeries(density**2, frequencies=frequency, unit="1/Hz")
    return float(sensemon_range(series, snr=8, mass1=1.4, mass2=1.4, fmin=LOWEST).to("Mpc").value)
