"""A streaming network: towers once, the head for each slide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from architectures.base import FRAME_RATE

from infer.repository import Repository
from infer.scorers.base import Frames, Scorer
from infer.scorers.pieces import Pieces
from infer.scorers.pooling import pool
from infer.scorers.row import FrameRow

# Slides whose heads are computed side by side: they share what is read of the row.
SLIDES_TOGETHER = 8
# Evidence of slides side by side takes no more than this, unless one alone does [bytes].
EVIDENCE_SIZE = 2**27


class StreamingScorer(Scorer):
    """Towers once, the head for each slide.

    Args:
        repository: The exported models.
        scores_per_second: Rate of the scores [Hz].
        part_length: Time that the towers are given at once [s]; bounds the memory.
        piece_frames: Frames in a piece that the head is given; such that a piece fits a cache.
        num_pieces: Pieces that the head is given at once.
    """

    def __init__(
        self,
        repository: Repository,
        scores_per_second: int,
        part_length: float = 64.0,
        piece_frames: int = 1024,
        num_pieces: int = 8,
    ) -> None:
        network = repository.network
        self.towers, self.head = repository.model("towers"), repository.model("head")
        self.hop, self.head_size = network["hop_size"], network["head_size"]
        self.pool_size = network["pool_size"]
        self.view = network["receptive_size"] - (self.head_size - 1) * self.hop
        self.frame_rate = FRAME_RATE
        self.stride = FRAME_RATE // scores_per_second
        self.score_frames = self.pool_size + self.head_size - 1
        self.view_length = self.view / network["sample_rate"]
        self.evidence_length = network["receptive_size"] / network["sample_rate"]
        self.part = round(part_length * FRAME_RATE) * self.hop
        self.piece_frames, self.num_pieces = piece_frames, num_pieces
        self.row = FrameRow()

    def num_frames(self, size: int) -> int:
        """See `Scorer`."""
        return max(0, (size - self.view) // self.hop + 1)

    def features(self, whitened: np.ndarray) -> Iterator[np.ndarray]:
        """See `Scorer`."""
        for start in range(0, whitened.shape[-1] - self.view + 1, self.part):
            stop = start + self.part + self.view - self.hop
            yield self.towers(np.ascontiguousarray(whitened[None, :, start:stop]))[0]

    def add(self, stretch: Frames) -> int:
        """See `Scorer`."""
        return self.row.add(stretch)

    def evidence(self, shifts: Sequence[int]) -> np.ndarray:
        """See `Scorer`."""
        return self._side_by_side([shifts])[0]

    def evidences(self, slides: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
        """See `Scorer`."""
        together = max(1, min(SLIDES_TOGETHER, EVIDENCE_SIZE // (4 * self.row.size)))
        for first in range(0, len(slides), together):
            yield from self._side_by_side(slides[first : first + together])

    def _side_by_side(self, slides: Sequence[Sequence[int]]) -> np.ndarray:
        """Evidence of shape (slide, frame).

        What one request holds is of one slide and does not depend on the others, so that neither
        does a bit of the evidence.
        """
        row, size = self.row, self.row.size - self.head_size + 1
        step = self.piece_frames - self.head_size + 1
        found = np.empty((len(slides), -(-size // step) * step), dtype=np.float32)
        pieces = Pieces(row, self.head, (self.num_pieces, self.piece_frames), step)
        for start in range(0, size, self.num_pieces * step):
            # neighbouring slides look at much the same frames, which are read but once
            for shifts, evidence in zip(slides, found, strict=True):
                pieces.submit(start, shifts, evidence[start : start + self.num_pieces * step])
        pieces.finish()
        row.release()
        return found[:, :size]

    def evidence_of(self, whitened: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """See `Scorer`; the filters are not looked at."""
        return self.head(self.towers(whitened))

    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return pool(evidence, self.pool_size, self.stride)
