"""Events to their strain, and so to their statistic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from runtime import Experiment

from infer.ranking.base import Ranking, make_ranking

# Events that are ranked together: some 10 MB of strain and filters of each detector.
GROUP_SIZE = 512


class Whitened(Protocol):
    """What is taken of a stretch; see `infer.stretches.PreparedStretch`."""

    @property
    def gps_start(self) -> float:
        """GPS time of the first sample [s]."""

    @property
    def whitened(self) -> np.ndarray:
        """Whitened strain, of shape (ifo, time)."""

    @property
    def taps(self) -> np.ndarray:
        """Whitening filters, of shape (block, ifo, filter_size)."""

    def block_of(self, sample: np.ndarray) -> np.ndarray:
        """Block to which each sample belongs."""

    def release(self) -> None:
        """Let go of what was mapped into memory."""


class Ranker:
    """Ranks the events of prepared strain, slid or not.

    Args:
        experiment: Names the ranking.
        stretches: Whitened strain in time order.

    Attributes:
        ranking: The ranking.

    Raises:
        ValueError: There is no such ranking, or a stretch is too short for it.
    """

    def __init__(self, experiment: Experiment, stretches: Sequence[Whitened]) -> None:
        self.experiment = experiment
        self.ranking = make_ranking(experiment)
        self.stretches = list(stretches)
        self.starts = np.array([stretch.gps_start for stretch in stretches])

    def __call__(self, score: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Statistics of events.

        Args:
            score: Integrated scores, of shape (event,).
            time: GPS time of each event in each detector, of shape (event, ifo) [s].

        Returns:
            Array of shape (event,).
        """
        # along the files of the first detector
        order = np.argsort(time[:, 0], kind="stable")
        result = np.empty(len(score))
        for first in range(0, len(order), GROUP_SIZE):
            here = order[first : first + GROUP_SIZE]
            cut = [[self._cut(t, ifo) for ifo, t in enumerate(times)] for times in time[here]]
            strain = np.stack([np.stack([piece for piece, _ in event]) for event in cut])
            taps = np.stack([np.stack([filters for _, filters in event]) for event in cut])
            result[here] = _ranked(self.ranking, score[here], strain, taps, self.experiment)
            for stretch in self.stretches:
                stretch.release()
        return result

    def _cut(self, time: float, ifo: int) -> tuple[np.ndarray, np.ndarray]:
        owner = self.stretches[max(0, int(np.searchsorted(self.starts, time, "right")) - 1)]
        centre = round((time - owner.gps_start) * self.experiment.sample_rate)
        window = _window(self.ranking, self.experiment, centre, owner.whitened.shape[-1])
        taps = owner.taps[owner.block_of(np.asarray(centre)), ifo]
        return owner.whitened[ifo, window], taps


def rank_pieces(
    experiment: Experiment,
    score: np.ndarray,
    strain: np.ndarray,
    taps: np.ndarray,
    centre: np.ndarray,
) -> np.ndarray:
    """Statistics of events in strain of their own, as `Ranker` gives them.

    Args:
        experiment: Names the ranking.
        score: Integrated scores, of shape (event,).
        strain: Whitened strain around each, of shape (event, ifo, sample).
        taps: Filters that whitened it, of shape (event, ifo, filter_size).
        centre: Sample of each event's time.

    Returns:
        Array of shape (event,).
    """
    ranking = make_ranking(experiment)
    size = strain.shape[-1]
    windows = [_window(ranking, experiment, int(place), size) for place in centre]
    cut = np.stack([piece[:, window] for piece, window in zip(strain, windows, strict=True)])
    return _ranked(ranking, score, cut, taps, experiment)


def _window(ranking: Ranking, experiment: Experiment, centre: int, size: int) -> slice:
    """Samples that a ranking looks at, moved to where all of them are."""
    before, after = (
        round(length * experiment.sample_rate) for length in (ranking.before, ranking.after)
    )
    if before + after > size:
        raise ValueError(
            f"search.ranking {experiment.search.ranking} looks at "
            f"{ranking.before + ranking.after} s of strain, but a stretch is "
            f"{size / experiment.sample_rate} s long: give a smaller before in "
            "search.ranking_options"
        )
    first = max(0, min(centre - before, size - before - after))
    return slice(first, first + before + after)


def _ranked(
    ranking: Ranking,
    score: np.ndarray,
    strain: np.ndarray,
    taps: np.ndarray,
    experiment: Experiment,
) -> np.ndarray:
    statistic = np.asarray(ranking.statistic(score, strain, taps, experiment), dtype=np.float64)
    raised = np.flatnonzero(~(statistic <= score))
    if len(raised):
        raise ValueError(
            f"search.ranking {experiment.search.ranking} gives {statistic[raised[0]]} to an event "
            f"of score {score[raised[0]]}: expected no more than the score, or the loudest events "
            "are not those that are kept"
        )
    return statistic
