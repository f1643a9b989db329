"""What is shown of the loudest events."""

import numpy as np
from runtime import Experiment

from infer.found import Found
from infer.searcher import Searcher
from infer.stretches import PreparedStretch

DETAIL_LENGTH = 4.0
"""Length of the whitened strain and of the scores stored with a loud event [s]."""


def details(
    zero_lag: Found,
    scores: np.ndarray,
    searcher: Searcher,
    stretches: list[PreparedStretch],
    experiment: Experiment,
) -> dict[str, np.ndarray]:
    """Whitened strain and scores around the loudest events, columns of an `EventSet`.

    Args:
        zero_lag: The events.
        scores: Integrated scores of the zero lag.
        searcher: Made them.
        stretches: Whitened strain.
        experiment: The experiment.
    """
    statistic = np.concatenate(zero_lag.statistic)
    times = np.concatenate(zero_lag.time)[:, 0]
    loudest = np.argsort(-statistic, kind="stable")[: experiment.evaluation.num_loudest]
    half = round(DETAIL_LENGTH / 2 * experiment.sample_rate)
    rate = experiment.search.scores_per_second
    half_scores = round(DETAIL_LENGTH / 2 * rate)
    starts = searcher.timeline.gps(np.arange(len(scores)) * searcher.scorer.stride)
    # a score is shown at the time at which what it looks at ends
    shown = starts + searcher.seen_length
    whitened, series = [], []
    for event in loudest:
        owner = max(
            (s for s in stretches if s.gps_start <= times[event]), key=lambda s: s.gps_start
        )
        centre = round((times[event] - owner.gps_start) * experiment.sample_rate)
        whitened.append(_around(owner.whitened, centre, half))
        place = int(np.abs(shown - times[event]).argmin())
        around = np.clip(np.arange(place - half_scores, place + half_scores), 0, len(scores) - 1)
        series.append(scores[around])
    return {
        "detail": loudest.astype(np.int32),
        "detail_whitened": np.array(whitened, dtype=np.float32).reshape(
            len(loudest), len(experiment.ifos), 2 * half
        ),
        "detail_score": np.array(series, dtype=np.float32).reshape(len(loudest), 2 * half_scores),
    }


def _around(values: np.ndarray, centre: int, half: int) -> np.ndarray:
    """Values from `half` before a place to `half` after it, zero where there are none."""
    found = np.zeros((len(values), 2 * half), dtype=np.float32)
    first, last = max(0, centre - half), min(values.shape[-1], centre + half)
    found[:, first - centre + half : last - centre + half] = values[:, first:last]
    return found
