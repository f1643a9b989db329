"""Sources for which a sensitive volume is wanted, and the weights that lead to them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from priors import LogNormalMasses
from priors.cosmology import time_volume_density
from scipy.stats import norm

from evaluate.densities import Parameters, SourceDensity, differing, log_weights

LogDensity = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Sources drawn from a target to see which share of it the injections cover
NUM_COVERING = 20_000


class MassTarget:
    """Narrow distribution of two source-frame masses around a pair.

    The larger and the smaller of two independent log-normal masses, cut to the masses that the
    population has at all, and normalised over what is left.

    Args:
        pair: The two masses, the larger first, source frame [Msun].
        width: Standard deviation of the logarithm of either mass.
        population: Log density of the population in source-frame masses [log 1/Msun^2]; -inf
            where it has none. None for no cut.
        size: Number of points along each mass for the integral of what the cut leaves, whose
            relative error is then of order 1 / size.

    Attributes:
        kept: Probability that the cut leaves.

    Raises:
        ValueError: The masses are not in order, or the population has none of the target's.
    """

    def __init__(
        self,
        pair: tuple[float, float],
        width: float,
        population: LogDensity | None,
        size: int = 1000,
    ) -> None:
        if not pair[0] >= pair[1] > 0:
            raise ValueError(
                f"evaluation.mass_pairs has {list(pair)}: the larger mass comes first, and both "
                "are positive"
            )
        self.pair = pair
        self._uncut = LogNormalMasses(*pair, width)
        self.kept = 1.0
        if population is None:
            return
        # midpoints of cells of equal probability
        normal = norm.ppf((np.arange(size) + 0.5) / size)
        grid = np.meshgrid(*(mass * np.exp(width * normal) for mass in pair))
        masses = np.stack([axis.ravel() for axis in grid])
        inside = np.isfinite(population(masses.max(axis=0), masses.min(axis=0)))
        self.kept = float(np.mean(inside))
        if not self.kept:
            raise ValueError(
                f"evaluation.mass_pairs has {list(pair)}, but the population of waveforms.prior "
                "has no such masses"
            )

    def log_prob(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """Log density at source-frame masses that the population has [log 1/Msun^2]."""
        return self._uncut.log_prob(mass_1, mass_2) - np.log(self.kept)


@dataclass(frozen=True)
class Target:
    """A population of sources, as seen from the injections.

    Attributes:
        name: What to call the sources in a sentence, after "the sources".
        covered: Share of the target that the injections' population has sources like.
        is_cut: The target is only the covered share; otherwise what is not covered is part of it
            and counts as never found.
        mean_weight: What the mean of the weights over all draws, rejected ones included, is to
            be.
        weigh: Weights of draws, from their parameters by name, each of shape (draw,).
    """

    name: str
    covered: float
    is_cut: bool
    mean_weight: float
    weigh: Callable[[Parameters], np.ndarray]

    @property
    def warning(self) -> str | None:
        """What a reader must know of the cover; None if there is nothing."""
        if self.is_cut and self.covered < 0.9:
            return (
                f"The population of the injections has only {self.covered:.0%} of the mass "
                f"distribution {self.name}; the volume is that of this part."
            )
        if not self.is_cut and self.covered < 0.999:
            return (
                f"{1 - self.covered:.1%} of the sources {self.name} are unlike any injection and "
                "count as never found: the volume is a lower limit, unless these are out of reach."
            )
        return None


def pair_target(
    pair: tuple[float, float], width: float, source: SourceDensity, generator: np.random.Generator
) -> Target:
    """Sources at a constant rate with masses around a pair, and all else as the injections.

    Where the injections' masses are of the source frame, the masses are cut to those that there
    are among the injections. Where they are of the detector frame, which source-frame masses there
    are depends on the redshift, and nothing is cut.

    Args:
        pair: The two masses, the larger first, source frame [Msun].
        width: Standard deviation of the logarithm of either mass.
        source: Population of the injections.
        generator: Source of random numbers.

    Raises:
        ValueError: See `MassTarget`.
    """
    population = source.population
    is_cut = population.frame == "source"
    masses = MassTarget(pair, width, population.log_prob_source_masses if is_cut else None)
    covered, mean = masses.kept, 1.0
    if not is_cut:
        draws = np.sort(
            np.log([pair] * NUM_COVERING) + width * generator.normal(size=(NUM_COVERING, 2)),
            axis=1,
        )
        drawn = {
            "mass_1_source": np.exp(draws[:, 1]),
            "mass_2_source": np.exp(draws[:, 0]),
            "redshift": _constant_rate(source, generator.random(NUM_COVERING)),
        }
        covered = mean = float(np.mean(np.isfinite(source.log_prob_masses(drawn))))

    def weigh(parameters: Parameters) -> np.ndarray:
        target = masses.log_prob(parameters["mass_1_source"], parameters["mass_2_source"])
        return np.exp(target - source.log_prob_masses(parameters))

    name = f"around ({pair[0]:g}, {pair[1]:g}) Msun"
    return Target(name, covered, is_cut, mean, weigh)


def population_target(
    target: SourceDensity, source: SourceDensity, generator: np.random.Generator
) -> Target:
    """Sources of a population.

    Args:
        target: The population.
        source: Population of the injections.
        generator: Source of random numbers.

    Raises:
        ValueError: No weights lead from the injections to it; see `log_weights`.
    """
    differing(target, source)
    drawn = target.population.sample(NUM_COVERING, generator)
    # zero where the injections have none, and so are their weights
    covered = float(np.mean(np.isfinite(log_weights(source, target, drawn))))

    def weigh(parameters: Parameters) -> np.ndarray:
        return np.exp(log_weights(target, source, parameters))

    return Target(
        name=f"of population {target.population.name}",
        covered=covered,
        is_cut=False,
        mean_weight=covered * target.volume / source.volume,
        weigh=weigh,
    )


def require_drawn_from(source: SourceDensity, parameters: Parameters, where: str) -> None:
    """Stop if sources were not drawn from a population.

    Args:
        source: The population.
        parameters: Parameters by name, each of shape (source,).
        where: Which sources these are, for the message.

    Raises:
        ValueError: A parameter is missing, the population has no such sources, or their
            `log_prior` is another one.
    """
    names = ("mass_1_source", "mass_2_source", "redshift")
    missing = [name for name in names if name not in parameters]
    if missing:
        raise ValueError(
            f"{where} has no {', '.join(missing)} among its parameters "
            f"({', '.join(sorted(parameters))}): a sensitive volume needs masses and redshift"
        )
    log_prob = source.log_prob_masses(parameters)
    bad = ~np.isfinite(log_prob)
    if "log_prior" in parameters:
        with np.errstate(invalid="ignore"):
            bad |= ~(np.abs(log_prob - parameters["log_prior"]) < 1e-3)
    if bad.any():
        first = np.flatnonzero(bad)[0]
        masses = [f"{parameters[name][first]:.4g}" for name in names]
        raise ValueError(
            f"{where}: an injection has source-frame masses ({masses[0]}, {masses[1]}) Msun and "
            f"redshift {masses[2]}, which population {source.population.name} of waveforms.prior "
            f"{'does not have' if not np.isfinite(log_prob[first]) else 'has at another density'}"
            ": the injections were drawn from another population, make them again"
        )


def _constant_rate(source: SourceDensity, uniform: np.ndarray) -> np.ndarray:
    """Redshifts of sources at a constant rate on a population's redshifts."""
    population = source.population
    grid = np.linspace(population.redshift_min or 0.0, population.redshift_max or 0.0, 2001)
    middle = (grid[1:] + grid[:-1]) / 2
    cells = np.cumsum(time_volume_density(middle, population.cosmology))
    return np.interp(uniform, np.concatenate([[0.0], cells / cells[-1]]), grid)
