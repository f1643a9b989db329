"""Which seconds the detector calls analysed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cleaning import Problem


def is_analysed(problem: Problem, seen: Mapping[str, np.ndarray]) -> bool:
    """Whether a second is to be analysed, by all samples of its state vector.

    Args:
        problem: Names the state vector and its bits; where it names none, all is analysed.
        seen: Samples of the second, by the full name of their channel.
    """
    if problem.state_channel is None:
        return True
    values = seen[problem.state_channel]
    if not np.isfinite(values).all():
        return False
    bits = values.astype(np.int64)
    return bool((bits & problem.state_mask == problem.state_mask).all())
