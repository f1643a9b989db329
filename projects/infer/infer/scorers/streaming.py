"""Whitened strain of a whole search to scores, for any time slide."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from architectures import log_mean_exp
from architectures.base import FRAME_RATE

from infer.repository import Repository


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
    def add(self, whitened: np.ndarray) -> int:
        """Append a stretch of whitened strain, of shape (ifo, time); returns its frames."""

    @abstractmethod
    def evidence(self, shifts: Sequence[int]) -> np.ndarray:
        """Evidence at each frame of a slide, of shape (frame,), to the end of the row."""

    @abstractmethod
    def evidence_of(self, whitened: np.ndarray) -> np.ndarray:
        """Evidence of stretches of their own, of shape (batch, ifo, time) to (batch, frame)."""

    @abstractmethod
    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """Scores from evidence, (batch, frame) to (batch, score)."""


class StreamingScorer(Scorer):
    """Towers once, the head for each slide.

    Args:
        repository: The exported models.
        scores_per_second: Rate of the scores [Hz].
        part_length: Time that the towers are given at once [s]; bounds the memory.
        part_frames: Frames that the head is given at once; such that they fit a cache.
    """

    def __init__(
        self,
        repository: Repository,
        scores_per_second: int,
        part_length: float = 64.0,
        part_frames: int = 2048,
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
        self.part_frames = part_frames
        self.features: list[np.ndarray] = []
        self.row: np.ndarray | None = None

    def add(self, whitened: np.ndarray) -> int:
        """See `Scorer`."""
        count = 0
        for start in range(0, whitened.shape[-1] - self.view + 1, self.part):
            stop = start + self.part + self.view - self.hop
            frames = self.towers(whitened[None, :, start:stop])[0]
            self.features.append(frames)
            count += frames.shape[-1]
        return count

    def _row(self) -> np.ndarray:
        if self.row is None:
            # (ifo, feature, frame)
            self.row = np.concatenate(self.features, axis=-1)
            self.features = []
        return self.row

    def evidence(self, shifts: Sequence[int]) -> np.ndarray:
        """See `Scorer`."""
        row = self._row()
        size = row.shape[-1]
        found = np.empty(size - self.head_size + 1, dtype=np.float32)
        buffer = np.empty((1, *row.shape[:2], self.part_frames), dtype=np.float32)
        step = self.part_frames - self.head_size + 1
        for start in range(0, len(found), step):
            count = min(step, len(found) - start) + self.head_size - 1
            for ifo, shift in enumerate(shifts):
                begin = (start + shift) % size
                first = min(count, size - begin)
                buffer[0, ifo, :, :first] = row[ifo, :, begin : begin + first]
                buffer[0, ifo, :, first:count] = row[ifo, :, : count - first]
            part = buffer if count == self.part_frames else buffer[..., :count]
            found[start : start + count - self.head_size + 1] = self.head(part)[0]
        return found

    def evidence_of(self, whitened: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return self.head(self.towers(whitened))

    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return log_mean_exp(torch.from_numpy(evidence), self.pool_size, self.stride).numpy()


class WindowedScorer(Scorer):
    """A network that is run on each window of each slide.

    Args:
        repository: The exported models.
        scores_per_second: Rate of the scores [Hz].
        batch: Windows scored at once.
    """

    def __init__(self, repository: Repository, scores_per_second: int, batch: int = 128) -> None:
        network = repository.network
        self.network = repository.model("network")
        self.size = network["kernel_size"]
        self.hop = round(network["sample_rate"] / scores_per_second)
        self.frame_rate = scores_per_second
        self.stride = self.score_frames = 1
        self.view_length = self.evidence_length = self.size / network["sample_rate"]
        self.batch = batch
        self.windows: list[np.ndarray] = []

    def _windows(self, whitened: np.ndarray) -> np.ndarray:
        """View of all windows, (..., ifo, time) to (..., window, ifo, time)."""
        view = np.lib.stride_tricks.sliding_window_view(whitened, self.size, axis=-1)
        return np.moveaxis(view[..., :: self.hop, :], -2, -3)

    def add(self, whitened: np.ndarray) -> int:
        """See `Scorer`."""
        windows = self._windows(whitened)
        self.windows.append(windows)
        return len(windows)

    def evidence(self, shifts: Sequence[int]) -> np.ndarray:
        """See `Scorer`."""
        offsets = np.cumsum([0, *(len(w) for w in self.windows)])
        size = int(offsets[-1])
        found = np.empty(size, dtype=np.float32)
        for start in range(0, size, self.batch):
            frames = np.arange(start, min(start + self.batch, size))
            kernels = np.empty((len(frames), len(shifts), self.size), dtype=np.float32)
            for ifo, shift in enumerate(shifts):
                partner = (frames + shift) % size
                owner = np.searchsorted(offsets, partner, side="right") - 1
                for stretch in np.unique(owner):
                    mine = owner == stretch
                    place = partner[mine] - offsets[stretch]
                    kernels[mine, ifo] = self.windows[stretch][place, ifo]
            found[frames] = self.network(kernels)[:, 0]
        return found

    def evidence_of(self, whitened: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        windows = self._windows(whitened)
        flat = windows.reshape(-1, *windows.shape[-2:])
        scores = [
            self.network(flat[k : k + self.batch])[:, 0] for k in range(0, len(flat), self.batch)
        ]
        return np.concatenate(scores).reshape(windows.shape[:2])

    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return evidence


def make_scorer(repository: Repository, scores_per_second: int) -> Scorer:
    """The scorer for the kind of network in a repository."""
    if repository.network["streaming"]:
        return StreamingScorer(repository, scores_per_second)
    return WindowedScorer(repository, scores_per_second)
