"""Events as they are found, and how many of them are worth keeping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from ledger import EventSet
from runtime import Experiment

# Least statistic of a set that keeps all events.
ALL = -1e30
# The Julian year that false-alarm rates are counted in [s].
YEAR = 365.25 * 86400.0
# Beside the largest false-alarm rate asked for, the background is kept as deep as this many of its
# events in a time as long as the zero lag's: what p_astro is estimated from.
NOISE_EVENTS = 200


@dataclass
class Found:
    """Events of slides, gathered.

    Attributes:
        statistic: Loudness of each event.
        time: GPS time of coalescence in each detector [s].
        slide: Index of the slide.
        livetime: Livetime of each slide [s].
        shift: Shift of each detector in each slide [s].
        threshold: Least statistic kept; `ALL` if no event was found too many.
        ranker: Gives statistics to events of some scores and times, none above its score; None if
            events are ranked by the score.
        num_ranked: How many of the arrays of `statistic` hold statistics; the others hold scores.
    """

    statistic: list[np.ndarray] = field(default_factory=list)
    time: list[np.ndarray] = field(default_factory=list)
    slide: list[np.ndarray] = field(default_factory=list)
    livetime: list[float] = field(default_factory=list)
    shift: list[tuple[float, ...]] = field(default_factory=list)
    threshold: float = ALL
    ranker: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    num_ranked: int = 0

    @property
    def size(self) -> int:
        """Events kept."""
        return sum(map(len, self.statistic))

    def rank(self) -> None:
        """Give the events that were added since the last time their statistic.

        Those of a score below the threshold are left out unranked: their statistic would lie
        below it, too, since none is above its score.
        """
        new = slice(self.num_ranked, None)
        if self.ranker is not None and self.statistic[new]:
            score, time, slide = (
                np.concatenate(column[new]) for column in (self.statistic, self.time, self.slide)
            )
            some = score >= self.threshold
            self.statistic[new] = [self.ranker(score[some], time[some])]
            self.time[new], self.slide[new] = [time[some]], [slide[some]]
        self.num_ranked = len(self.statistic)

    def keep_loudest(self, number: int) -> None:
        """Rank, and keep that many of the loudest events, and what ties with the last of them.

        Done again after more events were added, or to sets that were cut and then joined, it
        keeps the same as done once to all events: an event among the loudest of all is among the
        loudest of any part of them.

        Args:
            number: At least 1.
        """
        self.rank()
        # of joined sets, one that was cut is all there is: it holds as many as are kept
        if self.size <= number:
            return
        statistic = np.concatenate(self.statistic)
        self.threshold = float(np.partition(statistic, len(statistic) - number)[-number])
        keep = statistic >= self.threshold
        self.statistic = [statistic[keep]]
        self.time = [np.concatenate(self.time)[keep]]
        self.slide = [np.concatenate(self.slide)[keep]]
        self.num_ranked = 1


def number_kept(experiment: Experiment, background: float, zero_lag: float) -> int:
    """How many of the loudest background events can matter.

    A false-alarm rate f over the livetime L allows f L events, of which the quietest is the
    threshold; the next one decides ties. So the loudest ceil(f L) + 1 give the same threshold as
    all events do, at f and at every smaller rate. One more is kept, since a product may round to
    either side of a whole number.

    Args:
        experiment: Names the false-alarm rates.
        background: Livetime of all slides [s].
        zero_lag: Livetime of the zero lag [s].
    """
    rates = [rate / YEAR for rate in experiment.evaluation.false_alarm_rates]
    if zero_lag > 0:
        rates.append(NOISE_EVENTS / zero_lag)
    return math.ceil(max(rates, default=0.0) * background) + 2


def event_set(
    found: Found, kind: str, experiment: Experiment, fold: int, **detail: object
) -> EventSet:
    """Product of the events found.

    Args:
        found: The events.
        kind: `background` or `zero-lag`.
        experiment: The experiment.
        fold: Fold of the experiment.
        detail: Further columns of the product: spans analysed, marks, events in detail.
    """
    ifos = len(experiment.ifos)
    contents: dict[str, object] = {
        "mark": np.zeros(0, dtype=np.int32),
        "mark_reason": [],
        "mark_ifo": np.zeros(0, dtype=np.int8),
        "detail": np.zeros(0, dtype=np.int32),
        "detail_whitened": np.zeros((0, ifos, 0), dtype=np.float32),
        "detail_score": np.zeros((0, 0), dtype=np.float32),
    }
    contents |= detail
    return EventSet(
        kind=kind,
        ifos=experiment.ifos,
        threshold=found.threshold,
        statistic=np.concatenate(found.statistic or [np.zeros(0)]),
        time=np.concatenate(found.time or [np.zeros((0, ifos))]),
        slide=np.concatenate(found.slide or [np.zeros(0, dtype=np.int32)]),
        fold=np.full(found.size, fold, dtype=np.int16),
        slide_shift=np.array(found.shift).reshape(-1, ifos),
        slide_fold=np.full(len(found.livetime), fold, dtype=np.int16),
        slide_livetime=np.array(found.livetime),
        detail_rate=experiment.sample_rate,
        detail_score_rate=float(experiment.search.scores_per_second),
        **contents,  # type: ignore[arg-type]
    )


def joined(parts: Iterable[EventSet], number: int) -> Found:
    """The loudest events of several sets, in their order; see `Found.keep_loudest`.

    Args:
        parts: Sets of events; one that was cut marks the whole as cut.
        number: Events to keep.
    """
    found = Found()
    for part in parts:
        found.statistic.append(part.statistic)
        found.time.append(part.time)
        found.slide.append(part.slide)
        found.livetime += [float(time) for time in part.slide_livetime]
        found.shift += [tuple(map(float, shift)) for shift in part.slide_shift]
        found.threshold = max(found.threshold, part.threshold)
        # now and then, for the memory
        if found.size > 2 * number:
            found.keep_loudest(number)
    found.keep_loudest(number)
    return found
