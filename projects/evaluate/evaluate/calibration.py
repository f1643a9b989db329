"""Whether p_astro is what it says: searches made of parts of this one, whose truth is known.

The densities of signals and noise are fitted to half of the found injections and to every second
time slide. The other halves are made into searches: one of the slides is the noise, and some of
the injections, chosen by their weights, are the signals. Each gets its p_astro as the events of
the zero lag do. Of those with a p_astro of p, the part p must be signals.

This finds densities that do not follow what they are fitted to, and too few injections or too
little background to fit. It cannot find a population that is not the true one, nor noise that the
slides do not hold. With all of the injections and the background the densities are better than
with half, so that a search is calibrated at least as well as its halves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evaluate.efficiency import binomial_interval
from evaluate.inputs import FoldResult
from evaluate.origin import Mixture, fit_mixture, weigh
from evaluate.volume import Draws

# Searches that are made, and signals that are put into each, if there are so many
NUM_SEARCHES = 40
NUM_SIGNALS = 20.0
# Fewer signals in all searches together tell nothing
FEWEST_SIGNALS = 30.0
EDGES = np.array([0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0])
# A difference that no reader of a p_astro would notice
TOLERANCE = 0.05
# Probability that chance alone makes a calibrated search look otherwise
CHANCE = 0.01


class PlacedEvent(NamedTuple):
    """An event whose origin is known."""

    statistic: float
    fold: int
    is_signal: bool


@dataclass(frozen=True)
class Calibration:
    """Expected and true fractions of signals in bins of p_astro; empty bins are left out.

    Attributes:
        num_searches: Number of searches that were made.
        expected: Mean p_astro in each bin.
        fraction: Fraction of signals in it.
        lower: Lower end of the binomial interval of the fraction.
        upper: Upper end of it.
        num_events: Number of events in it.
        num_signals: Number of signals among them.
    """

    num_searches: int
    expected: np.ndarray
    fraction: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    num_events: np.ndarray
    num_signals: np.ndarray

    @property
    def off(self) -> np.ndarray:
        """Whether each bin is further off than chance and `TOLERANCE` allow."""
        content = 1 - CHANCE / len(self.expected)
        low, high = binomial_interval(self.num_signals, self.num_events, content)
        return (self.expected < low - TOLERANCE) | (self.expected > high + TOLERANCE)

    @property
    def sentence(self) -> str:
        """What came of it, in words."""
        text = (
            f"In {self.num_searches} searches made of half of the background and of the "
            f"injections, with densities fitted to the other half, {self.num_signals.sum():,} of "
            f"{self.num_events.sum():,} events are signals; p_astro expects "
            f"{np.sum(self.expected * self.num_events):,.0f}."
        )
        if not self.off.any():
            return f"{text} No bin is off by more than chance and {TOLERANCE:g} allow."
        return text

    @property
    def warning(self) -> str | None:
        """What a reader must know; None if p_astro is what it says."""
        if not self.off.any():
            return None
        worst = int(np.argmax(np.where(self.off, np.abs(self.expected - self.fraction), -1.0)))
        return (
            f"p_astro is not calibrated: in searches of which the truth is known, "
            f"{self.fraction[worst]:.2f} of the {self.num_events[worst]} events with a p_astro "
            f"about {self.expected[worst]:.2f} are signals "
            f"({self.lower[worst]:.2f} to {self.upper[worst]:.2f})."
        )


def calibrate(
    folds: Sequence[FoldResult],
    draws: Sequence[Draws],
    coincidence: float,
    interval: float,
    generator: np.random.Generator,
) -> Calibration | None:
    """Compare p_astro with the truth in searches made of halves of this one.

    Args:
        folds: Results of all folds, in order.
        draws: For each fold the injections, with weights to the population of signals.
        coincidence: Largest distance of the recovered from the injected time [s].
        interval: Probability content of the binomial intervals.
        generator: Divides the injections, and chooses among them.

    Returns:
        The comparison; None if there are too few slides or injections for halves of them.
    """
    searched = sum(result.zero_lag.livetime for result in folds)
    mixtures, signals, slides = [], [], []
    for result, drawn in zip(folds, draws, strict=True):
        num_slides = len(result.background.slide_livetime)
        fitted = np.arange(num_slides) % 2 == 0
        used = generator.permutation(len(drawn.weights)) % 2 == 0
        mixture = fit_mixture(
            np.asarray(result.background.statistic)[fitted[result.background.slide - 1]],
            float(np.sum(np.asarray(result.background.slide_livetime)[fitted])),
            result.injections,
            drawn,
            searched,
            coincidence,
            used,
        )
        if mixture is None:
            return None
        mixtures.append(mixture)
        signals.append(_other_signals(result, drawn, mixture, coincidence, ~used))
        slides.append(np.flatnonzero(~fitted))
    number = min(NUM_SEARCHES, *(len(some) for some in slides))
    effective = sum(_effective(weights) for _, weights in signals)
    # of an injection that is chosen twice the second tells nothing new
    expected = min(NUM_SIGNALS * number, effective / 2)
    if not number or expected < FEWEST_SIGNALS or not all(len(some) for some, _ in signals):
        return None
    chosen = [some[np.linspace(0, len(some) - 1, number).astype(int)] for some in slides]
    p_astro, is_signal = [], []
    for numbers, noise in zip(
        zip(*chosen, strict=True), _noise_by_search(folds, mixtures, chosen), strict=True
    ):
        livetimes = np.array(
            [
                result.background.slide_livetime[slide]
                for result, slide in zip(folds, numbers, strict=True)
            ]
        )
        events = noise + _placed(mixtures, livetimes, signals, expected / number, generator)
        weighed = weigh(events, mixtures, livetimes)
        p_astro.append(weighed.p_astro)
        is_signal.append([events[i].is_signal for i in weighed.entered])
    return reliability(np.concatenate(p_astro), np.concatenate(is_signal), number, interval)


def reliability(
    p_astro: np.ndarray, is_signal: np.ndarray, num_searches: int, interval: float
) -> Calibration:
    """Expected and true fractions of signals in bins of p_astro.

    Args:
        p_astro: Probability of each event to be a signal.
        is_signal: Whether it is.
        num_searches: Number of searches that they are from.
        interval: Probability content of the binomial intervals.
    """
    place = np.clip(np.searchsorted(EDGES, p_astro, side="right") - 1, 0, len(EDGES) - 2)
    num_events = np.bincount(place, minlength=len(EDGES) - 1)
    num_signals = np.bincount(place, np.asarray(is_signal, float), len(EDGES) - 1).astype(int)
    total = np.bincount(place, p_astro, len(EDGES) - 1)
    some = num_events > 0
    lower, upper = binomial_interval(num_signals[some], num_events[some], interval)
    return Calibration(
        num_searches=num_searches,
        expected=total[some] / num_events[some],
        fraction=num_signals[some] / num_events[some],
        lower=lower,
        upper=upper,
        num_events=num_events[some],
        num_signals=num_signals[some],
    )


def _other_signals(
    result: FoldResult, drawn: Draws, mixture: Mixture, coincidence: float, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics and weights of the found injections that the densities do not know."""
    injections = result.injections
    near = np.abs(injections.time - injections.injection_time) <= coincidence
    here = near & (injections.statistic >= mixture.threshold) & other & (drawn.weights > 0)
    return np.asarray(injections.statistic)[here], drawn.weights[here]


