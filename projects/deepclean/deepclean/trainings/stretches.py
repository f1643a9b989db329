"""Which data a training is to learn from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cleaning import Problem

from deepclean.frames import FrameError, FrameFolder, FrameName, GuardedReader, list_frames
from deepclean.quality import is_analysed

Span = tuple[int, int]


class NothingToDoError(Exception):
    """There are no data to train on yet; says what was found."""


@dataclass
class Stretches:
    """Looks for the newest stretch of frames that is worth a training.

    A second is usable when it and those on either side are there and the state vector calls them
    analysed, as in `deepclean collect`. That a frame is broken shows only there: of strain and
    witnesses nothing is read here.

    Attributes:
        frames: Folder with `strain/` and `witness/`.
        problem: Names the state vector.
        duration: Length of a stretch [s].
        valid: How much of it, at its end, a training validates on [s].
        fraction: Part of either part of a stretch that is to be usable.
    """

    frames: Path
    problem: Problem
    duration: int
    valid: int
    fraction: float = 0.5
    _analysed: dict[int, bool] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.valid < self.duration:
            raise ValueError(
                f"{self.valid} of {self.duration} s to validate on: both parts of a training's "
                "data need a second at least, set training_duration or valid_fraction"
            )

    def newest(self, earliest: int = 0) -> Span:
        """First second of a stretch, and the second after its last [GPS s].

        Args:
            earliest: It ends no earlier than this [GPS s].

        Raises:
            NothingToDoError: There is none.
        """
        strain, witness = (self._names(name) for name in ("strain", "witness"))
        # a second more on either side, for the filters
        first = max(strain[0].start, witness[0].start) + 1
        last = min(strain[-1].stop, witness[-1].stop) - 1
        least = max(earliest, first + self.duration)
        if last < least:
            raise NothingToDoError(
                f"frames reach from GPS {first - 1} to {last + 1}: the next training needs them "
                f"to GPS {least + 1}"
            )
        begin = least - self.duration - 1
        self._analysed = {s: found for s, found in self._analysed.items() if s >= begin}
        found = self._search(least, last, _seconds(strain) & _seconds(witness))
        if isinstance(found, int):
            return found - self.duration, found
        raise NothingToDoError(
            f"no {self.duration} s that end between GPS {least} and {last} are fit to train on: "
            f"at best {found:.0%} are usable, expected {self.fraction:.0%} of those to train on "
            "and of those to validate on; seconds are usable where no frame is missing and the "
            "state vector says analysed"
        )

    def _names(self, name: str) -> list[FrameName]:
        folder = self.frames / name
        names = list_frames(folder) if folder.is_dir() else []
        if not names:
            raise NothingToDoError(f"no frames in {folder} yet")
        return names

    def _search(self, least: int, last: int, present: set[int]) -> int | float:
        """The latest end of a stretch that will do; else the largest usable part of any."""
        best = 0.0
        with self._state() as state:
            usable = _Usable(state, present, self._analysed)
            split = last - self.valid
            validated = sum(map(usable, range(split, last)))
            trained = sum(map(usable, range(last - self.duration, split)))
            sizes = self.valid, self.duration - self.valid
            for stop in range(last, least - 1, -1):
                found = min(validated / sizes[0], trained / sizes[1])
                if found >= self.fraction:
                    return stop
                best = max(best, found)
                if stop > least:
                    split, start = stop - self.valid, stop - self.duration
                    validated += usable(split - 1) - usable(stop - 1)
                    trained += usable(start - 1) - usable(split - 1)
        return best

    @contextlib.contextmanager
    def _state(self) -> Iterator[Callable[[int], bool]]:
        """What says of a second whether the state vector calls it analysed."""
        channel = self.problem.state_channel
        if channel is None:
            yield lambda second: True
            return
        with GuardedReader() as reader:
            try:
                folder = FrameFolder(self.frames / "witness", [channel], reader)
            except FrameError as error:
                raise NothingToDoError(str(error)) from None

            def analysed(second: int) -> bool:
                seen = folder.second(second)
                return seen is not None and is_analysed(self.problem, seen)

            yield analysed


@dataclass(frozen=True)
class _Usable:
    """Says which seconds are usable; reads no state vector twice."""

    state: Callable[[int], bool]
    present: set[int]
    analysed: dict[int, bool]

    def __call__(self, second: int) -> bool:
        return all(self._alone(near) for near in (second - 1, second, second + 1))

    def _alone(self, second: int) -> bool:
        if second not in self.present:
            return False
        if second not in self.analysed:
            self.analysed[second] = self.state(second)
        return self.analysed[second]


def _seconds(names: Iterable[FrameName]) -> set[int]:
    return {second for name in names for second in range(name.start, name.stop)}
