"""How long answers take, in a table of fixed size."""

from __future__ import annotations

import math
import threading
import time

import numpy as np

_SHORTEST = 1e-6  # [s]
_BINS_PER_E = 50  # bins 2 % wide
_NUM_BINS = math.ceil(math.log(1e4 / _SHORTEST) * _BINS_PER_E)


class Latencies:
    """Times from sending to answer, counted in bins 2 % wide from 1 µs to 10,000 s.

    May be read at any time while answers are counted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what was counted, and begin to measure the throughput now."""
        with self._lock:
            self._counts = [0] * _NUM_BINS
            self._count = 0
            self._total = 0.0
            self._since = time.monotonic()

    def add(self, duration: float) -> None:
        """Count one answer.

        Args:
            duration: Time from sending to answer [s].
        """
        place = int(math.log(max(duration, _SHORTEST) / _SHORTEST) * _BINS_PER_E)
        with self._lock:
            self._counts[min(place, _NUM_BINS - 1)] += 1
            self._count += 1
            self._total += duration

    @property
    def count(self) -> int:
        """Number of answers."""
        return self._count

    @property
    def mean(self) -> float:
        """Mean time [s]; NaN without answers."""
        with self._lock:
            return self._total / self._count if self._count else math.nan

    @property
    def throughput(self) -> float:
        """Answers per second since the first moment, or since `reset` [Hz]."""
        return self._count / max(time.monotonic() - self._since, 1e-9)

    def quantile(self, probability: float) -> float:
        """Time within which a share of the answers came, to 1 % [s]; NaN without answers.

        Args:
            probability: The share, between 0 and 1.
        """
        with self._lock:
            cumulative = np.cumsum(self._counts)
        if not cumulative[-1]:
            return math.nan
        rank = max(1, math.ceil(probability * int(cumulative[-1])))
        place = int(np.searchsorted(cumulative, rank))
        return _SHORTEST * math.exp((place + 0.5) / _BINS_PER_E)

    def summary(self) -> dict[str, float]:
        """`count`, `throughput` [Hz], `mean`, `p50`, `p90` and `p99` [s]."""
        return {
            "count": self.count,
            "throughput": self.throughput,
            "mean": self.mean,
            "p50": self.quantile(0.5),
            "p90": self.quantile(0.9),
            "p99": self.quantile(0.99),
        }
