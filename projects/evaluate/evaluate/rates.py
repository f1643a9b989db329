r"""False-alarm rates: from a statistic to a rate, and from a rate to a threshold.

The background of one fold is a Poisson process that was watched for a livetime B. With N(x)
background events at or above a statistic x, the false-alarm rate of x is N(x) / B. One event is
the least that a livetime can show, so that a statistic above every background event has a rate
of less than 1 / B and is given as this limit, never as less.

Several folds. Fold k searches the time T_k, which no other fold searches, with a network and a
background of its own. Statistics of different folds are therefore on different scales, and an
event is compared with the background of its own fold alone. Which rate of false alarms does the
whole search then have? In fold k, noise makes events with a false-alarm rate of at most f at the
rate f per unit of the time T_k: this is what the rate means, whatever the fold's scale. In the
whole search it makes f T_1 + f T_2 + ... = f T of them in the time T = T_1 + T_2 + ... that was
searched, which is f per unit of searched time. So the rate from the own fold is the rate of the
search, and no trials factor applies. A factor (the number of folds) would be due if every fold
searched all of the time, since noise then had that many chances at each moment; the inputs are
refused if the searched times overlap (`evaluate.inputs`). `test_evaluate_rates.py` shows both
cases by simulation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

# The one definition of a year: the Julian year of 365.25 days [s].
YEAR = 365.25 * 86400.0


@dataclass(frozen=True)
class FalseAlarmRate:
    """False-alarm rates of some statistics; all arrays have one entry per statistic.

    Attributes:
        count: Number of background events at or above the statistic.
        rate: False-alarm rate [1/yr], at least one over the livetime.
        lower: Lower end of the interval of the rate [1/yr].
        upper: Upper end of the interval of the rate [1/yr].
        is_upper_limit: No background event is as loud: the rate is below `rate`.
        is_lower_limit: The statistic lies below those that the background keeps: events are
            missing from the count, and the rate is above `rate`.
    """

    count: np.ndarray
    rate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    is_upper_limit: np.ndarray
    is_lower_limit: np.ndarray


def poisson_interval(count: np.ndarray, interval: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact central interval of the mean of a Poisson distribution.

    The interval of Garwood (1936, Biometrika 28, 437): each end leaves at most
    (1 - interval) / 2 outside, so that the coverage is at least `interval` for every mean.

    Args:
        count: Numbers observed.
        interval: Probability content, between 0 and 1.

    Returns:
        Lower and upper ends; the lower end is 0 for a count of 0.
    """
    count = np.asarray(count, dtype=np.float64)
    tail = (1 - interval) / 2
    with np.errstate(invalid="ignore"):
        lower = np.where(count > 0, chi2.ppf(tail, 2 * count) / 2, 0.0)
    upper = chi2.ppf(1 - tail, 2 * count + 2) / 2
    return lower, upper


# From counts and a probability content to the lower and upper ends of the mean count
Interval = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def false_alarm_rate(
    statistic: np.ndarray,
    background: np.ndarray,
    livetime: float,
    interval: float = 0.9,
    kept_above: float = -np.inf,
    interval_of: Interval = poisson_interval,
) -> FalseAlarmRate:
    """Rate at which the background gives events at or above each statistic.

    Args:
        statistic: Statistics, of any order.
        background: Statistics of the background events of the same fold, of any order; an event
            equal to the statistic is counted.
        livetime: Livetime of the background [s].
        interval: Probability content of the interval.
        kept_above: Least statistic that the background keeps.
        interval_of: Interval of the mean of a count; that of `evaluate.dispersion.Dispersion`
            where glitches are in several slides.

    Raises:
        ValueError: The livetime is not positive, or a statistic is NaN.
    """
    years = _years(livetime)
    statistic = np.atleast_1d(np.asarray(statistic, dtype=np.float64))
    if np.isnan(statistic).any():
        raise ValueError("a statistic is NaN: it has no false-alarm rate")
    quiet_first = np.sort(np.asarray(background, dtype=np.float64))
    count = len(quiet_first) - np.searchsorted(quiet_first, statistic, side="left")
    lower, upper = interval_of(count, interval)
    return FalseAlarmRate(
        count=count,
        rate=np.maximum(count, 1) / years,
        lower=lower / years,
        upper=upper / years,
        is_upper_limit=count == 0,
        is_lower_limit=statistic < kept_above,
    )


