"""Features of all stretches of a search in one row, which ends where it begins."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator

import numpy as np

from infer.scorers.base import Frames

# Frames that lie together on disk: a piece of a slide is then a few long reads, not one for each
# feature.
BLOCK_FRAMES = 1024
# Mapped pages are let go of after this much was read [bytes].
RESIDENT_SIZE = 2**28


def in_blocks(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Cut features into blocks.

    Args:
        parts: Features of consecutive frames, of shape (ifo, feature, n) with any n.

    Yields:
        Arrays of shape (ifo, feature, BLOCK_FRAMES), the last filled up with zeros.
    """
    waiting: np.ndarray | None = None
    for part in parts:
        waiting = part if waiting is None else np.concatenate((waiting, part), axis=-1)
        while waiting.shape[-1] >= BLOCK_FRAMES:
            yield waiting[..., :BLOCK_FRAMES]
            waiting = waiting[..., BLOCK_FRAMES:]
    if waiting is not None and waiting.shape[-1]:
        missing = BLOCK_FRAMES - waiting.shape[-1]
        yield np.pad(waiting, ((0, 0), (0, 0), (0, missing)))


class FrameRow:
    """Features of stretches, one after the other."""

    def __init__(self) -> None:
        self._stretches: list[Frames] = []
        self._features: list[np.ndarray] = []
        self._offsets = [0]
        self._taken = 0

    @property
    def size(self) -> int:
        """Frames of all stretches."""
        return self._offsets[-1]

    @property
    def shape(self) -> tuple[int, int]:
        """Detectors, and features of each."""
        ifos, features = self._features[0].shape[1:3]
        return int(ifos), int(features)

    def add(self, stretch: Frames) -> int:
        """Append a stretch; returns its frames.

        Raises:
            ValueError: It has no features.
        """
        if stretch.features is None:
            raise ValueError(
                "a stretch without features cannot be scored by a streaming network: make its "
                "frames again with this network"
            )
        self._stretches.append(stretch)
        self._features.append(stretch.features)
        self._offsets.append(self.size + stretch.num_frames)
        return stretch.num_frames

    def take(self, ifo: int, first: int, out: np.ndarray) -> None:
        """Copy consecutive frames of a detector, around the end of the row.

        Args:
            ifo: Which detector.
            first: The first frame; taken modulo the size of the row.
            out: Where to, of shape (feature, frame).
        """
        done, count = 0, out.shape[-1]
        while done < count:
            place = (first + done) % self.size
            owner = bisect.bisect_right(self._offsets, place) - 1
            block, begin = divmod(place - self._offsets[owner], BLOCK_FRAMES)
            size = min(count - done, self._offsets[owner + 1] - place, BLOCK_FRAMES - begin)
            values = self._features[owner][block, ifo]
            out[:, done : done + size] = values[:, begin : begin + size]
            done += size
        self._taken += out.nbytes
        if self._taken > RESIDENT_SIZE:
            self.release()

    def release(self) -> None:
        """Let go of what was mapped into memory."""
        self._taken = 0
        for stretch in self._stretches:
            stretch.release()
