"""Intervals of the rates of zero-lag events, as wide as their background makes them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from evaluate.candidates import Candidate
from evaluate.dispersion import Dispersion
from evaluate.rates import YEAR


def with_dispersion(
    candidates: Sequence[Candidate],
    dispersions: Sequence[Dispersion],
    livetimes: Sequence[float],
    interval: float,
) -> list[Candidate]:
    """The same events, their intervals as wide as the dispersion of their background makes them.

    Args:
        candidates: Zero-lag events.
        dispersions: That of each fold's background.
        livetimes: Livetime of each fold's background [s].
        interval: Probability content of the intervals.
    """
    widened = []
    for event in candidates:
        if event.far_interval is None:
            widened.append(event)
            continue
        years = livetimes[event.fold] / YEAR
        low, high = dispersions[event.fold].interval(np.array([event.count]), interval)
        ends = (float(low[0] / years), float(high[0] / years))
        widened.append(replace(event, far_interval=ends))
    return widened
