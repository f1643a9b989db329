"""Frames as they appear in two folders, second by second."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepclean.frames.guarded import GuardedReader
from deepclean.frames.reading import FrameError
from deepclean.online.drops import Drops, Kind
from deepclean.online.listing import Listing

PAST = 10
"""Seconds for which is known when they came [s]."""


@dataclass(frozen=True)
class Stream:
    """One kind of frames.

    Attributes:
        kind: Whether they hold strain or witnesses.
        folder: Where they appear, one file for each second.
        rates: Rate of each channel that is read [Hz], by full name.
    """

    kind: Kind
    folder: Path
    rates: dict[str, int]


@dataclass(frozen=True)
class Arrival:
    """A second, as complete as it will ever be.

    Attributes:
        second: Its time [GPS s].
        strain: Samples of the channels by name; None if given up.
        witnesses: Samples of the channels by name; None if given up.
    """

    second: int
    strain: dict[str, np.ndarray] | None
    witnesses: dict[str, np.ndarray] | None


@dataclass
class FrameSource:
    """Gives each second once both of its frames are there or given up.

    A frame is given up when it is broken `patience` after it was first seen, or still missing
    `patience` after something later, or the other frame of its second, was first seen. As long
    as nothing later comes there is nothing to give up: a detector that sends nothing is waited
    for.

    Attributes:
        streams: Strain and witnesses.
        drops: Where what was given up is kept.
        reader: Reads the files.
        patience: How long a frame is waited for [s].
        clock: Gives the time that patience is counted in [s].
    """

    streams: Sequence[Stream]
    drops: Drops
    reader: GuardedReader
    patience: float = 2.0
    clock: Callable[[], float] = time.monotonic
    _listed: dict[Kind, dict[int, Path]] = field(default_factory=dict, repr=False)
    _seen: dict[tuple[Kind, int], float] = field(default_factory=dict, repr=False)
    _read: dict[Kind, dict[str, np.ndarray]] = field(default_factory=dict, repr=False)
    _reading: int = field(default=-1, repr=False)

    def __post_init__(self) -> None:
        self._listings = [Listing(stream.folder) for stream in self.streams]

    def earliest(self) -> int | None:
        """First second of which there is any frame [GPS s]; None if there is none yet."""
        self._look()
        seconds = [second for frames in self._listed.values() for second in frames]
        return min(seconds, default=None)

    def arrived(self, second: int) -> float | None:
        """When both frames of a second had been seen, by `clock`; None if one never was."""
        seen = [self._seen.get((stream.kind, second)) for stream in self.streams]
        return None if None in seen else max(at for at in seen if at is not None)

    def get(self, second: int) -> Arrival | None:
        """The frames of a second; None if it is too early to say.

        Seconds are asked for in order.

        Args:
            second: Its time [GPS s].
        """
        if second != self._reading:
            self._reading, self._read = second, {}
            # a little of the past is kept for `arrived`
            kept = {key: at for key, at in self._seen.items() if key[1] >= second - PAST}
            self._seen = kept
        waiting = [s for s in self.streams if not self._settled(s, second)]
        if waiting:
            self._look()
            waiting = [s for s in waiting if not self._try(s, second)]
        if waiting:
            return None
        return Arrival(second, self._read.get("strain"), self._read.get("witnesses"))

    def _settled(self, stream: Stream, second: int) -> bool:
        return stream.kind in self._read or (stream.kind, second) in self.drops

    def _look(self) -> None:
        now = self.clock()
        for stream, listing in zip(self.streams, self._listings, strict=True):
            frames = listing.frames(self._reading)
            self._listed[stream.kind] = frames
            for second in frames:
                self._seen.setdefault((stream.kind, second), now)

    def _try(self, stream: Stream, second: int) -> bool:
        """Read a frame if it is there; whether it is settled now."""
        path = self._listed[stream.kind].get(second)
        reason = "missing"
        if path is not None:
            try:
                self._read[stream.kind] = self._values(stream, path, second)
            except FrameError as error:
                # it may still be on its way, where files appear before they are whole
                reason = str(error)
            else:
                return True
        since = [at for (_, s), at in self._seen.items() if s >= second]
        if not since or self.clock() - min(since) < self.patience:
            return False
        self.drops.add(stream.kind, second, reason)
        return True

    def _values(self, stream: Stream, path: Path, second: int) -> dict[str, np.ndarray]:
        found = self.reader.read(path, second, tuple(stream.rates))
        for name, rate in stream.rates.items():
            if found[name].rate != rate:
                raise FrameError(
                    f"{path}: {name} runs at {found[name].rate} Hz, expected {rate} Hz"
                )
        return {name: channel.values for name, channel in found.items()}
