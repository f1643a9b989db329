"""A streaming network: towers once, the head for each slide."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import torch
from architectures import log_mean_exp
from architectures.base import FRAME_RATE

from infer.repository import Repository
from infer.scorers.base import Frames, Scorer
from infer.scorers.row import FrameRow


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
        row = self.row
        found = np.empty(row.size - self.head_size + 1, dtype=np.float32)
        # the client keeps a copy of what it sends
        buffer = np.empty((1, *row.shape, self.part_frames), dtype=np.float32)
        waiting: deque[tuple[int, Future[np.ndarray]]] = deque()

        def collect() -> None:
            begin, answer = waiting.popleft()
            part = answer.result()[0]
            found[begin : begin + len(part)] = part

        step = self.part_frames - self.head_size + 1
        for start in range(0, len(found), step):
            if len(waiting) == self.head.in_flight:
                collect()
            count = min(step, len(found) - start) + self.head_size - 1
            for ifo, shift in enumerate(shifts):
                row.take(ifo, start + shift, buffer[0, ifo, :, :count])
            part = buffer if count == self.part_frames else buffer[..., :count]
            waiting.append((start, self.head.submit(part)))
        while waiting:
            collect()
        row.release()
        return found

    def evidence_of(self, whitened: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """See `Scorer`; the filters are not looked at."""
        return self.head(self.towers(whitened))

    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return log_mean_exp(torch.from_numpy(evidence), self.pool_size, self.stride).numpy()
