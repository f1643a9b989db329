"""Pieces of a row of features on their way through a head."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np

from infer.repository import Model
from infer.scorers.row import FrameRow


class Pieces:
    """Hands pieces of slides to the head, as many at a time as may be under way.

    Each request is made in a buffer that is left as it is until the answer is there, so that
    nobody needs a copy.

    Args:
        row: The features.
        head: The head.
        shape: Pieces in a request, and frames in each.
        step: Frames from one piece to the next, and values that the head gives for each.
    """

    def __init__(self, row: FrameRow, head: Model, shape: tuple[int, int], step: int) -> None:
        self._row = row
        self._head = head
        self._frames = shape[1]
        self._step = step
        self._waiting: deque[tuple[_Buffer, np.ndarray, Future[np.ndarray]]] = deque()
        count, frames = shape
        self._free = [
            _Buffer(np.empty((count, *row.shape, frames), dtype=np.float32))
            for _ in range(head.in_flight)
        ]

    def submit(self, start: int, shifts: Sequence[int], out: np.ndarray) -> None:
        """Ask for the evidence of a slide from a frame on.

        Args:
            start: The first frame of the unshifted detector.
            shifts: Shift of each detector, in frames.
            out: Where to, once it is there; as long as some whole steps.
        """
        if not self._free:
            self._collect()
        buffer = self._free.pop()
        count = len(out) // self._step
        for ifo, shift in enumerate(shifts):
            first = (start + shift) % self._row.size
            if buffer.holds.get(ifo) == (first, count):
                continue
            for i in range(count):
                self._row.take(ifo, first + i * self._step, buffer.values[i, ifo])
            buffer.holds[ifo] = (first, count)
        # what cannot be written to is not copied on its way
        buffer.values.flags.writeable = False
        self._waiting.append((buffer, out, self._head.submit(buffer.values[:count])))

    def finish(self) -> None:
        """Wait for all that was asked for."""
        while self._waiting:
            self._collect()

    def _collect(self) -> None:
        buffer, out, answer = self._waiting.popleft()
        out.reshape(-1, self._step)[:] = answer.result()
        buffer.values.flags.writeable = True
        self._free.append(buffer)


class _Buffer:
    """Memory of a request.

    Attributes:
        values: Of shape (piece, ifo, feature, frame).
        holds: First frame and number of pieces of each detector that lie there.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.holds: dict[int, tuple[int, int]] = {}
