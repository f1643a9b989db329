"""A network without towers: run along each slide of the strain."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

import numpy as np
from architectures.base import FRAME_RATE

from infer.repository import Repository
from infer.scorers.base import Frames, Scorer
from infer.scorers.pooling import pool


class FusedScorer(Scorer):
    """A network that is run along each slide, each sample of which it sees once.

    A frame is a hop of whitened strain. Nothing is shared by slides, but within one all windows
    share what the network makes of the strain: the scores are those of the windows one by one.

    Args:
        repository: The exported models.
        scores_per_second: Rate of the scores [Hz].
        part_length: Time that the network is given at once [s]; bounds the memory.
    """

    def __init__(
        self, repository: Repository, scores_per_second: int, part_length: float = 64.0
    ) -> None:
        network = repository.network
        self.network = repository.model("evidence")
        self.hop, self.head_size = network["hop_size"], network["head_size"]
        self.pool_size = network["pool_size"]
        self.frame_rate = FRAME_RATE
        self.stride = FRAME_RATE // scores_per_second
        self.score_frames = self.pool_size + self.head_size - 1
        self.view_length = self.hop / network["sample_rate"]
        self.evidence_length = network["receptive_size"] / network["sample_rate"]
        self.part_frames = round(part_length * FRAME_RATE)
        self.stretches: list[Frames] = []
        self.offsets = [0]

    def num_frames(self, size: int) -> int:
        """See `Scorer`."""
        return size // self.hop

    def features(self, whitened: np.ndarray) -> Iterator[np.ndarray]:
        """See `Scorer`: none."""
        return iter(())

    def add(self, stretch: Frames) -> int:
        """See `Scorer`."""
        self.stretches.append(stretch)
        self.offsets.append(self.offsets[-1] + stretch.num_frames)
        return stretch.num_frames

    def evidence(self, shifts: Sequence[int]) -> np.ndarray:
        """See `Scorer`."""
        size = self.offsets[-1] - self.head_size + 1
        found = np.empty(size, dtype=np.float32)
        for start in range(0, size, self.part_frames):
            here = found[start : start + self.part_frames]
            count = len(here) + self.head_size - 1
            strain = np.empty((1, len(shifts), count * self.hop), dtype=np.float32)
            for ifo, shift in enumerate(shifts):
                self._take(ifo, start + shift, strain[0, ifo])
            here[:] = self.network(strain)[0]
            for stretch in self.stretches:
                stretch.release()
        return found

    def _take(self, ifo: int, first: int, out: np.ndarray) -> None:
        """Copy the strain of a detector from a frame on, around the end of the row."""
        while len(out):
            place = first % self.offsets[-1]
            owner = bisect.bisect_right(self.offsets, place) - 1
            begin = (place - self.offsets[owner]) * self.hop
            end = (self.offsets[owner + 1] - self.offsets[owner]) * self.hop
            part = self.stretches[owner].whitened[ifo, begin : min(end, begin + len(out))]
            out[: len(part)] = part
            out = out[len(part) :]
            first += len(part) // self.hop

    def evidence_of(self, whitened: np.ndarray, taps: np.ndarray) -> np.ndarray:
        """See `Scorer`; the filters are not looked at."""
        return self.network(whitened)

    def scores(self, evidence: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return pool(evidence, self.pool_size, self.stride)
