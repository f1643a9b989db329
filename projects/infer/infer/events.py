"""Scores to events."""

import numpy as np
from scipy.ndimage import maximum_filter1d


def integrate(scores: np.ndarray, size: int) -> np.ndarray:
    """Running mean of scores.

    Args:
        scores: Of shape (..., score).
        size: Scores in a mean.

    Returns:
        Array of shape (..., score - size + 1), float32. Value i is the mean of scores
        i to i + size - 1.
    """
    if size <= 1:
        return scores
    total = np.cumsum(scores, axis=-1, dtype=np.float64)
    total = np.concatenate((np.zeros_like(total[..., :1]), total), axis=-1)
    return ((total[..., size:] - total[..., :-size]) / size).astype(np.float32)


def cluster(statistic: np.ndarray, counts: np.ndarray, reach: int) -> np.ndarray:
    """Places of events: each the loudest within `reach` to either side.

    Of equally loud neighbours the first is the event. Two events are more than `reach` apart,
    and none lies where nothing counts.

    Args:
        statistic: Of shape (score,).
        counts: Whether each counts, of shape (score,).
        reach: Distance within which an event is the loudest [scores].

    Returns:
        Increasing places of the events.
    """
    masked = np.where(counts, statistic, -np.inf)
    loudest = maximum_filter1d(masked, 2 * reach + 1, mode="constant", cval=-np.inf)
    places = np.flatnonzero((masked == loudest) & counts)
    # of equally loud neighbours the first is the event
    keep = np.ones(len(places), dtype=bool)
    event = -reach - 1
    for i, place in enumerate(places):
        keep[i] = place - event > reach
        if keep[i]:
            event = place
    return places[keep]
