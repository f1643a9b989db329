"""What a population may give a prior of, and which random numbers each parameter takes."""

import numpy as np
from bilby.core.prior import Cosine, Prior, Sine, Uniform

from priors.conversions import PAIRS

MASSES = tuple(dict.fromkeys(name for pair in PAIRS for name in pair.names))
DISTANCES = ("redshift", "luminosity_distance")
BURSTS = ("frequency", "quality", "hrss", "eccentricity", "epsilon")
SPINS = ("a_1", "a_2", "tilt_1", "tilt_2", "phi_12", "phi_jl")
TIDES = ("lambda_1", "lambda_2")

ORIENTATION: dict[str, Prior] = {
    "theta_jn": Sine(),
    "phase": Uniform(0, 2 * np.pi),
    "psi": Uniform(0, np.pi),
    "ra": Uniform(0, 2 * np.pi),
    "dec": Cosine(),
}
"""Isotropic: what a population has that says nothing else."""

# A source takes a row of random numbers, and each parameter its own column of it, used or not: a
# change in one parameter leaves the others be. Of the names in one column a population has one.
_COLUMNS: tuple[tuple[str, ...], ...] = (
    ("mass_1", "chirp_mass", "total_mass", "frequency"),
    ("mass_2", "mass_ratio", "quality"),
    ("redshift", "luminosity_distance"),
    ("a_1", "chi_1", "hrss"),
    ("a_2", "chi_2", "eccentricity"),
    ("tilt_1", "cos_tilt_1", "epsilon"),
    ("tilt_2", "cos_tilt_2"),
    ("phi_12",),
    ("phi_jl",),
    ("theta_jn", "cos_theta_jn"),
    ("phase",),
    ("psi",),
    ("ra",),
    ("dec",),
    ("lambda_1",),
    ("lambda_2",),
)
COLUMN = {name: number for number, names in enumerate(_COLUMNS) for name in names}
NUM_COLUMNS = len(_COLUMNS)


def plain_parameters(drawn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Replace cosines of angles and spins along the orbit by the angles and magnitudes.

    Args:
        drawn: Values by name, of shape (source,).

    Returns:
        The same sources with `tilt_i` for `cos_tilt_i`, `theta_jn` for `cos_theta_jn`, and for
        `chi_i` its size as `a_i` and a `tilt_i` of 0 or pi.
    """
    plain = {}
    for name, values in drawn.items():
        if name.startswith("cos_"):
            plain[name.removeprefix("cos_")] = np.arccos(np.clip(values, -1, 1))
        elif name.startswith("chi_"):
            plain[f"a_{name[-1]}"] = np.abs(values)
            plain[f"tilt_{name[-1]}"] = np.where(values < 0, np.pi, 0.0)
        else:
            plain[name] = values
    return plain
