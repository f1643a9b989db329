"""What is read from a frame file, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class FrameError(ValueError):
    """A frame file is broken, or is not what it should be."""


class MissingChannelError(FrameError):
    """A frame file that can be read lacks channels.

    Args:
        path: The file.
        names: Full names of what it lacks.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        super().__init__(
            f"{path} has no readable channel {', '.join(names)}: give frames that have it, or "
            "take it out of the problem"
        )
        self.path, self.names = path, tuple(names)

    def __reduce__(self) -> tuple[type[MissingChannelError], tuple[Path, tuple[str, ...]]]:
        # it passes from one process to another
        return type(self), (self.path, self.names)


@dataclass(frozen=True)
class FrameChannel:
    """Samples of a channel in a frame file.

    Attributes:
        values: Of shape (time,).
        rate: Samples per second [Hz].
        start: First second [GPS s].
    """

    values: np.ndarray
    rate: int
    start: int


def whole_seconds(
    path: Path, name: str, values: np.ndarray, start: float, step: float
) -> FrameChannel:
    """A channel that begins at a whole second and runs at a whole number per second.

    Args:
        path: The file, for the message.
        name: Full name of the channel.
        values: Of shape (time,).
        start: Time of the first sample [GPS s].
        step: Time between two samples [s].

    Raises:
        FrameError: It does not.
    """
    rate = round(1 / step) if step > 0 else 0
    if not rate or abs(1 / step - rate) > 1e-6 or start != int(start):
        raise FrameError(f"{path}: {name} begins or runs at no whole number per second")
    return FrameChannel(values, rate, int(start))
