"""Pairs of parameters that say two masses, and how they turn into each other.

The same relations hold in the source and in the detector frame. `mass_ratio` is that of the
second mass to the first.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


def chirp_mass(mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
    """(m1 m2)^(3/5) / (m1 + m2)^(1/5) [Msun]."""
    return (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2


def mass_ratio(mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
    """m2 / m1."""
    return mass_2 / mass_1


def symmetric_mass_ratio(mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
    """m1 m2 / (m1 + m2)^2."""
    return mass_1 * mass_2 / (mass_1 + mass_2) ** 2


QUANTITIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mass_1": lambda mass_1, mass_2: mass_1,
    "mass_2": lambda mass_1, mass_2: mass_2,
    "total_mass": lambda mass_1, mass_2: mass_1 + mass_2,
    "chirp_mass": chirp_mass,
    "mass_ratio": mass_ratio,
    "symmetric_mass_ratio": symmetric_mass_ratio,
}
"""What can be told from two masses, and so be constrained."""

MASS_DIMENSION = ("mass_1", "mass_2", "total_mass", "chirp_mass")
"""Those of `QUANTITIES` that are masses, and differ between the frames."""


@dataclass(frozen=True)
class MassPair:
    """Two parameters that say two masses.

    Attributes:
        names: Their names, each one of `QUANTITIES`.
        masses: From their values to the masses [Msun].
        log_jacobian: Logarithm of |d(parameters) / d(mass_1, mass_2)| at two masses: added to the
            log density of the parameters it gives that of the masses.
    """

    names: tuple[str, str]
    masses: Callable[[np.ndarray, np.ndarray], Pair]
    log_jacobian: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def parameters(self, mass_1: np.ndarray, mass_2: np.ndarray) -> Pair:
        """Values of the two parameters at two masses."""
        first, second = (QUANTITIES[name](mass_1, mass_2) for name in self.names)
        return first, second


def _from_chirp_mass(chirp: np.ndarray, ratio: np.ndarray) -> Pair:
    mass_1 = chirp * (1 + ratio) ** 0.2 / ratio**0.6
    return mass_1, mass_1 * ratio


def _from_total_mass(total: np.ndarray, ratio: np.ndarray) -> Pair:
    mass_1 = total / (1 + ratio)
    return mass_1, mass_1 * ratio


PAIRS = (
    MassPair(
        ("mass_1", "mass_2"),
        lambda mass_1, mass_2: (mass_1, mass_2),
        lambda mass_1, mass_2: np.zeros_like(mass_1),
    ),
    MassPair(
        ("mass_1", "mass_ratio"),
        lambda mass_1, ratio: (mass_1, mass_1 * ratio),
        lambda mass_1, mass_2: -np.log(mass_1),
    ),
    MassPair(
        ("chirp_mass", "mass_ratio"),
        _from_chirp_mass,
        lambda mass_1, mass_2: np.log(chirp_mass(mass_1, mass_2)) - 2 * np.log(mass_1),
    ),
    MassPair(
        ("total_mass", "mass_ratio"),
        _from_total_mass,
        lambda mass_1, mass_2: np.log(mass_1 + mass_2) - 2 * np.log(mass_1),
    ),
)
"""The pairs that a population may be given by."""


def order_components(sources: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Call the heavier body of each binary the first; the sources stay what they are.

    Whatever belongs to one body (`a_1` and `a_2`, `mass_1_source` and `mass_2_source`) goes with
    it. The azimuth from the first spin to the second turns round, and the orbital phase, that of
    one body as seen from the other, moves by half a turn.

    Args:
        sources: Parameters of binaries by name, of shape (source,).
    """
    swapped = sources["mass_2_source"] > sources["mass_1_source"]
    if not swapped.any():
        return sources
    partners = {name: name for name in sources}
    for name in sources:
        other = re.sub(r"_1(?=_|$)", "_2", name)
        if other != name and other in sources:
            partners[name], partners[other] = other, name
    turned = {
        **sources,
        "phi_12": -sources["phi_12"] % (2 * np.pi),
        "phase": (sources["phase"] + np.pi) % (2 * np.pi),
    }
    return {
        name: np.where(swapped, turned[partners[name]], values) for name, values in sources.items()
    }