def threshold_at_far(far: float, background: np.ndarray, livetime: float) -> float | None:
    """Least statistic at which an event is found at a false-alarm rate.

    The threshold is the n-th loudest background event, n being the largest whole number with
    n / livetime <= far. The rate of the Poisson process above its n-th loudest event has the
    expectation n / livetime exactly, so that the threshold is unbiased (the gap to the event
    below it, where N(x) is n as well, would add one event on average). Events that tie at this
    place and would make the count exceed n push the threshold to the next louder event.

    Args:
        far: False-alarm rate [1/yr].
        background: Statistics of the background events, of any order.
        livetime: Livetime of the background [s].

    Returns:
        The threshold; an event is found if its statistic is equal to or above it. If more
        events are allowed than there are, the quietest. None if far * livetime is less than one
        event: no threshold then has a rate known to be as low.

    Raises:
        ValueError: The livetime or the rate is not positive, or the background is empty.
    """
    return thresholds_at_far([far], background, livetime)[0]


def thresholds_at_far(
    rates: Sequence[float], background: np.ndarray, livetime: float
) -> list[float | None]:
    """Thresholds at several false-alarm rates, for the price of one; see `threshold_at_far`."""
    years = _years(livetime)
    loud_first = -np.sort(-np.asarray(background, dtype=np.float64))
    if not len(loud_first):
        raise ValueError("the background holds no event to take a threshold from")
    return [_threshold(far, loud_first, years) for far in rates]


def _threshold(far: float, loud_first: np.ndarray, years: float) -> float | None:
    if not far > 0:
        raise ValueError(f"a false-alarm rate of {far} per year is not positive")
    allowed = int(far * years)
    # The product can round to either side of a whole number; the quotient decides, because it
    # is what `false_alarm_rate` gives.
    while (allowed + 1) / years <= far:
        allowed += 1
    while allowed and allowed / years > far:
        allowed -= 1
    if allowed < 1:
        return None
    if allowed >= len(loud_first):
        return float(loud_first[-1])
    # the n-th loudest, unless it ties with the next: then the quietest event that is louder
    louder = np.searchsorted(-loud_first, -loud_first[allowed], side="left")
    return float(loud_first[louder - 1] if louder else np.nextafter(loud_first[0], np.inf))


def expected_noise_events(count: np.ndarray, livetime: float, searched: float) -> np.ndarray:
    """Number of noise events to expect in the search that look at least as significant.

    Noise events of a search of length `searched` that have no more than `count` background
    events at or above them: (count + 1) * searched / livetime of them are expected, because
    noise events of the search and of the background come in random order. It is this number,
    not the rate, that accounts for how much was searched.

    Args:
        count: Number of background events at or above the statistic.
        livetime: Livetime of the fold's background [s].
        searched: Time searched by all folds together [s].
    """
    return (np.asarray(count) + 1) * searched / livetime


def false_alarm_probability(count: np.ndarray, livetime: float, searched: float) -> np.ndarray:
    """Probability that the noise of the search holds an event that looks at least as significant.

    The trials factor of a search of length `searched`: the noise events of search and background,
    the loudest first, come in random order, each from the search with the probability
    searched / (searched + livetime). That one of the search comes before the one that follows
    `count` of the background has the probability 1 - (1 + searched / livetime)^-(count + 1). It
    holds whatever the rate of the noise is, which is not known but through the background, and
    is `expected_noise_events` where that is small.

    Args:
        count: Number of background events at or above the statistic.
        livetime: Livetime of the fold's background [s].
        searched: Time searched by all folds together [s]. With folds of different backgrounds
            the livetime is taken as if all had that of the event's own.
    """
    return -np.expm1(-(np.asarray(count) + 1) * np.log1p(searched / livetime))


def _years(livetime: float) -> float:
    if not livetime > 0:
        raise ValueError(
            f"the background livetime is {livetime} s: a false-alarm rate needs a positive one"
        )
    return livetime / YEAR
