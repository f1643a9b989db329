"""Probability that an event is astrophysical, and of which class its source is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ledger import RecoveredInjections

from evaluate.counts import CountPosterior
from evaluate.dispersion import Dispersion
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
class Mixture:
    """Signals and noise among the events of one fold.

    Attributes:
        threshold: Least statistic of an event that enters.
        scale: Loudness of statistics.
        foreground: Density of the loudness of signals.
        found: Whether each accepted injection that was given is above the threshold.
        noise_rate: Rate of noise events that the background gives [1/s].
        signal_share: Weights of the injections above the threshold over the number of draws: how
            much of the population is seen.
    """

    threshold: float
    scale: Loudness
    foreground: Foreground
    found: np.ndarray
    noise_rate: float
    signal_share: float


@dataclass(frozen=True)
class Weighed:
    """Events of all folds in their mixture.

    Attributes:
        entered: Which of the events are above the threshold of their fold.
        p_astro: Probability of each of these to be a signal.
        at_least: The same without what is extrapolated above the background.
        posterior: Numbers of signals and of noise events among them.
        noise_events: Number of noise events that the background gives.
    """

    entered: list[int]
    p_astro: np.ndarray
    at_least: np.ndarray
    posterior: CountPosterior
    noise_events: float


def find_origins(
    folds: Sequence[FoldResult],
    candidates: Sequence[RankedEvent],
    draws: Sequence[Draws],
    population: str,
    coincidence: float,
    interval: float,
    dispersions: Sequence[Dispersion] | None = None,
) -> Origins | None:
    """Origin of each event, from the densities of background and of found injections.

    Args:
        folds: Results of all folds, in order.
        candidates: Zero-lag events.
        draws: For each fold the injections, with weights to a population of signals.
        population: Name of this population.
        coincidence: Largest distance of the recovered from the injected time [s].
        interval: Probability content of the intervals.
        dispersions: That of each fold's background; without it, its events are independent.

    Returns:
        Their origins; None if the background of a fold is too short for a threshold, or no
        injection of the population is found above it.
    """
    livetimes = np.array([result.zero_lag.livetime for result in folds])
    mixtures = []
    for result, drawn in zip(folds, draws, strict=True):
        mixture = fit_mixture(
            result.background.statistic,
            result.background.livetime,
            result.injections,
            drawn,
            livetimes.sum(),
            coincidence,
        )
        if mixture is None:
            return None
        mixtures.append(mixture)
    time_volume = sensitive_volume(draws, [mixture.found for mixture in mixtures]).time_volume
    weighed = weigh(candidates, mixtures, livetimes, dispersions)
    by_candidate: list[Origin | None] = [None] * len(candidates)
    for i, p_astro, at_least in zip(
        weighed.entered, weighed.p_astro, weighed.at_least, strict=True
    ):
        event = candidates[i]
        mixture = mixtures[event.fold]
        shares = mixture.foreground.class_shares(mixture.scale.of(np.array([event.statistic])))
        by_candidate[i] = Origin(
            p_astro=float(p_astro),
            p_astro_unextrapolated=float(at_least),
            is_extrapolated=event.statistic > mixture.scale.loudest,
            classes={name: float(p_astro * share[0]) for name, share in shares.items()},
        )
    tail = (1 - interval) / 2
    levels = np.array([tail, 0.5, 1 - tail])
    low, median, high = weighed.posterior.signal_quantiles(levels).tolist()
    rate = None
    if time_volume > 0:
        rate = (low / time_volume, median / time_volume, high / time_volume)
    return Origins(
        population=population,
        by_candidate=by_candidate,
        num_events=len(weighed.entered),
        noise_events=weighed.noise_events,
        signals=(low, median, high),
        rate=rate,
        effective_samples=min(mixture.foreground.effective_samples for mixture in mixtures),
    )


def fit_mixture(
    background: np.ndarray,
    background_livetime: float,
    injections: RecoveredInjections,
    drawn: Draws,
    searched: float,
    coincidence: float,
    used: np.ndarray | None = None,
) -> Mixture | None:
    """Densities of signals and noise of a fold.

    Args:
        background: Statistics of background events.
        background_livetime: Livetime in which they are [s].
        injections: Recovered injections.
        drawn: Their weights to a population of signals.
        searched: Time searched by all folds together [s].
        coincidence: Largest distance of the recovered from the injected time [s].
        used: Which of the injections to use; all if None.

    Returns:
        The densities; None if the background is too short for a threshold, or no injection is
        above it.
    """
    if not len(background):
        return None
    threshold = threshold_at_far(NOISE_EVENTS / searched * YEAR, background, background_livetime)
    if threshold is None:
        return None
    near = np.abs(injections.time - injections.injection_time) <= coincidence
    found = near & (injections.statistic >= threshold)
    if used is not None:
        found &= used
    if not np.any(drawn.weights[found] > 0):
        return None
    scale = Loudness(background[background >= threshold])
    names = [name for name in ("mass_1_source", "mass_2_source") if name in injections.parameters]
    masses = [injections.parameters[name][found] for name in names]
    classes = source_classes(*masses) if masses else {}
    return Mixture(
        threshold=threshold,
        scale=scale,
        foreground=Foreground(
            scale.of(injections.statistic[found]), drawn.weights[found], classes
        ),
        found=found,
        noise_rate=scale.num_events / background_livetime,
        signal_share=float(drawn.weights[found].sum() / drawn.num_drawn),
    )


def weigh(
    events: Sequence[RankedEvent],
    mixtures: Sequence[Mixture],
    livetimes: np.ndarray,
    dispersions: Sequence[Dispersion] | None = None,
) -> Weighed:
    """How likely the events of a search are signals.

    Args:
        events: Events of all folds.
        mixtures: Signals and noise of each fold.
        livetimes: Time searched in each fold [s].
        dispersions: That of each fold's background; without it, its events are independent.
    """
    noise = np.array([mixture.noise_rate for mixture in mixtures]) * livetimes
    # Densities within a fold times the fold's share are densities among the events of all
    reached = np.array([mixture.signal_share for mixture in mixtures]) * livetimes
    log_share = np.log(reached / reached.sum()) - np.log(noise / noise.sum())
    entered = [
        i for i, event in enumerate(events) if event.statistic >= mixtures[event.fold].threshold
    ]
    ratios = [
        _log_ratios(events[i], mixtures[events[i].fold]) + log_share[events[i].fold]
        for i in entered
    ]
    log_ratio, at_most = np.array(ratios).reshape(-1, 2).T
    # k independent events are known to one part in the root of k
    number = np.array([mixture.scale.num_events for mixture in mixtures], dtype=np.float64)
    if dispersions is not None:
        effective = [d.effective(n) for d, n in zip(dispersions, number, strict=True)]
        number = np.array(effective, dtype=np.float64)
    errors = noise / np.sqrt(number)
    posterior = CountPosterior(log_ratio, noise.sum(), float(np.sqrt(np.sum(np.square(errors)))))
    return Weighed(
        entered=entered,
        p_astro=posterior.p_astro(log_ratio),
        at_least=posterior.p_astro(np.minimum(log_ratio, at_most)),
        posterior=posterior,
        noise_events=float(noise.sum()),
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


def _log_ratios(event: RankedEvent, mixture: Mixture) -> np.ndarray:
    """Log ratio of the densities of signals and noise, and its limit for lack of background."""
    scale, foreground = mixture.scale, mixture.foreground
    ratio = foreground.log_ratio(scale.of(np.array([event.statistic])))[0]
    at_most = np.inf
    if event.statistic > scale.loudest:
        # all signals that are louder than the background, against one event of it
        with np.errstate(divide="ignore"):
            at_most = np.log(foreground.louder(scale.reach)) + np.log(scale.num_events)
    return np.array([ratio, at_most])
