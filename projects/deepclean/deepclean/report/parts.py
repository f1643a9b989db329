"""Strain before and after, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cleaning import Problem, Recording

from deepclean.frames import FrameFolder
from deepclean.online.output import CLEANED, DROPPED, GOOD, Output
from deepclean.quality import is_analysed
from deepclean.simulation.frames import read_truth

LENGTH = 32
"""Length of a part [s]; spectra are averaged over all, and the range is measured in each."""
SHORTEST_PART = 4
"""Fewer seconds in a row are left out: too few for the segments of a spectrum [s]."""


@dataclass(frozen=True)
class Part:
    """Consecutive seconds that are analysed, in which there is strain before and after.

    Attributes:
        start: First second [GPS s].
        raw: Strain as it came, at the cleaned strain's rate, of shape (time,).
        out_dq: What is to be used, of shape (time,).
        production: The same without the gate.
        background: Strain that no witness knows of; None where the truth is not known.
        witnesses: Samples by full name, each at its own rate; None if a second is missing.
    """

    start: int
    raw: np.ndarray
    out_dq: np.ndarray
    production: np.ndarray
    background: np.ndarray | None
    witnesses: dict[str, np.ndarray] | None


@dataclass(frozen=True)
class Second:
    """What the cleaner did in a second.

    Attributes:
        second: Its time [GPS s].
        good: Whether the gate held it for good.
        cleaned: Whether all of it is cleaned.
        dropped: Whether witnesses were missing.
        version: The production version; 0 for none.
        analysed: Whether the detector called it analysed; also where its state is not known, as
            witnesses were missing.
    """

    second: int
    good: bool
    cleaned: bool
    dropped: bool
    version: int
    analysed: bool

    @classmethod
    def of(cls, second: int, state: int, version: int, analysed: bool) -> Second:
        """A second from the bits of what the cleaner did."""
        bits = (bool(state & bit) for bit in (GOOD, CLEANED, DROPPED))
        return cls(second, *bits, version, analysed)


class Reader:
    """Reads the parts of a span.

    Args:
        problem: What was cleaned.
        strain: Frames of the strain as it came.
        witness: Frames of the witnesses and, if the problem names one, of the state vector.
        cleaned: Frames of the cleaned strain, opened with `channels_of`.
        truth: Folder of a simulation's truth; None if there is none.
    """

    def __init__(
        self,
        problem: Problem,
        strain: FrameFolder,
        witness: FrameFolder,
        cleaned: FrameFolder,
        truth: Path | None = None,
    ) -> None:
        self.problem = problem
        self.strain, self.witness, self.cleaned = strain, witness, cleaned
        self.truth = truth
        self.seconds: list[Second] = []

    @staticmethod
    def channels_of(problem: Problem) -> list[str]:
        """Channels of cleaned frames that a report reads."""
        output = Output(Path(), problem)
        return [
            output.channel("PRODUCTION_OUT_DQ"),
            output.channel("PRODUCTION"),
            f"{problem.ifo}:DEEPCLEAN-STATE",
            f"{problem.ifo}:DEEPCLEAN-VERSION_PRODUCTION",
        ]

    def __call__(self, start: int, stop: int) -> Iterator[Part]:
        """Parts of a span, in order; what is too short for a spectrum is left out.

        What the detector does not call analysed is no part of any: a lost lock would be all that
        a mean density shows.

        Args:
            start: First second [GPS s].
            stop: Second after the last [GPS s].
        """
        for first in range(start, stop, LENGTH):
            yield from self._parts(first, min(first + LENGTH, stop))

    def _parts(self, start: int, stop: int) -> Iterator[Part]:
        out_dq, production, state, version = self.channels_of(self.problem)
        recording, analysed = self._record(start - 1, stop + 1)
        after: dict[int, dict[str, np.ndarray]] = {}
        for second in range(start, stop):
            values = self.cleaned.second(second)
            if values is None or not recording.has_strain(second):
                continue
            known = (int(values[state][0]), int(values[version][0]), second in analysed)
            self.seconds.append(Second.of(second, *known))
            if second in analysed:
                after[second] = values
        begin = start
        while begin < stop:
            end = begin
            while end in after:
                end += 1
            if end - begin >= SHORTEST_PART:
                lost = recording.dropped(begin, end)
                yield Part(
                    start=begin,
                    raw=recording.strain(begin, end),
                    out_dq=np.concatenate([after[s][out_dq] for s in range(begin, end)]),
                    production=np.concatenate([after[s][production] for s in range(begin, end)]),
                    background=None
                    if self.truth is None
                    else read_truth(self.truth, begin, end)["background"],
                    witnesses=None
                    if lost
                    else {n: s.values for n, s in recording.witnesses(begin, end).items()},
                )
            begin = end + 1

    def _record(self, start: int, stop: int) -> tuple[Recording, set[int]]:
        """A span, and which of its seconds are analysed as far as is known."""
        problem = self.problem
        rates = {name: self.witness.rates[name] for name in problem.witnesses}
        rate = self.strain.rates[problem.strain_channel]
        recording, analysed = Recording(rate, rates, problem.sample_rate, start), set()
        for second in range(start, stop):
            values, seen = self.strain.second(second), self.witness.second(second)
            if seen is None or is_analysed(problem, seen):
                analysed.add(second)
            recording.add(
                second,
                None if values is None else values[problem.strain_channel],
                None if seen is None else {name: seen[name] for name in rates},
            )
        return recording, analysed
