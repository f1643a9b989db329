"""Any network: run on each window of each slide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from infer.repository import Repository
from infer.scorers.base import Frames, Scorer
from infer.scorers.row import RESIDENT_SIZE


class WindowedScorer(Scorer):
    """A network that is run on each window of each slide.

    A network that looks at the whitening filters is given, for each window and detector, that
    of the middle of the window, as in its training.

    Args:
        repository: The exported models.
        scores_per_second: Rate of the scores [Hz].
        batch: Windows scored at once.
    """

    def __init__(self, repository: Repository, scores_per_second: int, batch: int = 128) -> None:
        network = repository.network
        self.network = repository.model("network")
        self.needs_taps = network["needs_taps"]
        self.size = network["kernel_size"]
        self.hop = round(network["sample_rate"] / scores_per_second)
        self.frame_rate = scores_per_second
        self.stride = self.score_frames = 1
        self.view_length = self.evidence_length = self.size / network["sample_rate"]
        self.batch = batch
        self.stretches: list[Frames] = []
        self.windows: list[np.ndarray] = []
        # the block of each window
        self.blocks: list[np.ndarray] = []

    def _windows(self, whitened: np.ndarray) -> np.ndarray:
        """View of all windows, (..., ifo, time) to (..., window, ifo, time)."""
        view = np.lib.stride_tricks.sliding_window_view(whitened, self.size, axis=-1)
        return np.moveaxis(view[..., :: self.hop, :], -2, -3)

    def num_frames(self, size: int) -> int:
        """See `Scorer`."""
        return max(0, (size - self.size) // self.hop + 1)

    def features(self, whitened: np.ndarray) -> Iterator[np.ndarray]:
        """See `Scorer`: none."""
        return iter(())

    def add(self, stretch: Frames) -> int:
        """See `Scorer`."""
        windows = self._windows(stretch.whitened)
        self.stretches.append(stretch)
        self.windows.append(windows)
        self.blocks.append(stretch.block_of(np.arange(len(windows)) * self.hop + self.size // 2))
        return len(windows)

    def _score(self, kernels: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """Scores of a batch of kernels, of shape (batch,)."""
        inputs = (kernels, taps) if self.needs_taps else (kernels,)
        return self.network(*inputs)[:, 0]

    def evidence(self, shifts: Sequence[int]) -> np.ndarray:
        """See `Scorer`."""
        offsets = np.cumsum([0, *(len(w) for w in self.windows)])
        size = int(offsets[-1])
        found = np.empty(size, dtype=np.float32)
        filter_size = self.stretches[0].taps.shape[-1]
        taken = 0
        for start in range(0, size, self.batch):
            frames = np.arange(start, min(start + self.batch, size))
            kernels = np.empty((len(frames), len(shifts), self.size), dtype=np.float32)
            taps = np.empty((*kernels.shape[:2], filter_size), dtype=np.float32)
            for ifo, shift in enumerate(shifts):
                partner = (frames + shift) % size
                owner = np.searchsorted(offsets, partner, side="right") - 1
                for stretch in np.unique(owner):
                    mine = owner == stretch
                    place = partner[mine] - offsets[stretch]
                    kernels[mine, ifo] = self.windows[stretch][place, ifo]
                    if self.needs_taps:
                        taps[mine, ifo] = self.stretches[stretch].taps[
                            self.blocks[stretch][place], ifo
                        ]
            found[frames] = self._score(kernels, taps)
            taken += kernels.nbytes
            if taken > RESIDENT_SIZE:
                self._release()
                taken = 0
        self._release()
        return found

    def _release(self) -> None:
        for stretch in self.stretches:
            stretch.release()

    def evidence_of(self, whitened: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        windows = self._windows(whitened)
        flat = windows.reshape(-1, *windows.shape[-2:])
        owner = np.repeat(np.arange(len(windows)), windows.shape[1])
        scores = []
        for first in range(0, len(flat), self.batch):
            part = slice(first, first + self.batch)
            scores.append(self._score(flat[part], taps[owner[part]]))
        return np.concatenate(scores).reshape(windows.shape[:2])

    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return evidence
