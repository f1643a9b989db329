"""What a search asks of a network: scores of any time slide of whitened strain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from preprocessing import WhitenedStretch


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
    def add(self, stretch: WhitenedStretch) -> int:
        """Append a stretch of whitened strain; returns its frames."""

    @abstractmethod
    def evidence(self, shifts: Sequence[int]) -> np.ndarray:
        """Evidence at each frame of a slide, of shape (frame,), to the end of the row."""

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
