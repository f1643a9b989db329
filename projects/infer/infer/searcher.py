"""Slides of prepared strain to events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from preprocessing.slides import FrameTimeline
from runtime import Experiment
from runtime.experiment import Search

from infer.events import cluster, integrate
from infer.found import Found
from infer.scorers import Scorer


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

    @property
    def seen_length(self) -> float:
        """Time that one integrated score looks at [s]."""
        return (self.window_frames - 1) / self.timeline.frame_rate + self.scorer.evidence_length

    def statistic(self, evidence: np.ndarray) -> np.ndarray:
        """Integrated scores of evidence, (batch, frame) to (batch, score)."""
        return integrate(self.scorer.scores(evidence), self.mean_size)

    def counted(self, shifts: tuple[int, ...]) -> np.ndarray:
        """Whether each integrated score of a slide counts."""
        return self.timeline.scored(shifts)[:: self.scorer.stride]

    def livetime(self, shifts: tuple[int, ...]) -> float:
        """Livetime of a slide [s]: a score counts for the time to the next."""
        count = self.timeline.num_scored(shifts, self.scorer.stride)
        return count * self.scorer.stride / self.timeline.frame_rate

    def slide(self, shifts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Integrated scores of a slide, whether each counts, and the evidence behind them."""
        evidence = self.scorer.evidence(shifts)
        return *self._scored(evidence, shifts), evidence

    def _scored(
        self, evidence: np.ndarray, shifts: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        statistic = self.statistic(evidence[None])[0]
        # no window that counts begins where the row is too short for one
        return statistic, self.counted(shifts)[: len(statistic)]

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
        return next(self.events_of_slides(found, number, [shifts]))

    def events_of_slides(
        self, found: Found, number: int, slides: Sequence[tuple[int, ...]]
    ) -> Iterator[np.ndarray]:
        """Add the events of slides one after the other, which share what work they can.

        Args:
            found: Where to.
            number: Of the first slide; the others follow.
            slides: Shifts of each detector in each slide, in frames.

        Yields:
            The integrated scores of each slide, once its events were added.
        """
        evidences = self.scorer.evidences(slides)
        for i, (shifts, evidence) in enumerate(zip(slides, evidences, strict=True)):
            statistic, counts = self._scored(evidence, shifts)
            places = cluster(statistic, counts, self.reach)
            found.statistic.append(statistic[places].astype(np.float64))
            found.time.append(self.times(places, evidence, shifts))
            found.slide.append(np.full(len(places), number + i, dtype=np.int32))
            found.livetime.append(self.livetime(shifts))
            found.shift.append(tuple(shift / self.timeline.frame_rate for shift in shifts))
            yield statistic
