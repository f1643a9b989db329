"""White noise that belongs to its GPS second, whatever stretch it is made in."""

from __future__ import annotations

import numpy as np
from runtime import generator_for


def white(seed: int, name: str, rate: int, start: int, stop: int) -> np.ndarray:
    """Standard normal samples of whole seconds.

    Args:
        seed: That of the simulation.
        name: Whose noise it is.
        rate: Samples per second [Hz].
        start: First second [GPS s].
        stop: Second after the last [GPS s].
    """
    parts = [
        generator_for(seed, "deepclean", name, second).standard_normal(rate)
        for second in range(start, stop)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)
