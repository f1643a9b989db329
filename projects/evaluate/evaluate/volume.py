r"""Sensitive volume around a pair of masses, by importance weights.

Signals are drawn from a population with the density p(m1, m2) of source-frame masses and a
density of redshift proportional to dVc/dz / (1 + z); V0 is the integral of the latter over the
redshifts drawn. For sources with the mass density q(m1, m2) and all else as in the population,
the volume in which they are found is (Tiwari 2018, CQG 35, 145009; Farr 2019, RNAAS 3, 66)

    V = V0 / N * sum_found w_i,   w_i = q(m1_i, m2_i) / p(m1_i, m2_i)

where N counts all draws, those that were rejected because their SNR is hopeless included: they
are draws that are not found. The estimator is not normalised by the sum of the weights, so
that it is unbiased for any number of draws; it needs q and p to be normalised, which
`mean_weight` checks. Its variance is that of the mean of w_i * found_i over all N draws.

With several folds, fold k searches the time T_k with N_k draws of its own, and the volume of the
search is the mean of the folds' volumes weighted with T_k (the time-volume over the time).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from priors import LogNormalMasses
from scipy.stats import norm

LogDensity = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Below this many effective samples, a volume is known to worse than a fifth.
FEW_SAMPLES = 25.0


class MassTarget:
    """Narrow distribution of two source-frame masses around a pair.

    The larger and the smaller of two independent log-normal masses, cut to the masses that the
    population has at all, and normalised over what is left.

    Args:
        pair: The two masses, the larger first, source frame [Msun].
        width: Standard deviation of the logarithm of either mass.
        population: Log density of the population in source-frame masses [log 1/Msun^2]; -inf
            where it has none.
        size: Number of points along each mass for the integral of what the cut leaves, whose
            relative error is then of order 1 / size.

    Attributes:
        kept: Probability that the cut leaves.

    Raises:
        ValueError: The masses are not in order, or the population has none of the target's.
    """

    def __init__(
        self, pair: tuple[float, float], width: float, population: LogDensity, size: int = 1000
    ) -> None:
        if not pair[0] >= pair[1] > 0:
            raise ValueError(
                f"evaluation.mass_pairs has {list(pair)}: the larger mass comes first, and both "
                "are positive"
            )
        self.pair = pair
        self._uncut = LogNormalMasses(*pair, width)
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


def importance_weights(
    target: MassTarget, mass_1: np.ndarray, mass_2: np.ndarray, log_source: np.ndarray
) -> np.ndarray:
    """Density of the target over that of the population at masses drawn from the population.

    Args:
        target: The target.
        mass_1: Larger masses, source frame [Msun].
        mass_2: Smaller masses, source frame [Msun].
        log_source: Log density of the population at these masses [log 1/Msun^2].

    Raises:
        ValueError: The population has no such masses, so they cannot be drawn from it.
    """
    bad = np.flatnonzero(~np.isfinite(log_source))
    if len(bad):
        raise ValueError(
            f"an injection has source-frame masses ({mass_1[bad[0]]:.4g}, {mass_2[bad[0]]:.4g}) "
            "Msun, which the population of waveforms.prior does not have: the injections were "
            "drawn from another population, make them again"
        )
    return np.exp(target.log_prob(mass_1, mass_2) - log_source)


@dataclass(frozen=True)
class Draws:
    """What one fold knows about sources of a target.

    Attributes:
        weights: Importance weight of each accepted draw.
        num_drawn: Number of draws, accepted and rejected.
        volume: V0, integral of dVc/dz / (1 + z) over the redshifts drawn [Gpc^3].
        livetime: Time that the fold searched [s].
    """

    weights: np.ndarray
    num_drawn: int
    volume: float
    livetime: float


@dataclass(frozen=True)
class SensitiveVolume:
    """A sensitive volume.

    Attributes:
        volume: Volume [Gpc^3].
        std: Its standard deviation [Gpc^3]; None if no draw was found, which tells none.
        effective_samples: Number of found draws of equal weight that would tell as much,
            (sum w)^2 / sum w^2 over the found ones.
    """

    volume: float
    std: float | None
    effective_samples: float


def sensitive_volume(folds: Sequence[Draws], found: Sequence[np.ndarray]) -> SensitiveVolume:
    """Volume in which sources of a target are found.

    Args:
        folds: Draws of each fold.
        found: For each fold, whether each accepted draw was found.
    """
    searched = sum(fold.livetime for fold in folds)
    volume = variance = total = squares = 0.0
    for fold, mask in zip(folds, found, strict=True):
        share = fold.volume * fold.livetime / searched
        weights = fold.weights[mask]
        mean = weights.sum() / fold.num_drawn
        mean_square = np.square(weights).sum() / fold.num_drawn
        volume += share * mean
        variance += share**2 * (mean_square - mean**2) / max(fold.num_drawn - 1, 1)
        parts = share * weights / fold.num_drawn
        total += parts.sum()
        squares += np.square(parts).sum()
    effective = float(total**2 / squares) if squares else 0.0
    std = float(np.sqrt(variance)) if squares else None
    return SensitiveVolume(float(volume), std, effective)


def mean_weight(weights: np.ndarray) -> tuple[float, float]:
    """Mean of the weights of all draws of a fold, and its standard error.

    The mean is 1 within its error if both densities are normalised and the draws are from the
    population.

    Args:
        weights: Weights of the accepted and the rejected draws.
    """
    error = float(np.std(weights) / np.sqrt(max(len(weights) - 1, 1)))
    return float(np.mean(weights)), error
