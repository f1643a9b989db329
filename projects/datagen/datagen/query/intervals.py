"""Sets of half-open GPS intervals, on the algebra of `igwn_segments`."""

from collections.abc import Iterable

import numpy as np
from igwn_segments import segment, segmentlist


def intervals(pairs: Iterable[tuple[float, float]]) -> segmentlist:
    """Set of GPS intervals.

    Args:
        pairs: Start and stop of each [s], in any order; those that touch become one.
    """
    found = segmentlist(segment(float(start), float(stop)) for start, stop in pairs)
    return found.coalesce()


def within(found: segmentlist, start: float, stop: float) -> segmentlist:
    """Those parts of intervals that lie in [start, stop)."""
    return found & segmentlist([segment(start, stop)])


def length(found: segmentlist) -> float:
    """Total length of intervals [s]."""
    return float(abs(found))


def split(found: segmentlist, edges: Iterable[float]) -> list[tuple[float, float]]:
    """Intervals cut at GPS times, in order of time.

    Args:
        found: Intervals.
        edges: GPS times that no piece may contain, except as its start or stop [s].
    """
    edges = sorted(set(edges))
    pieces: list[tuple[float, float]] = []
    for start, stop in found:
        inner = [edge for edge in edges if start < edge < stop]
        pieces += zip([start, *inner], [*inner, stop], strict=True)
    return pieces


def columns(pairs: Iterable[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Starts and stops of intervals as two arrays of float64 [s]."""
    table = np.array([tuple(pair) for pair in pairs], dtype=np.float64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()
