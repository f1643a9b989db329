"""Slides of prepared strain to events."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from ledger import EventSet
from preprocessing.slides import FrameTimeline
from runtime import Experiment
from runtime.experiment import Search

from infer.events import cluster, integrate
from infer.scorers import Scorer


@dataclass
class Found:
    """Events of slides, gathered.

    Attributes:
        statistic: Loudness of each event.
        time: GPS time of coalescence in each detector [s].
        slide: Index of the slide.
        livetime: Livetime of each slide [s].
        shift: Shift of each detector in each slide [s].
    """

    statistic: list[np.ndarray] = field(default_factory=list)
    time: list[np.ndarray] = field(default_factory=list)
    slide: list[np.ndarray] = field(default_factory=list)
    livetime: list[float] = field(default_factory=list)
    shift: list[tuple[float, ...]] = field(default_factory=list)


def mean_size(search: Search) -> int:
    """Scores in the running mean of an integrated score."""
    return max(1, round(search.integration_length * search.scores_per_second))


def window_frames(scorer: Scorer, search: Search) -> int:
    """Frames that one integrated score looks at."""
    return scorer.score_frames + (mean_size(search) - 1) * scorer.stride


class Searcher:
    """Scores slides of prepared strain and finds their events.

    Args:
        scorer: Holds the frames of all stretches.
        timeline: Says which of them may be scored.
        experiment: The experiment.
        delay: Time from coalescence to the end of what the loudest evidence looks at [s].
    """

    def __init__(
        self, scorer: Scorer, timeline: FrameTimeline, experiment: Experiment, delay: float
    ) -> None:
        self.scorer = scorer
        self.timeline = timeline
        self.experiment = experiment
        search = experiment.search
        self.mean_size = mean_size(search)
        self.window_frames = window_frames(scorer, search)
        self.reach = round(search.cluster_length * search.scores_per_second)
        self.offset = scorer.evidence_length - delay

    def statistic(self, evidence: np.ndarray) -> np.ndarray:
        """Integrated scores of evidence, (batch, frame) to (batch, score)."""
        return integrate(self.scorer.scores(evidence), self.mean_size)

    def slide(self, shifts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Integrated scores of a slide, whether each counts, and the evidence behind them."""
        evidence = self.scorer.evidence(shifts)
        statistic = self.statistic(evidence[None])[0]
        counts = self.timeline.scored(shifts)[:: self.scorer.stride][: len(statistic)]
        return statistic, counts, evidence

    def times(
        self, places: np.ndarray, evidence: np.ndarray, shifts: tuple[int, ...]
    ) -> np.ndarray:
        """GPS time of coalescence in each detector, from the loudest evidence of each event."""
        reach = np.arange(self.window_frames)
        frames = np.minimum(places[:, None] * self.scorer.stride + reach, len(evidence) - 1)
        loudest = frames[np.arange(len(places)), evidence[frames].argmax(axis=1)]
        return np.stack(
            [
                self.timeline.gps(self.timeline.partner(loudest, shift)) + self.offset
                for shift in shifts
            ],
            axis=1,
        )

    def events(self, found: Found, number: int, shifts: tuple[int, ...]) -> np.ndarray:
        """Add the events of a slide; returns its integrated scores."""
        statistic, counts, evidence = self.slide(shifts)
        places = cluster(statistic, counts, self.reach)
        found.statistic.append(statistic[places].astype(np.float64))
        found.time.append(self.times(places, evidence, shifts))
        found.slide.append(np.full(len(places), number, dtype=np.int32))
        rate = self.timeline.frame_rate
        found.livetime.append(int(counts.sum()) * self.scorer.stride / rate)
        found.shift.append(tuple(s / rate for s in shifts))
        return statistic


def event_set(
    found: Found, kind: str, experiment: Experiment, fold: int, **detail: object
) -> EventSet:
    """Product of the events found.

    Args:
        found: The events.
        kind: `background` or `zero-lag`.
        experiment: The experiment.
        fold: Fold of the experiment.
        detail: Further columns of the product: spans analysed, events in detail.
    """
    ifos = len(experiment.ifos)
    contents: dict[str, object] = {
        "detail": np.zeros(0, dtype=np.int32),
        "detail_whitened": np.zeros((0, ifos, 0), dtype=np.float32),
        "detail_score": np.zeros((0, 0), dtype=np.float32),
    }
    contents |= detail
    return EventSet(
        kind=kind,
        ifos=experiment.ifos,
        threshold=-1e30,
        statistic=np.concatenate(found.statistic or [np.zeros(0)]),
        time=np.concatenate(found.time or [np.zeros((0, ifos))]),
        slide=np.concatenate(found.slide or [np.zeros(0, dtype=np.int32)]),
        fold=np.full(sum(map(len, found.statistic)), fold, dtype=np.int16),
        slide_shift=np.array(found.shift).reshape(-1, ifos),
        slide_fold=np.full(len(found.livetime), fold, dtype=np.int16),
        slide_livetime=np.array(found.livetime),
        detail_rate=experiment.sample_rate,
        detail_score_rate=float(experiment.search.scores_per_second),
        **contents,  # type: ignore[arg-type]
    )
