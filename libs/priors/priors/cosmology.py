"""The cosmology of the project, distances in it, and the volume that a search is sensitive to."""

from functools import lru_cache

import astropy.cosmology
import numpy as np
from numpy.polynomial import chebyshev

COSMOLOGY = astropy.cosmology.Planck15
"""Planck 2015 results XIII (Ade et al., A&A 594, A13 (2016)), as astropy has it."""

# D_L / z is one polynomial in ln(1 + z) up to a fixed redshift: a value does not depend on the
# others in its array
DEGREE = 128
FARTHEST = 100.0


def named_cosmology(name: str) -> astropy.cosmology.FLRW:
    """Cosmology by astropy's name.

    Raises:
        ValueError: astropy has none of this name, or it is not flat.
    """
    if name not in astropy.cosmology.available:
        known = ", ".join(sorted(astropy.cosmology.available))
        raise ValueError(f"no cosmology {name!r}: astropy has {known}")
    cosmology = getattr(astropy.cosmology, name)
    if not cosmology.is_flat:
        raise ValueError(f"cosmology {name} is not flat, expected a flat one, such as Planck15")
    return cosmology


@lru_cache
def _distance_series(cosmology_name: str) -> np.ndarray:
    """Chebyshev coefficients of D_L / z [Mpc] in ln(1 + z) on [0, FARTHEST]."""
    cosmology = named_cosmology(cosmology_name)

    def ratio(x: np.ndarray) -> np.ndarray:
        redshift = np.expm1((x + 1) / 2 * np.log1p(FARTHEST))
        return cosmology.luminosity_distance(redshift).to_value("Mpc") / redshift

    return chebyshev.chebinterpolate(ratio, DEGREE)


def luminosity_distance(
    redshift: np.ndarray, cosmology: astropy.cosmology.FLRW = COSMOLOGY
) -> np.ndarray:
    """Luminosity distance of each redshift [Mpc].

    astropy's value to 1e-11, by interpolation: astropy itself integrates for each redshift.

    Args:
        redshift: Redshifts, from 0 to 100.
        cosmology: One of astropy's named, flat cosmologies.

    Raises:
        ValueError: A redshift is outside that range.
    """
    redshift = np.asarray(redshift, dtype=np.float64)
    if not ((redshift >= 0) & (redshift <= FARTHEST)).all():
        raise ValueError(
            f"redshifts are on [{np.min(redshift):g}, {np.max(redshift):g}], "
            f"expected [0, {FARTHEST:g}]"
        )
    x = 2 * np.log1p(redshift) / np.log1p(FARTHEST) - 1
    return redshift * chebyshev.chebval(x, _distance_series(cosmology.name))


def distance_slope(
    redshift: np.ndarray, cosmology: astropy.cosmology.FLRW = COSMOLOGY
) -> np.ndarray:
    """Change of the luminosity distance with redshift, in a flat cosmology [Mpc].

    The derivative of D_L = (1 + z) D_C with dD_C/dz = c / H(z) (Hogg, astro-ph/9905116,
    equations 15, 16 and 21).
    """
    redshift = np.asarray(redshift, dtype=np.float64)
    hubble_distance = cosmology.hubble_distance.to_value("Mpc")
    comoving = luminosity_distance(redshift, cosmology) / (1 + redshift)
    return comoving + (1 + redshift) * hubble_distance * cosmology.inv_efunc(redshift)


def redshift_at(distance: np.ndarray, cosmology: astropy.cosmology.FLRW = COSMOLOGY) -> np.ndarray:
    """Redshift of each luminosity distance [Mpc]: the inverse of `luminosity_distance`.

    Raises:
        ValueError: A distance is negative, or beyond redshift 100.
    """
    distance = np.asarray(distance, dtype=np.float64)
    grid, distances = _distance_table(cosmology.name)
    if not ((distance >= 0) & (distance <= distances[-1])).all():
        raise ValueError(
            f"distances are on [{np.min(distance):g}, {np.max(distance):g}] Mpc, "
            f"expected [0, {distances[-1]:g}]"
        )
    redshift = np.interp(distance, distances, grid)
    for _ in range(3):  # Newton: the table is good to 1e-5, and each step doubles the digits
        excess = luminosity_distance(redshift, cosmology) - distance
        redshift = redshift - excess / distance_slope(redshift, cosmology)
        redshift = np.clip(redshift, 0, FARTHEST)
    return redshift


@lru_cache
def _distance_table(cosmology_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Redshifts up to FARTHEST, and their luminosity distances [Mpc]."""
    grid = np.expm1(np.linspace(0, np.log1p(FARTHEST), 4097))
    grid[-1] = FARTHEST
    return grid, luminosity_distance(grid, named_cosmology(cosmology_name))


def time_volume_density(
    redshift: np.ndarray, cosmology: astropy.cosmology.FLRW = COSMOLOGY
) -> np.ndarray:
    """dVc/dz / (1 + z) of the whole sky, in a flat cosmology [Gpc^3].

    Proportional to the density of redshift of sources at a constant rate per comoving volume and
    source-frame time, as a detector meets them.
    """
    redshift = np.asarray(redshift, dtype=np.float64)
    hubble_distance = cosmology.hubble_distance.to_value("Gpc")
    comoving = luminosity_distance(redshift, cosmology) / (1 + redshift) / 1e3
    shell = 4 * np.pi * np.square(comoving) * hubble_distance * cosmology.inv_efunc(redshift)
    return shell / (1 + redshift)


def comoving_time_volume(
    redshift_max: float,
    redshift_min: float = 0.0,
    cosmology: astropy.cosmology.FLRW = COSMOLOGY,
) -> float:
    """Volume in which sources of constant rate per comoving volume and source time are counted.

    The integral of dVc/dz / (1 + z) over the whole sky: multiplied by a rate per source-frame
    time and comoving volume it is the rate of signals that pass a detector.

    Args:
        redshift_max: Upper limit of the integral.
        redshift_min: Lower limit.
        cosmology: One of astropy's named, flat cosmologies.

    Returns:
        Volume [Gpc^3].
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    half = (redshift_max - redshift_min) / 2
    redshift = redshift_min + half * (nodes + 1)
    return float(half * np.sum(weights * time_volume_density(redshift, cosmology)))
