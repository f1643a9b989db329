"""Density of the loudness of signals, over that of noise."""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import gaussian_filter1d

NUM_BINS = 4096
# Where fewer effective injections than this are louder, the density is no longer followed
FEWEST_LOUDER = 20.0


class Foreground:
    """Density of the loudness u of signals, from found injections with weights.

    A kernel estimate in ln(1 + u), where signals of all loudness lie close enough for one width of
    the kernel (Silverman's rule, with the effective number of injections), reflected at u = 0. Up
    there, where fewer than 20 effective injections are louder, its ratio to the density of noise
    stays what it is: it would go on to grow if there were more injections, so that the ratio is
    too small there and never too large.

    Args:
        loudness: Loudness of found injections (`Loudness`), of shape (injection,).
        weights: Their importance weights; some are positive.
        classes: For each class of sources whether each injection is one.

    Raises:
        ValueError: No weight is positive.
    """

    def __init__(
        self, loudness: np.ndarray, weights: np.ndarray, classes: Mapping[str, np.ndarray]
    ) -> None:
        if not np.any(weights > 0):
            raise ValueError("no injection of the population is found: there is no density of it")
        self._at, self._weights = np.log1p(loudness), weights / weights.sum()
        mean = np.sum(self._weights * self._at)
        spread = np.sqrt(np.sum(self._weights * np.square(self._at - mean)))
        self.effective_samples = float(1 / np.sum(np.square(self._weights)))
        width = max(0.9 * spread * self.effective_samples**-0.2, 1e-3)
        self._edges = np.linspace(0, self._at.max() + 6 * width, NUM_BINS + 1)
        self._middle = (self._edges[1:] + self._edges[:-1]) / 2
        self._width = width
        self._density = self._smooth(self._weights)
        self._shares = {
            name: self._smooth(np.where(mask, self._weights, 0.0))
            for name, mask in classes.items()
        }
        self._stop = self._last_followed()

    def log_ratio(self, loudness: np.ndarray) -> np.ndarray:
        """Log of the density of signals over that of noise, exp(-u), at some loudness."""
        at = np.minimum(np.log1p(loudness), self._stop)
        density = np.interp(at, self._middle, self._density)
        with np.errstate(divide="ignore"):
            return np.log(density) - at + np.expm1(at)

    def louder(self, loudness: float) -> float:
        """Probability that a signal is louder."""
        return float(self._weights[self._at > np.log1p(loudness)].sum())

    def class_shares(self, loudness: np.ndarray) -> dict[str, np.ndarray]:
        """Share of each class among signals of some loudness; nothing known is shared evenly."""
        at = np.minimum(np.log1p(loudness), self._stop)
        parts = {name: np.interp(at, self._middle, part) for name, part in self._shares.items()}
        total = np.sum(list(parts.values()), axis=0)
        known = total > 0
        return {
            name: np.where(known, part / np.where(known, total, 1), 1 / len(parts))
            for name, part in parts.items()
        }

    def _smooth(self, weights: np.ndarray) -> np.ndarray:
        """Density of weights in ln(1 + u)."""
        counts = np.histogram(self._at, self._edges, weights=weights)[0]
        cell = self._edges[1] - self._edges[0]
        return gaussian_filter1d(counts, self._width / cell, mode="reflect", truncate=6) / cell

    def _last_followed(self) -> float:
        """ln(1 + u) above which there are too few injections to follow."""
        loud_first = np.argsort(-self._at, kind="stable")
        total = np.cumsum(self._weights[loud_first])
        squares = np.cumsum(np.square(self._weights[loud_first]))
        with np.errstate(invalid="ignore", divide="ignore"):
            enough = np.square(total) >= FEWEST_LOUDER * squares
        enough &= total > 0
        if not enough.any():
            return float(np.sum(self._weights * self._at))
        return float(self._at[loud_first[np.argmax(enough)]])
