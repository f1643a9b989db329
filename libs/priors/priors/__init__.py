"""Named populations of sources, their cosmology and the densities that reweighting needs."""

from priors.cosmology import COSMOLOGY, comoving_time_volume, luminosity_distance
from priors.definitions import NAMES
from priors.masses import LogNormalMasses, MassDensity, PowerLawMasses, UniformMasses
from priors.populations import Population, load_population, population

__all__ = [
    "COSMOLOGY",
    "NAMES",
    "LogNormalMasses",
    "MassDensity",
    "Population",
    "PowerLawMasses",
    "UniformMasses",
    "comoving_time_volume",
    "load_population",
    "luminosity_distance",
    "population",
]
