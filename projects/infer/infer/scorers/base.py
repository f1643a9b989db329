"""What a search asks of a network: scores of any time slide of whitened strain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np


class Frames(Protocol):
    """What a scorer takes of a stretch; see `infer.stretches.PreparedStretch`."""

    @property
    def whitened(self) -> np.ndarray:
        """Whitened strain, of shape (ifo, time)."""

    @property
    def taps(self) -> np.ndarray:
        """Whitening filters, of shape (block, ifo, filter_size)."""

    @property
    def features(self) -> np.ndarray | None:
        """Outputs of the towers in blocks, of shape (block, ifo, feature, frame)."""

    @property
    def num_frames(self) -> int:
        """Frames of the stretch."""

    def block_of(self, sample: np.ndarray) -> np.ndarray:
        """Block to which each whitened sample belongs."""

    def release(self) -> None:
        """Let go of what was mapped into memory."""


class Scorer(ABC):
    """Scores of slides of a row of frames.

    Frames of all stretches stand in one row, detector by detector. A slide pairs frame i of the
    first detector with frame i + shift of another, around the end of the row.

    Attributes:
        frame_rate: Frames per second [Hz].
        score_frames: Frames that one score looks at.
        stride: Frames between two scores.
        view_length: Time that one frame looks at [s].
        evidence_length: Time that one value of the evidence looks at [s].
    """

    frame_rate: float
    score_frames: int
    stride: int
    view_length: float
    evidence_length: float

    @abstractmethod
    def num_frames(self, size: int) -> int:
        """Frames of a stretch of so many whitened samples."""

    @abstractmethod
    def features(self, whitened: np.ndarray) -> Iterator[np.ndarray]:
        """What does not depend on the slide: outputs of the towers, piece by piece.

        Args:
            whitened: Whitened strain, of shape (ifo, time).

        Yields:
            Arrays of shape (ifo, feature, frame); none for networks without towers.
        """

    @abstractmethod
    def add(self, stretch: Frames) -> int:
        """Append a stretch to the row; returns its frames."""

    @abstractmethod
    def evidence(self, shifts: Sequence[int]) -> np.ndarray:
        """Evidence at each frame of a slide, of shape (frame,), to the end of the row."""

    def evidences(self, slides: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
        """Evidence of several slides, each what `evidence` gives for it.

        Scorers that can share work among slides do so.

        Args:
            slides: The shifts of each slide.
        """
        for shifts in slides:
            yield self.evidence(shifts)

    @abstractmethod
    def evidence_of(self, whitened: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """Evidence of stretches of their own.

        Args:
            whitened: Whitened strain, of shape (batch, ifo, time).
            taps: A filter that whitened each, of shape (batch, ifo, filter_size): networks that
                look at the filters take it for all of the stretch.

        Returns:
            Array of shape (batch, frame).
        """

    @abstractmethod
    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """Scores from evidence, (batch, frame) to (batch, score)."""
