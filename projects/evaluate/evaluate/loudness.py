"""A scale of loudness that is the same for every network: that of its own background."""

import numpy as np

# How many of the loudest background events the tail is fitted to, one after the other
TAIL_SIZES = (10, 30, 100, 300)


class Loudness:
    r"""Loudness u = ln(n / N(x)) of a statistic x, where N(x) of n background events are as loud.

    On this scale the density of the background is exp(-u) from 0 on, whatever the statistic is. N
    is interpolated in its logarithm between background events, the k-th loudest of which has k at
    or above it. Above the loudest, N is extrapolated as exp(-(x - x_1) / s). The scale s is the
    mean excess of the 10, 30, 100, 300 loudest events over the next one, as far as there are so
    many, of which the largest is taken: a tail that grows heavier towards its end is followed,
    and one that is exponential is taken for a little heavier than it is. Nothing is known of what
    lies further out than the background reaches, and a tail of another kind may begin there.

    Args:
        background: Statistics of background events, of any order; at least one.

    Attributes:
        num_events: Number of them.
        loudest: Largest statistic among them.
        scale: The scale s; infinite if there is no excess to take it from, which extrapolates
            nothing.
    """

    def __init__(self, background: np.ndarray) -> None:
        loud_first = -np.sort(-np.asarray(background, dtype=np.float64))
        self.num_events = len(loud_first)
        self.loudest = float(loud_first[0])
        sizes = [size for size in TAIL_SIZES if size < len(loud_first)]
        sizes = sizes or [len(loud_first) - 1]
        excess = [float(np.mean(loud_first[:n] - loud_first[n])) for n in sizes if n]
        self.scale = max(excess, default=0.0) or np.inf
        # of ties all are at or above
        self._statistic, first = np.unique(loud_first[::-1], return_index=True)
        self._log_count = np.log(len(loud_first) - first)

    @property
    def reach(self) -> float:
        """Loudness of the loudest background event."""
        return float(self.of(np.array([self.loudest]))[0])

    def of(self, statistic: np.ndarray) -> np.ndarray:
        """Loudness of statistics; 0 for those below all background events."""
        log_count = np.interp(statistic, self._statistic, self._log_count)
        beyond = np.maximum(statistic - self.loudest, 0) / self.scale
        return np.log(self.num_events) - log_count + beyond
