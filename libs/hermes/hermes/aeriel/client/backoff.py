"""How long to wait before a server that went away is asked again."""

from __future__ import annotations

import random

FIRST = 0.1  # [s]; doubles with each repetition
LONGEST = 2.0  # [s]


def draw_pause(repetitions: int) -> float:
    """A time to wait, at random between half and all, lest all clients come back at once [s].

    Args:
        repetitions: How often the server was asked again already.
    """
    return min(FIRST * 2.0 ** min(repetitions, 20), LONGEST) * random.uniform(0.5, 1)
