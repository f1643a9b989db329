"""Populations by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from bilby.core.prior import Cosine, Prior, Sine, Uniform
from bilby.gw.prior import UniformSourceFrame

from priors.cosmology import COSMOLOGY, comoving_time_volume, luminosity_distance
from priors.masses import MassDistribution, PowerLawMasses, UniformMasses

SPINS = ("a_1", "a_2", "tilt_1", "tilt_2", "phi_12", "phi_jl")
ORIENTATION: dict[str, Prior] = {
    "theta_jn": Sine(),
    "phase": Uniform(0, 2 * np.pi),
    "psi": Uniform(0, np.pi),
    "ra": Uniform(0, 2 * np.pi),
    "dec": Cosine(),
}


@dataclass(frozen=True)
class Population:
    """Binaries at a constant rate per comoving volume and source-frame time, on the whole sky.

    The redshift has density proportional to dVc/dz / (1 + z) on [0, redshift_max], in the
    Planck 2015 cosmology. Masses are given in the source frame; those in the detector frame are
    (1 + z) times larger. Orientations and positions are isotropic.

    Attributes:
        name: Name of the population.
        redshift_max: Largest redshift.
        masses: Distribution of the source-frame masses.
        spins: Prior of each spin parameter; a parameter without one is zero.
    """

    name: str
    redshift_max: float
    masses: MassDistribution
    spins: Mapping[str, Prior]

    @property
    def volume(self) -> float:
        """Integral of dVc/dz / (1 + z) over the redshifts and the sky [Gpc^3]."""
        return comoving_time_volume(self.redshift_max)

    def sample(self, n: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw sources.

        Each parameter comes from uniform numbers of `generator` through bilby's inverse
        distribution function, so bilby's own random state plays no part.

        Args:
            n: How many.
            generator: Source of the random numbers.

        Returns:
            float64 arrays of length n by bilby's names: masses [Msun] of both frames
            (`mass_1_source >= mass_2_source`), `redshift`, `luminosity_distance` [Mpc], spin
            magnitudes and angles [rad], `theta_jn`, `phase`, `psi`, `ra`, `dec` [rad], and
            `log_prior`, the logarithm of the density of the source-frame masses.
        """
        redshift_prior = UniformSourceFrame(
            minimum=0, maximum=self.redshift_max, cosmology=COSMOLOGY.name, name="redshift"
        )
        mass_1, mass_2 = self.masses.rescale(generator.random((2, n)))
        redshift = np.asarray(redshift_prior.rescale(generator.random(n)))
        sources = {
            "mass_1_source": mass_1,
            "mass_2_source": mass_2,
            "mass_1_detector": mass_1 * (1 + redshift),
            "mass_2_detector": mass_2 * (1 + redshift),
            "redshift": redshift,
            "luminosity_distance": luminosity_distance(redshift),
            "log_prior": self.log_prob_source_masses(mass_1, mass_2),
        }
        # Every parameter takes its numbers, used or not: a change in one leaves the others be.
        for name in SPINS:
            uniform = generator.random(n)
            prior = self.spins.get(name)
            sources[name] = np.zeros(n) if prior is None else np.asarray(prior.rescale(uniform))
        for name, prior in ORIENTATION.items():
            sources[name] = np.asarray(prior.rescale(generator.random(n)))
        return sources

    def log_prob_source_masses(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density of the source-frame masses [log 1/Msun^2].

        Args:
            mass_1: Heavier mass [Msun].
            mass_2: Lighter mass [Msun].

        Returns:
            One value for each pair; -inf where the population has none.
        """
        return self.masses.log_prob(np.asarray(mass_1), np.asarray(mass_2))


ISOTROPIC_SPINS: dict[str, Prior] = {
    "a_1": Uniform(0, 0.998),
    "a_2": Uniform(0, 0.998),
    "tilt_1": Sine(),
    "tilt_2": Sine(),
    "phi_12": Uniform(0, 2 * np.pi),
    "phi_jl": Uniform(0, 2 * np.pi),
}

DISTRIBUTIONS: dict[str, tuple[MassDistribution, Mapping[str, Prior]]] = {
    # black-hole binaries of the injections behind the O3 rates (Abbott et al., Phys. Rev. X 13,
    # 011048 (2023)): a broad power law to be reweighted
    "end_o3_ratesandpops": (
        PowerLawMasses(alpha=-2.35, beta=1, minimum=5, maximum=100),
        ISOTROPIC_SPINS,
    ),
    "nonspin_bbh": (UniformMasses(minimum=5, maximum=100), {}),
}

NAMES = tuple(DISTRIBUTIONS)
"""Names that `population` knows."""


def population(name: str, redshift_max: float) -> Population:
    """Population of a name.

    Args:
        name: One of `NAMES`.
        redshift_max: Largest redshift drawn.

    Raises:
        ValueError: No population has this name (those that exist are listed), or the redshift
            is not positive.
    """
    if name not in DISTRIBUTIONS:
        raise ValueError(f"no population {name!r}: there are {', '.join(NAMES)}")
    if not redshift_max > 0:
        raise ValueError(f"redshift_max is {redshift_max}, expected more than 0")
    masses, spins = DISTRIBUTIONS[name]
    return Population(name=name, redshift_max=redshift_max, masses=masses, spins=spins)
