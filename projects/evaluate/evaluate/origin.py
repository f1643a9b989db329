"""Probability that an event is astrophysical, and of which class its source is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from evaluate.counts import CountPosterior
from evaluate.foreground import Foreground
from evaluate.inputs import FoldResult
from evaluate.loudness import Loudness
from evaluate.rates import YEAR, threshold_at_far
from evaluate.volume import Draws, sensitive_volume

# Events enter the mixture above the statistic that so many noise events of the search exceed
NOISE_EVENTS = 200.0
# A body of less is called a neutron star, source frame [Msun]
NEUTRON_STAR_MASS = 3.0
CLASSES = ("BBH", "NSBH", "BNS")
# With fewer effective injections the density of signals is known to worse than a tenth
FEW_SAMPLES = 100.0


class RankedEvent(Protocol):
    """What is asked of an event."""

    @property
    def statistic(self) -> float:
        """Detection statistic."""

    @property
    def fold(self) -> int:
        """Fold whose search found it."""


@dataclass(frozen=True)
class Origin:
    """Where an event comes from.

    Attributes:
        p_astro: Probability that it is a signal.
        p_astro_unextrapolated: The same if events above all background of the fold are told from
            noise by that alone, and not by how far above they are; no more than `p_astro`.
        is_extrapolated: It is louder than all background of its fold.
        classes: Probability of each of `CLASSES`; they add up to `p_astro`. None of them for
            sources without masses.
    """

    p_astro: float
    p_astro_unextrapolated: float
    is_extrapolated: bool
    classes: dict[str, float]


@dataclass(frozen=True)
class Origins:
    """Origin of the events of a search.

    Attributes:
        population: Population of signals that was assumed.
        by_candidate: Origin of each candidate; None for those below the mixture's threshold.
        num_events: Number of events in the mixture.
        noise_events: Number of noise events among them that the background gives.
        signals: Lower end, median and upper end of the expected number of signals among them.
        rate: The same for the rate of the population [1/Gpc^3/yr], without the error of the
            sensitive volume; None for a population without a volume.
        effective_samples: Effective number of injections behind the density of signals, that of
            the fold with the fewest.
    """

    population: str
    by_candidate: list[Origin | None]
    num_events: int
    noise_events: float
    signals: tuple[float, float, float]
    rate: tuple[float, float, float] | None
    effective_samples: float

    @property
    def warning(self) -> str | None:
        """What a reader must know; None if there is nothing."""
        if self.effective_samples >= FEW_SAMPLES:
            return None
        return (
            f"The density of signals of population {self.population} rests on "
            f"{self.effective_samples:.0f} effective injections (fewer than {FEW_SAMPLES:g}): "
            "p_astro of events near the noise is uncertain by as much."
        )


@dataclass(frozen=True)
class _FoldMixture:
    """Signals and noise among the events of one fold.

    Attributes:
        threshold: Least statistic of an event that enters.
        scale: Loudness of statistics.
        foreground: Density of the loudness of signals.
        found: Whether each accepted injection is above the threshold.
        noise_events: Number of noise events that the background gives.
    """

    threshold: float
    scale: Loudness
    foreground: Foreground
    found: np.ndarray
    noise_events: float


def find_origins(
    folds: Sequence[FoldResult],
    candidates: Sequence[RankedEvent],
    draws: Sequence[Draws],
    population: str,
    coincidence: float,
    interval: float,
) -> Origins | None:
    """Origin of each event, from the densities of background and of found injections.

    Args:
        folds: Results of all folds, in order.
        candidates: Zero-lag events.
        draws: For each fold the injections, with weights to a population of signals.
        population: Name of this population.
        coincidence: Largest distance of the recovered from the injected time [s].
        interval: Probability content of the intervals.

    Returns:
        Their origins; None if the background of a fold is too short for a threshold, or no
        injection of the population is found above it.
    """
    searched = sum(result.zero_lag.livetime for result in folds)
    mixtures = []
    for result, drawn in zip(folds, draws, strict=True):
        mixture = _mix(result, drawn, searched, coincidence)
        if mixture is None:
            return None
        mixtures.append(mixture)
    found = [mixture.found for mixture in mixtures]
    time_volume = sensitive_volume(draws, found).time_volume
    noise = np.array([mixture.noise_events for mixture in mixtures])
    # Densities within a fold times the fold's share are densities among the events of all
    reached = np.array(
        [
            drawn.livetime * drawn.weights[mask].sum() / drawn.num_drawn
            for drawn, mask in zip(draws, found, strict=True)
        ]
    )
    log_share = np.log(reached / reached.sum()) - np.log(noise / noise.sum())
    entered = [
        i
        for i, event in enumerate(candidates)
        if event.statistic >= mixtures[event.fold].threshold
    ]
    ratios = [
        _log_ratios(candidates[i], mixtures[candidates[i].fold]) + log_share[candidates[i].fold]
        for i in entered
    ]
    log_ratio, at_most = np.array(ratios).reshape(-1, 2).T
    # the loudest k events of a background are known to one part in the root of k
    errors = [m.noise_events / np.sqrt(m.scale.num_events) for m in mixtures]
    posterior = CountPosterior(log_ratio, noise.sum(), float(np.sqrt(np.sum(np.square(errors)))))
    p_astro = posterior.p_astro(log_ratio)
    least = posterior.p_astro(np.minimum(log_ratio, at_most))
    by_candidate: list[Origin | None] = [None] * len(candidates)
    for row, i in enumerate(entered):
        event = candidates[i]
        mixture = mixtures[event.fold]
        shares = mixture.foreground.class_shares(mixture.scale.of(np.array([event.statistic])))
        by_candidate[i] = Origin(
            p_astro=float(p_astro[row]),
            p_astro_unextrapolated=float(least[row]),
            is_extrapolated=event.statistic > mixture.scale.loudest,
            classes={name: float(p_astro[row] * share[0]) for name, share in shares.items()},
        )
    tail = (1 - interval) / 2
    low, median, high = posterior.signal_quantiles(np.array([tail, 0.5, 1 - tail])).tolist()
    rate = None
    if time_volume > 0:
        rate = (low / time_volume, median / time_volume, high / time_volume)
    return Origins(
        population=population,
        by_candidate=by_candidate,
        num_events=len(entered),
        noise_events=float(noise.sum()),
        signals=(low, median, high),
        rate=rate,
        effective_samples=min(mixture.foreground.effective_samples for mixture in mixtures),
    )


def source_classes(mass_1: np.ndarray, mass_2: np.ndarray) -> dict[str, np.ndarray]:
    """For each of `CLASSES` whether each source is one.

    Args:
        mass_1: Heavier masses, source frame [Msun].
        mass_2: Lighter masses, source frame [Msun].
    """
    heavy = mass_1 >= NEUTRON_STAR_MASS, mass_2 >= NEUTRON_STAR_MASS
    members = heavy[0] & heavy[1], heavy[0] & ~heavy[1], ~heavy[0] & ~heavy[1]
    return dict(zip(CLASSES, members, strict=True))


def _mix(
    result: FoldResult, drawn: Draws, searched: float, coincidence: float
) -> _FoldMixture | None:
    """Signals and noise of a fold; None if there is no threshold or no injection above it."""
    background, injections = result.background, result.injections
    threshold = threshold_at_far(
        NOISE_EVENTS / searched * YEAR, background.statistic, background.livetime
    )
    near = np.abs(injections.time - injections.injection_time) <= coincidence
    if threshold is None:
        return None
    found = near & (injections.statistic >= threshold)
    if not np.any(drawn.weights[found] > 0):
        return None
    scale = Loudness(background.statistic[background.statistic >= threshold])
    names = [name for name in ("mass_1_source", "mass_2_source") if name in injections.parameters]
    masses = [injections.parameters[name][found] for name in names]
    classes = source_classes(*masses) if masses else {}
    return _FoldMixture(
        threshold=threshold,
        scale=scale,
        foreground=Foreground(
            scale.of(injections.statistic[found]), drawn.weights[found], classes
        ),
        found=found,
        noise_events=scale.num_events * result.zero_lag.livetime / background.livetime,
    )


def _log_ratios(event: RankedEvent, mixture: _FoldMixture) -> np.ndarray:
    """Log ratio of the densities of signals and noise, and its limit for lack of background."""
    scale, foreground = mixture.scale, mixture.foreground
    ratio = foreground.log_ratio(scale.of(np.array([event.statistic])))[0]
    at_most = np.inf
    if event.statistic > scale.loudest:
        # all signals that are louder than the background, against one event of it
        with np.errstate(divide="ignore"):
            at_most = np.log(foreground.louder(scale.reach)) + np.log(scale.num_events)
    return np.array([ratio, at_most])
