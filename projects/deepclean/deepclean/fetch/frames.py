"""Write what a service gives as frames, piece by piece, each once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cleaning import Fetch, Problem
from ledger import staged
from runtime import progress

from deepclean.fetch.services import Kind, Seconds, Service
from deepclean.frames import Format, frame_name, list_frames, write_frame
from deepclean.lines import append_line, read_lines

log = logging.getLogger("deepclean")

DONE = "fetched.json"
"""Written last: what was asked for, and what of it is missing."""
PIECES = "pieces.jsonl"
"""A line for each piece whose frames are all written, after one on what they are."""
FOLDERS = ("strain", "witness")


@dataclass(frozen=True)
class Fetched:
    """What a span of frames lacks.

    Attributes:
        start: First second [GPS s].
        stop: Second after the last [GPS s].
        missing: Spans without frames, by the folder that lacks them [GPS s].
    """

    start: int
    stop: int
    missing: dict[str, list[tuple[int, int]]]

    def lost(self, name: str) -> int:
        """Seconds that a folder lacks [s]."""
        return sum(stop - start for start, stop in self.missing[name])


@dataclass
class _Pieces:
    """The pieces of a folder that are done.

    Attributes:
        path: File of their lines.
        wanted: What the frames are; others do not go into the same folder.
        found: Missing spans of each piece by its first second, in each folder.
    """

    path: Path
    wanted: dict[str, Any]
    found: dict[int, dict[str, list[tuple[int, int]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = list(read_lines(self.path))
        if not lines:
            append_line(self.path, self.wanted, sync=True)
            return
        if lines[0] != self.wanted:
            other = [name for name, value in self.wanted.items() if lines[0].get(name) != value]
            raise ValueError(
                f"{self.path.parent} holds frames fetched with another {', '.join(other)}: give "
                "another folder, or remove this one"
            )
        for line in lines[1:]:
            missing = {name: [tuple(s) for s in line[name]] for name in FOLDERS}
            self.found[line["start"]] = missing

    def add(self, start: int, missing: dict[str, list[tuple[int, int]]]) -> None:
        """Say that a piece is done."""
        append_line(self.path, {"start": start, **missing}, sync=True)
        self.found[start] = missing


def fetch_frames(
    problem: Problem,
    fetch: Fetch,
    service: Service,
    folder: Path,
    start: int,
    stop: int,
    frame_length: int = 64,
    format: Format = "gwf",
) -> Fetched:
    """Write strain and witnesses of a span as frames.

    Ended at any moment and begun again it goes on with the next piece. Seconds that the service
    has not got, in any channel of a folder, are left out.

    Args:
        problem: Names the channels.
        fetch: Frame types, for the record.
        service: Gives the data.
        folder: Gets `strain/` and `witness/`, with the state vector among the witnesses.
        start: First second [GPS s].
        stop: Second after the last [GPS s].
        frame_length: Length of each file, and of what is asked for at once; they begin at
            multiples of it [s].
        format: How the files are written.

    Returns:
        What is missing.

    Raises:
        ValueError: The service does not answer, lacks a channel, or has no second of a folder;
            or the folder holds other frames.
    """
    channels = [problem.strain_channel, *problem.witnesses, problem.state_channel]
    wanted = {
        "channels": channels,
        "fetch": fetch.model_dump(mode="json"),
        "span": [start, stop],
        "frame_length": frame_length,
        "format": format,
    }
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    pieces = _Pieces(folder / PIECES, wanted)
    for kind, names in _kinds(problem).items():
        service.require(kind, names, start, stop)
    first = start // frame_length * frame_length
    for begin in progress(range(first, stop, frame_length), "fetch", unit="piece"):
        if begin in pieces.found:
            continue
        piece = (max(begin, start), min(begin + frame_length, stop))
        missing = {}
        for name in FOLDERS:
            found = _ask(problem, service, name, *piece)
            _write(found, folder / name, problem.ifo[0], name, piece, format)
            missing[name] = _spans(set(range(*piece)) - set(found))
        pieces.add(begin, missing)
    result = Fetched(start, stop, {name: _joined(pieces, name) for name in FOLDERS})
    for name in FOLDERS:
        if result.lost(name) == stop - start:
            raise ValueError(
                f"no second of [{start}, {stop}) has all channels of {name}: ask for another "
                f"time, and see that the frame types of {fetch.model_dump()} are the right ones"
            )
    with staged(folder / DONE) as partial:
        content = {"span": [start, stop], "missing": result.missing}
        partial.write_text(json.dumps(content, indent=1) + "\n")
    return result


def _ask(problem: Problem, service: Service, name: str, start: int, stop: int) -> Seconds:
    """Seconds of a folder that are there in all of its channels."""
    parts = [
        service.seconds(kind, names, start, stop)
        for kind, names in _kinds(problem).items()
        if (kind == "strain") == (name == "strain")
    ]
    common = set.intersection(*(set(part) for part in parts))
    return {
        second: {channel: v for part in parts for channel, v in part[second].items()}
        for second in sorted(common)
    }


def _kinds(problem: Problem) -> dict[Kind, list[str]]:
    """Channels of each kind that the problem has."""
    kinds: dict[Kind, list[str]] = {
        "strain": [problem.strain_channel],
        "witness": list(problem.witnesses),
    }
    if problem.state_channel is not None:
        kinds["state"] = [problem.state_channel]
    return kinds


def _write(
    found: Seconds, folder: Path, site: str, name: str, piece: tuple[int, int], format: Format
) -> None:
    """Write a file for each run of seconds."""
    # what an earlier attempt has left may hold fewer seconds
    for old in list_frames(folder):
        if piece[0] <= old.start < piece[1]:
            old.path.unlink()
    run: list[int] = []
    for second in [*sorted(found), None]:
        if run and (second != run[-1] + 1 or _rates(found[second]) != _rates(found[run[-1]])):
            joined = {
                channel: np.concatenate([found[s][channel] for s in run])
                for channel in found[run[0]]
            }
            path = folder / frame_name(site, name.upper(), run[0], len(run), format)
            write_frame(path, run[0], len(run), joined)
            run = []
        if second is not None:
            run.append(second)


def _rates(values: dict[str, np.ndarray]) -> dict[str, int]:
    return {name: len(samples) for name, samples in values.items()}


def _spans(seconds: Iterable[int]) -> list[tuple[int, int]]:
    """Runs of consecutive seconds, as half-open spans."""
    spans: list[tuple[int, int]] = []
    for second in sorted(seconds):
        if spans and spans[-1][1] == second:
            spans[-1] = (spans[-1][0], second + 1)
        else:
            spans.append((second, second + 1))
    return spans


def _joined(pieces: _Pieces, name: str) -> list[tuple[int, int]]:
    seconds = {
        second
        for missing in pieces.found.values()
        for start, stop in missing[name]
        for second in range(start, stop)
    }
    return _spans(seconds)
