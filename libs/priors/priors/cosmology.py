"""The one cosmology of the project, and the volume that a search is sensitive to."""

import numpy as np
from astropy.cosmology import Planck15

COSMOLOGY = Planck15
"""Planck 2015 results XIII (Ade et al., A&A 594, A13 (2016)), as astropy has it."""


def luminosity_distance(redshift: np.ndarray) -> np.ndarray:
    """Luminosity distance of each redshift [Mpc]."""
    return np.asarray(COSMOLOGY.luminosity_distance(redshift).to_value("Mpc"))


def comoving_time_volume(redshift_max: float) -> float:
    """Volume in which sources of constant rate per comoving volume and source time are counted.

    The integral of dVc/dz / (1 + z) over the whole sky from redshift 0: multiplied by a rate per
    source-frame time and comoving volume it is the rate of signals that pass a detector.

    Args:
        redshift_max: Upper limit of the integral.

    Returns:
        Volume [Gpc^3].
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    redshift = redshift_max * (nodes + 1) / 2
    density = COSMOLOGY.differential_comoving_volume(redshift).to_value("Gpc3 / sr")
    return float(4 * np.pi * redshift_max / 2 * np.sum(weights * density / (1 + redshift)))
