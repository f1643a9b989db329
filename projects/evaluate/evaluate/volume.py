r"""Sensitive volume and time-volume of a target population, by importance weights.

Signals are drawn from a population with the joint density p of source-frame masses, redshift and
spins; V_p is the integral of dVc/dz / (1 + z) over its redshifts. For sources of the density q on
redshifts with the integral V_q, the volume in which they are found is V_q times the share of them
that is found (Tiwari 2018, CQG 35, 145009; Farr 2019, RNAAS 3, 66)

    V = V_q / N * sum_found q_i / p_i = V_p / N * sum_found w_i

where N counts all draws, those that were rejected because their SNR is hopeless included: they
are draws that are not found. The weights w (`evaluate.densities`) are the ratio of the densities
that are relative to a constant rate on their own redshifts, which turns V_q into V_p.

Multiplied by the time searched and by the mean rate per comoving volume and source-frame time of
the target on its redshifts, V gives the number of sources to be found; for a target at a constant
rate that is its rate.

The estimator is not normalised by the sum of the weights, so that it is unbiased for any number of
draws; it needs q and p to be normalised, which `mean_weight` checks. Its variance is that of the
mean of w_i * found_i over all N draws.

With several folds, fold k searches the time T_k with N_k draws of its own, and the volume of the
search is the mean of the folds' volumes weighted with T_k; times the sum of T_k this is the
time-volume, the sum of T_k V_k.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluate.rates import YEAR

# Below this many effective samples, a volume is known to worse than a fifth.
FEW_SAMPLES = 25.0


@dataclass(frozen=True)
class Draws:
    """What one fold knows about sources of a target.

    Attributes:
        weights: Importance weight of each accepted draw.
        num_drawn: Number of draws, accepted and rejected.
        volume: V_p, integral of dVc/dz / (1 + z) over the redshifts drawn [Gpc^3].
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
        searched: Time searched by all folds [yr].
    """

    volume: float
    std: float | None
    effective_samples: float
    searched: float

    @property
    def time_volume(self) -> float:
        """Sensitive time-volume [Gpc^3 yr]."""
        return self.volume * self.searched

    @property
    def time_volume_std(self) -> float | None:
        """Its standard deviation [Gpc^3 yr]; None if no draw was found."""
        return None if self.std is None else self.std * self.searched


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
    return SensitiveVolume(float(volume), std, effective, searched / YEAR)


def bootstrap_std(
    folds: Sequence[Draws],
    found: Sequence[np.ndarray],
    generator: np.random.Generator,
    num_resamples: int = 200,
) -> float:
    """Standard deviation of a sensitive volume from resampled draws [Gpc^3].

    Each resample takes, in each fold, as many of all draws as there are, with replacement; those
    that are not found are only counted. It is itself known to one part in the root of
    2 * `num_resamples`.

    Args:
        folds: Draws of each fold.
        found: For each fold, whether each accepted draw was found.
        generator: Source of the random numbers.
        num_resamples: Number of resamples, at least 2.
    """
    searched = sum(fold.livetime for fold in folds)
    volumes = np.zeros(num_resamples)
    for fold, mask in zip(folds, found, strict=True):
        weights = fold.weights[mask]
        if not len(weights):
            continue
        counts = generator.binomial(fold.num_drawn, len(weights) / fold.num_drawn, num_resamples)
        share = fold.volume * fold.livetime / searched / fold.num_drawn
        for i, count in enumerate(counts):
            volumes[i] += share * weights[generator.integers(len(weights), size=count)].sum()
    return float(np.std(volumes, ddof=1))


def mean_weight(weights: np.ndarray) -> tuple[float, float]:
    """Mean of the weights of all draws of a fold, and its standard error.

    The mean is what `evaluate.targets` expects, within its error, if both densities are normalised
    and the draws are from the population.

    Args:
        weights: Weights of the accepted and the rejected draws.
    """
    error = float(np.std(weights) / np.sqrt(max(len(weights) - 1, 1)))
    return float(np.mean(weights)), error
