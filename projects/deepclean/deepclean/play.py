"""Plays simulated frames as an observatory writes them: second by second, not without faults."""

from __future__ import annotations

import itertools
import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from cleaning import Problem
from runtime import generator_for

from deepclean.frames import frame_name, list_frames
from deepclean.online.storage import prune
from deepclean.simulation import Plant
from deepclean.simulation.frames import write_span
from deepclean.simulation.plant import Simulated

log = logging.getLogger("deepclean")

FOLDERS = ("strain", "witness")
CHUNK = 16
"""Seconds that are simulated at once [s]."""
LATEST = 4
"""Longest time by which a frame is late, or comes again [s]."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a frame.

    Attributes:
        kind: It comes late; it is broken; it comes a second time.
        delay: By how much it comes late or again [s].
    """

    kind: Literal["late", "corrupt", "duplicate"]
    delay: int = 0


def draw_fault(seed: int, folder: str, second: int, probability: float) -> Fault | None:
    """What is wrong with a frame; the same whenever it is asked.

    Args:
        seed: Of all faults.
        folder: `strain` or `witness`.
        second: Its time [GPS s].
        probability: That anything is.
    """
    random = generator_for(seed, "deepclean", "fault", folder, second)
    if random.random() >= probability:
        return None
    delay = int(random.integers(1, LATEST + 1))
    which = int(random.integers(3))
    return (Fault("late", delay), Fault("corrupt"), Fault("duplicate", delay))[which]


def damage(content: bytes, seed: int, folder: str, second: int) -> bytes:
    """A broken file: cut, or with bytes turned over."""
    random = generator_for(seed, "deepclean", "damage", folder, second)
    if random.random() < 0.5:
        return content[: int(random.integers(len(content)))]
    broken = bytearray(content)
    for place in random.integers(len(content), size=300):
        broken[place] ^= 0xFF
    return bytes(broken)


@dataclass
class Player:
    """Writes one-second frames at the pace of time, or faster.

    What is written for a second, and when, follows from its GPS time: a player that is ended at
    any moment and begun again goes on with the second at which it was.

    Attributes:
        plant: Makes the data, and says which frames of witnesses are never written.
        problem: Names the channels.
        output: Gets `strain/` and `witness/`.
        start: First second [GPS s].
        rate: Seconds of data in a second; not paced if infinite.
        faults: Probability that something is wrong with a frame.
        seed: Of the faults.
        keep: Newest frames that are kept in a folder; all if None.
    """

    plant: Plant
    problem: Problem
    output: Path
    start: int
    rate: float = 1.0
    faults: float = 0.0
    seed: int = 0
    keep: int | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _chunk: Simulated | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"rate {self.rate}: data are played at a rate above 0")
        self._making = self.output / ".making"
        shutil.rmtree(self._making, ignore_errors=True)
        for name in FOLDERS:
            (self.output / name).mkdir(parents=True, exist_ok=True)
            (self._making / name).mkdir(parents=True)

    def next_second(self) -> int:
        """Where to go on: the last second of which anything is there, as not all of it may be."""
        found = [n.start for name in FOLDERS for n in list_frames(self.output / name)]
        return max([self.start, *found])

    def play(self, stop: int | None = None) -> None:
        """Write frames, each when its second is over.

        Args:
            stop: Second after the last [GPS s]; for ever if None.
        """
        first = self.next_second()
        begun = self.clock()
        log.info("playing from GPS %d on, %g times as fast as time", first, self.rate)
        for second in itertools.count(first):
            if stop is not None and second >= stop:
                return
            ready = list(self._make(second))
            due = begun + (second + 1 - first) / self.rate
            if not math.isinf(self.rate) and due > self.clock():
                self.sleep(due - self.clock())
            for path, final in ready:
                path.replace(final)
            if second % CHUNK == 0:
                for name in FOLDERS:
                    # what was made beside a frame that came late or again
                    prune(self._making / name, 0, before=second - LATEST)
                    if self.keep is not None:
                        prune(self.output / name, self.keep)

    def _make(self, now: int) -> Iterator[tuple[Path, Path]]:
        """Make the frames that come at the end of a second.

        Yields:
            Where each is, and where it belongs.
        """
        for second in range(max(self.start, now - LATEST), now + 1):
            for name in FOLDERS:
                fault = draw_fault(self.seed, name, second, self.faults)
                if self._comes(fault, now - second):
                    made = self._write(name, second, fault)
                    if made is not None:
                        yield made, self.output / name / made.name

    @staticmethod
    def _comes(fault: Fault | None, after: int) -> bool:
        if fault is None or fault.kind == "corrupt":
            return after == 0
        return after == fault.delay or (fault.kind == "duplicate" and after == 0)

    def _write(self, folder: str, second: int, fault: Fault | None) -> Path | None:
        path = self._making / folder / frame_name(self.problem.ifo[0], folder.upper(), second)
        if not path.is_file():
            write_span(self._simulated(second), self.plant, self.problem, self._making, second + 1)
        if not path.is_file():
            # a frame that the simulation drops
            return None
        if fault is not None and fault.kind == "corrupt":
            path.write_bytes(damage(path.read_bytes(), self.seed, folder, second))
        return path

    def _simulated(self, second: int) -> Simulated:
        chunk = self._chunk
        if chunk is not None and second < chunk.start:
            # late, or again
            return self.plant(second, second + 1)
        if chunk is None or second >= chunk.start + CHUNK:
            chunk = self._chunk = self.plant(second, second + CHUNK)
        return _cut(chunk, second, self.plant)


def _cut(chunk: Simulated, second: int, plant: Plant) -> Simulated:
    """A second of a longer stretch."""

    def part(values: np.ndarray, rate: int) -> np.ndarray:
        begin = (second - chunk.start) * rate
        return values[begin : begin + rate]

    rate = plant.settings.strain_rate
    return Simulated(
        start=second,
        background=part(chunk.background, rate),
        noise=part(chunk.noise, rate),
        witnesses={name: part(chunk.witnesses[name], r) for name, r in plant.rates.items()},
    )
