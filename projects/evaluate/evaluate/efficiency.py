"""Fraction of injections found."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta


@dataclass(frozen=True)
class FoundFraction:
    """Injections found in bins of a quantity; all arrays but `edges` have one entry per bin.

    Attributes:
        edges: Edges of the bins, one more than there are bins.
        num_found: Number found.
        num_total: Number of injections.
        fraction: Number found over number of injections; NaN in an empty bin.
        lower: Lower end of the binomial interval.
        upper: Upper end of the binomial interval.
    """

    edges: np.ndarray
    num_found: np.ndarray
    num_total: np.ndarray
    fraction: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def binomial_interval(
    num_found: np.ndarray, num_total: np.ndarray, interval: float
) -> tuple[np.ndarray, np.ndarray]:
    """Exact central interval of a probability of success.

    The interval of Clopper and Pearson (1934, Biometrika 26, 404), which covers the truth with
    at least the probability `interval` whatever it is.

    Args:
        num_found: Numbers of successes.
        num_total: Numbers of trials.
        interval: Probability content, between 0 and 1.

    Returns:
        Lower and upper ends; 0 and 1 where there are no trials.
    """
    found = np.asarray(num_found, dtype=np.float64)
    missed = np.asarray(num_total, dtype=np.float64) - found
    tail = (1 - interval) / 2
    lower = np.where(found > 0, beta.ppf(tail, np.maximum(found, 1), missed + 1), 0.0)
    upper = np.where(missed > 0, beta.ppf(1 - tail, found + 1, np.maximum(missed, 1)), 1.0)
    return lower, upper


def snr_edges(snr: np.ndarray, num_bins: int = 12, loudest: float = 40.0) -> np.ndarray:
    """Edges of bins of network SNR, equal in the logarithm.

    Args:
        snr: Network SNR of the accepted injections; not empty.
        num_bins: Number of bins.
        loudest: The bins end here if there are louder injections; these are all but certain to
            be found, and join the last bin.
    """
    low = max(float(np.min(snr)), 1.0)
    high = max(min(float(np.max(snr)), loudest), 1.1 * low)
    return np.geomspace(low, high, num_bins + 1)


def found_fraction(
    snr: np.ndarray, found: np.ndarray, edges: np.ndarray, interval: float
) -> FoundFraction:
    """Fraction of injections found in bins of network SNR.

    Args:
        snr: Network SNR of each injection.
        found: Whether each was found.
        edges: Edges of the bins, ascending. What lies outside joins the first or last bin.
        interval: Probability content of the binomial interval.
    """
    inside = np.clip(snr, edges[0], edges[-1])
    num_total = np.histogram(inside, edges)[0]
    num_found = np.histogram(inside[np.asarray(found, dtype=bool)], edges)[0]
    lower, upper = binomial_interval(num_found, num_total, interval)
    with np.errstate(invalid="ignore"):
        fraction = np.where(num_total > 0, num_found / num_total, np.nan)
    return FoundFraction(edges, num_found, num_total, fraction, lower, upper)


def quantity_edges(values: np.ndarray, num_bins: int = 10) -> np.ndarray:
    """Edges of bins of a positive quantity, equal in the logarithm.

    Args:
        values: Values of the injections; not empty. One in fifty at either end lies outside.
        num_bins: Number of bins.
    """
    low, high = np.quantile(values, (0.02, 0.98))
    return np.geomspace(low, max(high, 1.1 * low), num_bins + 1)
