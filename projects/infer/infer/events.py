"""Scores to events."""

import numpy as np

from infer.running import running


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
    return (running(scores.astype(np.float64), size, np.add) / size).astype(np.float32)


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
    masked = np.full(len(statistic) + 2 * reach, -np.inf, dtype=statistic.dtype)
    inner = masked[reach : reach + len(statistic)]
    np.copyto(inner, statistic, where=counts)
    loudest = running(masked, 2 * reach + 1, np.maximum)
    places = np.flatnonzero((inner == loudest) & counts)
    # of equally loud neighbours the first is the event
    keep = np.ones(len(places), dtype=bool)
    event = -reach - 1
    for i, place in enumerate(places):
        keep[i] = place - event > reach
        if keep[i]:
            event = int(place)
    return places[keep]
