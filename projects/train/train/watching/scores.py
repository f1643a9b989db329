"""Numbers of a validation that are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from train.figures_of_merit import RATES

NUM_POINTS = 300
NUM_SCORE_BINS = 60
NUM_SNR_BINS = 10


@dataclass(frozen=True)
class Scores:
    """Scores of a validation.

    Attributes:
        background: Largest score in each block of background, the loudest first.
        foreground: Score of each injection.
        snr: Network SNR of each injection.
        livetime: Livetime of the background [s].
    """

    background: np.ndarray
    foreground: np.ndarray
    snr: np.ndarray
    livetime: float

    def threshold(self, rate: float) -> float | None:
        """Score above which background comes at most at a rate, as `figures_of_merit.recall`.

        Args:
            rate: False-alarm rate [Hz].

        Returns:
            The score; None if the livetime is too short to tell.
        """
        # so that an hour holds one event per hour in spite of rounding
        allowed = int(rate * self.livetime * (1 + 1e-9))
        if allowed < 1:
            return None
        if allowed >= len(self.background):
            return -np.inf
        return float(self.background[allowed])

    def thresholds(self) -> dict[str, float]:
        """Scores at the rates of `RATES` that the livetime supports, and the `loudest`."""
        found = {name: self.threshold(rate) for name, rate in RATES.items()}
        loudest = float(self.background[0])
        return {n: t for n, t in found.items() if t is not None} | {"loudest": loudest}

    def recall(self, threshold: float) -> float:
        """Fraction of injections above a score."""
        return float((self.foreground > threshold).mean())

    def area(self) -> float:
        """Area under the whole ROC: the chance that an injection is louder than a block."""
        rising = self.background[::-1]
        below = np.searchsorted(rising, self.foreground, side="left")
        upto = np.searchsorted(rising, self.foreground, side="right")
        return float((below + upto).mean() / 2 / len(rising))


def roc(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Receiver operating characteristic, at most `NUM_POINTS` of it, spaced logarithmically.

    Args:
        scores: Scores.

    Returns:
        Fraction of background blocks above a score, from one block to all, and fraction of
        injections above it.
    """
    size = len(scores.background)
    count = np.unique(np.geomspace(1, size, NUM_POINTS).round().astype(int))
    rising = np.sort(scores.foreground)
    threshold = np.append(scores.background, -np.inf)[count]
    recall = 1 - np.searchsorted(rising, threshold, side="right") / len(rising)
    return count / size, recall


def score_histogram(scores: Scores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Histograms of background and injections in common bins.

    Args:
        scores: Scores.

    Returns:
        Edges, and the fraction of background blocks and of injections in each bin. The last bin
        holds all louder injections too: the range ends where hardly any are left.
    """
    low = min(scores.background[-1], scores.foreground.min())
    high = max(scores.background[0], np.quantile(scores.foreground, 0.98))
    edges = np.linspace(low, max(high, low + 1e-3), NUM_SCORE_BINS + 1)
    fractions = [
        np.histogram(np.minimum(values, edges[-1]), edges)[0] / len(values)
        for values in (scores.background, scores.foreground)
    ]
    return edges, fractions[0], fractions[1]


@dataclass(frozen=True)
class Recall:
    """Recall in bins of SNR that hold equally many injections.

    Attributes:
        snr: Median SNR of each bin.
        recall: Fraction of the bin's injections that are found.
        low: Lower end of the 68 % interval of the fraction (Wilson 1927).
        high: Upper end.
    """

    snr: np.ndarray
    recall: np.ndarray
    low: np.ndarray
    high: np.ndarray


def recall_by_snr(scores: Scores, threshold: float) -> Recall:
    """Recall against SNR.

    Args:
        scores: Scores.
        threshold: Score above which an injection is found.
    """
    order = np.argsort(scores.snr, kind="stable")
    bins = [b for b in np.array_split(order, NUM_SNR_BINS) if len(b)]
    size = np.array([len(b) for b in bins])
    fraction = np.array([(scores.foreground[b] > threshold).mean() for b in bins])
    # one standard deviation; E. B. Wilson, JASA 22, 209 (1927), with z = 1
    middle = (fraction + 0.5 / size) / (1 + 1 / size)
    half = np.sqrt(fraction * (1 - fraction) / size + 0.25 / size**2) / (1 + 1 / size)
    median = np.array([np.median(scores.snr[b]) for b in bins])
    return Recall(median, fraction, middle - half, middle + half)
