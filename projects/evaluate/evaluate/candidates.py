"""Zero-lag events with their false-alarm rates, and what became of the known events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ledger import StrainIndex

from evaluate.inputs import FoldResult
from evaluate.origin import Origin
from evaluate.rates import expected_noise_events, false_alarm_probability, false_alarm_rate

# An event is that of a known merger if their times are this close [s].
COINCIDENCE = 0.5


@dataclass(frozen=True)
class Candidate:
    """A zero-lag event.

    Attributes:
        gps: GPS time of coalescence in the first detector [s].
        statistic: Detection statistic; comparable within a fold only.
        fold: Fold whose search found it.
        position: Index of the event in the fold's zero-lag event set.
        count: Number of background events of the fold at or above the statistic.
        far: False-alarm rate [1/yr]; None if the background keeps no events so quiet.
        far_interval: Poisson interval of the rate [1/yr]; begins at 0 if no background event is
            as loud. None where the rate is.
        is_upper_limit: No background event is as loud, the rate is below `far`.
        expected: Number of noise events as significant that the whole search would give.
        probability: Probability that noise gives the whole search an event as significant.
        known: Name of the known event in whose window it lies; None if in none.
        origin: Whether it is a signal, and of what; None if too quiet to be asked.
        left_out: Names of the known events and vetoes at which it looks: the background has none
            like it.
    """

    gps: float
    statistic: float
    fold: int
    position: int
    count: int
    far: float | None
    far_interval: tuple[float, float] | None
    is_upper_limit: bool
    expected: float
    probability: float
    known: str | None
    origin: Origin | None = None
    left_out: tuple[str, ...] = ()

    @property
    def reasons(self) -> list[str]:
        """The known event in whose window it lies, then what else it is left out for."""
        known = [] if self.known is None else [self.known]
        return known + [name for name in self.left_out if name != self.known]

    @property
    def key(self) -> tuple[int, int]:
        """Which event it is: its fold, and its position there."""
        return self.fold, self.position


@dataclass(frozen=True)
class KnownEvent:
    """A known event and the search.

    Attributes:
        label: Its name.
        gps: Its GPS time [s].
        fold: Fold that searched this time; None if none did.
        candidate: Zero-lag event nearest to it, within `COINCIDENCE`; None if there is none.
        found: There is such an event, and its false-alarm rate is no more than `far_max`.
        far_max: False-alarm rate at which an event counts as found [1/yr].
        background_livetime: Livetime of the fold's background [s]; None if not searched.
    """

    label: str
    gps: float
    fold: int | None
    candidate: Candidate | None
    found: bool
    far_max: float
    background_livetime: float | None

    @property
    def sentence(self) -> str:
        """What became of it, in words."""
        if self.fold is None:
            return "outside the analysed time"
        if self.candidate is None:
            return f"not found: no zero-lag event within {COINCIDENCE:g} s"
        if self.found:
            return "found"
        return f"not found: the event there has a false-alarm rate above {self.far_max:g} per year"


def find_candidates(
    folds: Sequence[FoldResult], index: StrainIndex, interval: float
) -> list[Candidate]:
    """All zero-lag events, the most significant first.

    Events above their fold's whole background come first, in order of their statistic; the
    others follow in order of their false-alarm rate, and of their statistic where it is equal.

    Args:
        folds: Results of all folds.
        index: The strain index, for the windows of known events.
        interval: Probability content of the intervals.
    """
    searched = sum(result.zero_lag.livetime for result in folds)
    windows = np.asarray(index.known_window).reshape(-1, 2)
    candidates = []
    for result in folds:
        events, background = result.zero_lag, result.background
        far = false_alarm_rate(
            events.statistic,
            background.statistic,
            background.livetime,
            interval,
            background.threshold,
        )
        expected = expected_noise_events(far.count, background.livetime, searched)
        probability = false_alarm_probability(far.count, background.livetime, searched)
        times = np.asarray(events.time)[:, 0]
        left_out = events.reasons()
        for i, gps in enumerate(times):
            inside = np.flatnonzero((windows[:, 0] <= gps) & (gps < windows[:, 1]))
            missing = bool(far.is_lower_limit[i])
            candidates.append(
                Candidate(
                    gps=float(gps),
                    statistic=float(events.statistic[i]),
                    fold=result.fold,
                    position=i,
                    count=int(far.count[i]),
                    far=None if missing else float(far.rate[i]),
                    far_interval=None if missing else (float(far.lower[i]), float(far.upper[i])),
                    is_upper_limit=bool(far.is_upper_limit[i]),
                    expected=float(expected[i]),
                    probability=float(probability[i]),
                    known=index.known_label[inside[0]] if len(inside) else None,
                    left_out=tuple(left_out.get(i, ())),
                )
            )

    def order(event: Candidate) -> tuple[bool, float, float, float]:
        rate = np.inf if event.far is None else event.far
        return (
            not event.is_upper_limit,
            0.0 if event.is_upper_limit else rate,
            -event.statistic,
            event.gps,
        )

    return sorted(candidates, key=order)


def with_origins(
    candidates: Sequence[Candidate], origins: Sequence[Origin | None]
) -> list[Candidate]:
    """The same events with their origins, one for each."""
    return [
        replace(event, origin=origin) for event, origin in zip(candidates, origins, strict=True)
    ]


def find_known(
    folds: Sequence[FoldResult],
    index: StrainIndex,
    candidates: Sequence[Candidate],
    far_max: float,
) -> list[KnownEvent]:
    """What the search says of each known event of the index, in time order.

    Args:
        folds: Results of all folds.
        index: The strain index.
        candidates: All zero-lag events.
        far_max: False-alarm rate at which an event counts as found [1/yr].
    """
    known = []
    for i in np.argsort(index.known_time, kind="stable"):
        gps = float(index.known_time[i])
        searched = [
            result
            for result in folds
            for start, stop in np.asarray(result.zero_lag.analysed)
            if start <= gps < stop
        ]
        near = [event for event in candidates if abs(event.gps - gps) <= COINCIDENCE]
        nearest = min(near, key=lambda event: abs(event.gps - gps), default=None)
        if not searched:
            nearest = None
        known.append(
            KnownEvent(
                label=index.known_label[i],
                gps=gps,
                fold=searched[0].fold if searched else None,
                candidate=nearest,
                found=nearest is not None and nearest.far is not None and nearest.far <= far_max,
                far_max=far_max,
                background_livetime=searched[0].background.livetime if searched else None,
            )
        )
    return known
