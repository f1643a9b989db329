"""Background that does not fit into memory: a part of it at a time, in turn."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from ledger import StrainFile
from ledger.reader import StrainReader
from preprocessing import WhiteningRecipe, whiten
from preprocessing.stretches import LoadedStretch
from runtime import generator_for

from train.background import Background, Sampling

NUM_SLOTS = 8
"""Pieces in memory at a time."""


@dataclass(frozen=True)
class Piece:
    """A part of a file that is whitened by itself.

    Attributes:
        file: Number of the file.
        start: First sample of raw strain.
        size: Samples of raw strain.
    """

    file: int
    start: int
    size: int


def cut_pieces(
    files: Sequence[StrainFile], recipe: WhiteningRecipe, kernel_size: int, longest: float
) -> list[Piece]:
    """Divide files into pieces that hold every kernel once.

    A piece begins where the filter changes, and is as long as needed for the kernel that begins
    last in it: its whitened samples and its filters are those of the file as a whole.

    Args:
        files: Strain files.
        recipe: The whitening.
        kernel_size: Samples in a kernel.
        longest: Longest whitened piece [s].

    Raises:
        ValueError: A piece has no room for a kernel.
    """
    room = round(longest * recipe.sample_rate) - kernel_size + 1
    step = room // recipe.update_size * recipe.update_size
    if step <= 0:
        shortest = recipe.update_length + kernel_size / recipe.sample_rate
        raise ValueError(
            f"data.memory_length has room for {NUM_SLOTS} pieces of {longest} s, expected at "
            f"least {shortest} s each (update_length and kernel_length): raise it to "
            f"{math.ceil(NUM_SLOTS * shortest)} s or more"
        )
    pieces = []
    for number, file in enumerate(files):
        size = round((file.gps_stop - file.gps_start) * recipe.sample_rate)
        starts = recipe.whitened_size(size) - kernel_size + 1
        for begin in range(0, starts, step):
            whitened = min(step + kernel_size - 1, recipe.whitened_size(size) - begin)
            pieces.append(Piece(number, begin, whitened + recipe.psd_size + recipe.filter_size))
    return pieces


class RotatingBackground(Background):
    """Background of which a part is in memory, a piece at a time replaced by the next.

    The pieces stand in an order that follows from the seed, and come round in it. Which of them
    are in memory at a batch follows from the number of the batch alone, so a training that goes on
    in the middle goes on with the same ones. Threads read and whiten the next pieces in advance;
    to the memory of those in use add one piece for each thread.

    Args:
        files: Strain files.
        pieces: Their pieces; more than `NUM_SLOTS`.
        ifos: Detectors.
        recipe: The whitening.
        kernel_size: Samples in a kernel.
        left_out: GPS windows that no kernel may touch [s].
        sampling: See `Background`.
        turns_per_batch: Pieces replaced per batch; may be far below one.
        seed: From which the order follows.
        workers: Threads that read.
        device: Where the whitened strain stays.
    """

    def __init__(
        self,
        files: Sequence[StrainFile],
        pieces: Sequence[Piece],
        ifos: tuple[str, ...],
        recipe: WhiteningRecipe,
        kernel_size: int,
        left_out: Sequence[tuple[float, float]],
        sampling: Sampling,
        turns_per_batch: float,
        seed: int,
        workers: int,
        device: torch.device,
    ) -> None:
        order = generator_for(seed, "train", "rotation").permutation(len(pieces))
        self.pieces = [pieces[i] for i in order]
        self.files = files
        self._reader = StrainReader([file.path for file in files], ifos)
        self.recipe = recipe
        self.turns_per_batch = turns_per_batch
        self.device = device
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="strain")
        self._coming: dict[int, Future[LoadedStretch]] = {}
        self._held = list(range(NUM_SLOTS))
        longest = max(piece.size for piece in pieces)
        super().__init__(
            map(self._load, self._held),
            kernel_size,
            left_out,
            sampling,
            [recipe.whitened_size(longest)] * NUM_SLOTS,
        )
        self._look_ahead(0)

    def _load(self, turn: int) -> LoadedStretch:
        """Read and whiten the piece that comes into memory at a turn."""
        piece = self.pieces[turn % len(self.pieces)]
        strain = torch.from_numpy(self._reader.read(piece.file, piece.start, piece.size))
        if self.device.type == "cuda":
            strain = strain.pin_memory().to(self.device, non_blocking=True)
        file = self.files[piece.file]
        start = file.gps_start + piece.start / self.recipe.sample_rate + self.recipe.lead
        return LoadedStretch(file, start, whiten(strain, self.recipe))

    def turn_of(self, number: int) -> int:
        """How many pieces have been replaced at a batch."""
        return math.floor(number * self.turns_per_batch + 1e-9)

    def _fetch(self, turns: Iterable[int]) -> None:
        """Have the pieces of turns read, unless they are coming already."""
        for turn in turns:
            if turn not in self._coming:
                self._coming[turn] = self._threads.submit(self._load, turn)

    def _look_ahead(self, turn: int) -> None:
        """Have the pieces read that come next, and forget others."""
        ahead = range(turn + NUM_SLOTS, turn + NUM_SLOTS + self._workers)
        for passed in [coming for coming in self._coming if coming not in ahead]:
            self._coming.pop(passed).cancel()
        self._fetch(ahead)

    def prepare(self, number: int) -> bool:
        """Bring the pieces of a batch into memory; see `Background.prepare`."""
        turn = self.turn_of(number)
        missing = [
            wanted
            for wanted in range(turn, turn + NUM_SLOTS)
            if self._held[wanted % NUM_SLOTS] != wanted
        ]
        if not missing:
            return False
        self._fetch(missing)
        for wanted in missing:
            begun = time.perf_counter()
            item = self._coming.pop(wanted).result()
            self.seconds_waiting += time.perf_counter() - begun
            self._put(wanted % NUM_SLOTS, item)
            self._held[wanted % NUM_SLOTS] = wanted
        self.update_runs()
        self._look_ahead(turn)
        return True

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)