def _effective(weights: np.ndarray) -> float:
    return float(weights.sum() ** 2 / np.sum(np.square(weights))) if len(weights) else 0.0


def _noise_by_search(
    folds: Sequence[FoldResult], mixtures: Sequence[Mixture], chosen: Sequence[np.ndarray]
) -> list[list[PlacedEvent]]:
    """Background events of each search that are above the threshold of their fold."""
    searches: list[list[PlacedEvent]] = [[] for _ in chosen[0]]
    for fold, (result, mixture, slides) in enumerate(zip(folds, mixtures, chosen, strict=True)):
        loud = np.flatnonzero(result.background.statistic >= mixture.threshold)
        owner = np.full(len(result.background.slide_livetime), -1)
        owner[slides] = np.arange(len(slides))
        # slides are numbered from 1
        search_of = owner[np.asarray(result.background.slide) - 1]
        for event in loud[search_of[loud] >= 0]:
            statistic = float(result.background.statistic[event])
            searches[search_of[event]].append(PlacedEvent(statistic, fold, False))
    return searches


def _placed(
    mixtures: Sequence[Mixture],
    livetimes: np.ndarray,
    signals: Sequence[tuple[np.ndarray, np.ndarray]],
    expected: float,
    generator: np.random.Generator,
) -> list[PlacedEvent]:
    """Signals of one search, as many in each fold as it would see of the population."""
    reached = np.array([mixture.signal_share for mixture in mixtures]) * livetimes
    numbers = generator.poisson(expected * reached / reached.sum())
    return [
        PlacedEvent(float(statistic), fold, True)
        for fold, (number, (some, weights)) in enumerate(zip(numbers, signals, strict=True))
        for statistic in generator.choice(some, number, p=weights / weights.sum())
    ]
