r"""How far a background with repeated glitches may be from the rate that it shows.

A glitch of one detector makes events in slide after slide (`evaluate.repeats`). The number N of
background events at or above a statistic is then no Poisson number but a sum over disturbances,
each of which makes m_g events at once: a compound Poisson number. Its mean is the rate that is
asked for, times the livetime. Its variance is estimated without bias by v = sum m_g^2, which is N
where every event stands alone. Counted by pairs, v is N and one for each ordered pair of events
that share data in a detector, less the pairs that chance makes, since these are no disturbance.
Only the ratio v / N counts what is common to slides; N^2 / v is the number of independent events
that would tell as much.

The interval is that of Fay & Feuer (1997, Stat. Med. 16, 791, equation 7) for sums of Poisson
numbers with weights: the gamma distribution with the mean and the variance that were seen for the
lower end, and for the upper end that with one more disturbance of the largest weight w,

    lower = v / (2 N) * chi2(a; 2 N^2 / v)
    upper = (v + w^2) / (2 (N + w)) * chi2(1 - a; 2 (N + w)^2 / (v + w^2))

with chi2(p; d) the quantile p of the chi-squared distribution with d degrees of freedom, and a
half of what lies outside. With w = 1 and v = N it is the interval of Garwood, so that a background
without repeats has the interval that it always had.

The weight w is the size of the largest group among the events counted and those next below them:
a disturbance that happened not to reach the statistic would have been as large. An event above all
background has an interval wider than Poisson if the loudest events of the background are one
disturbance. Where the background shows no disturbance, none is reckoned with: intervals are too
narrow by the probability that all were missed.
"""

import numpy as np
from ledger import EventSet
from scipy.stats import chi2

# All pairs of so many of the loudest events are looked at one by one
NUM_EXACT = 128
# Beyond so many, of which a rate is known to a percent, dispersion stays what it is
NUM_DEEPEST = 2**17
# The largest group is looked for among twice the events counted and so many more
NUM_BELOW = 10


class Dispersion:
    """Variance of the numbers of the loudest background events, and intervals of their means.

    Args:
        background: Background events of one fold, of any order.
        window: Length of the data that a statistic looks at [s]; closer events share data.
        deepest: Number of the loudest events to look at; of more, the dispersion is taken as
            that of these.
    """

    def __init__(self, background: EventSet, window: float, deepest: int = NUM_DEEPEST) -> None:
        statistic = np.asarray(background.statistic)
        loud_first = np.argsort(-statistic, kind="stable")[:deepest]
        times = np.asarray(background.time).reshape(-1, len(background.ifos))[loud_first]
        analysed = float(np.diff(np.asarray(background.analysed), axis=1).sum())
        number = len(times)
        exact = min(number, NUM_EXACT)
        deeper = []
        while (depth := NUM_EXACT * 2 ** (len(deeper) + 1)) < number:
            deeper.append(depth)
        if number > exact:
            deeper.append(number)
        pairs, largest = _all_pairs(times[:exact], window)
        for depth in deeper:
            counted = [_pairs(column, window) for column in times[:depth].T]
            pairs = np.append(pairs, sum(pair for pair, _ in counted))
            largest = np.append(largest, max(size for _, size in counted))
        self._count = np.array([*range(1, exact + 1), *deeper], dtype=np.float64)
        # in each detector pairs lie closer than the window by chance as well
        chance = times.shape[1] * self._count * (self._count - 1) * 2 * window / analysed
        self._factor = 1 + np.maximum(pairs - chance, 0) / self._count
        self._largest = np.maximum.accumulate(largest)

    def variance(self, count: np.ndarray) -> np.ndarray:
        """Variance of the number of events at or above a statistic.

        Args:
            count: How many there are.
        """
        count = np.asarray(count, dtype=np.float64)
        return count * self._at(count, self._factor)

    def effective(self, count: np.ndarray) -> np.ndarray:
        """Number of independent events that would tell as much of the rate; 0 for a count of 0."""
        count = np.asarray(count, dtype=np.float64)
        return count / self._at(count, self._factor)

    def largest_group(self, count: np.ndarray) -> np.ndarray:
        """Events of the largest disturbance to reckon with at a statistic, at least 1."""
        return self._at(2 * np.asarray(count, dtype=np.float64) + NUM_BELOW, self._largest)

    def interval(self, count: np.ndarray, content: float) -> tuple[np.ndarray, np.ndarray]:
        """Central interval of the mean of the number of events, see above.

        Args:
            count: Numbers observed.
            content: Probability content, between 0 and 1.

        Returns:
            Lower and upper ends; the lower end is 0 for a count of 0.
        """
        count = np.asarray(count, dtype=np.float64)
        variance, most, tail = self.variance(count), self.largest_group(count), (1 - content) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            lower = variance / (2 * count) * chi2.ppf(tail, 2 * np.square(count) / variance)
        scale = (variance + np.square(most)) / (count + most)
        upper = scale / 2 * chi2.ppf(1 - tail, 2 * (count + most) / scale)
        return np.where(count > 0, lower, 0.0), upper

    def _at(self, count: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values at a count, between two counts in the logarithm."""
        if not len(values):
            return np.ones_like(count)
        return np.interp(np.log(np.maximum(count, 1)), np.log(self._count), values)


def _all_pairs(times: np.ndarray, window: float) -> tuple[np.ndarray, np.ndarray]:
    """Ordered pairs that share data, and the largest group, among the n loudest for each n."""
    number = len(times)
    pairs, largest = np.zeros(number), np.zeros(number)
    among = np.tri(number, dtype=bool).T
    for column in times.T:
        common = np.abs(column[:, None] - column) < window
        pairs += 2 * np.cumsum(np.triu(common, 1).sum(axis=0))
        largest = np.maximum(
            largest, np.where(among, np.cumsum(common, axis=1), 0).max(axis=0, initial=0)
        )
    return pairs, largest


def _pairs(times: np.ndarray, window: float) -> tuple[float, int]:
    """Ordered pairs that share data in one detector, and the most events about any of them."""
    ordered = np.sort(times)
    after = np.searchsorted(ordered, ordered + window, side="left")
    before = np.searchsorted(ordered, ordered - window, side="right")
    near = after - before
    return float(near.sum() - len(times)), int(near.max(initial=0))
