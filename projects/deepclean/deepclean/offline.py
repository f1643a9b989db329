"""Clean a span of frames, of any length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cleaning import Choice, Cleaned, Cleaner, Model, Problem, Recording
from cleaning.cleaner import HISTORY, LATENCY

from deepclean.frames import Format, FrameFolder, frame_name, write_frame
from deepclean.models import Journal, load_version
from deepclean.online.drops import Drops
from deepclean.online.output import DESCRIPTION, Output

CHUNK = 64
"""Seconds that are cleaned at once [s]."""


def constant(model: Model, canary: Model | None = None) -> Callable[[int], Choice]:
    """The same models throughout."""
    choice = Choice(model, canary)
    return lambda second: choice


def as_recorded(
    store: Path, journal: Journal, load: Callable[[Path, int], Model] = load_version
) -> Callable[[int], Choice]:
    """The models that the online cleaner used in each second.

    Args:
        store: Folder of all versions.
        journal: Which of them were used when.
        load: Loads a version of the store.
    """
    models: dict[int, Model | None] = {0: None}

    def choose(second: int) -> Choice:
        roles = journal.at(second)
        for version in (roles.production, roles.canary):
            if version not in models:
                models[version] = load(store, version)
        return Choice(models[roles.production], models[roles.canary])

    return choose


def clean_frames(
    problem: Problem,
    strain: FrameFolder,
    witness: FrameFolder,
    choose: Callable[[int], Choice],
    start: int,
    stop: int,
    drops: Drops | None = None,
) -> Iterator[Cleaned]:
    """Clean a span, with what lies beside it looked at where it is there.

    Args:
        problem: What is cleaned.
        strain: Strain frames.
        witness: Witness frames.
        choose: Models of each second.
        start: First second [GPS s].
        stop: Second after the last [GPS s].
        drops: What an online cleaner gave up, though it may be there now.

    Yields:
        Seconds that have strain, in order.
    """
    rates = {name: witness.rates[name] for name in problem.witnesses}
    begin, end = start - HISTORY, stop + LATENCY
    recording = Recording(strain.rates[problem.strain_channel], rates, problem.sample_rate, begin)
    cleaner = Cleaner(problem, recording, choose, start, () if drops is None else drops)
    for first in range(begin, end, CHUNK):
        for second in range(first, min(first + CHUNK, end)):
            values = seen = None
            if drops is None or ("strain", second) not in drops:
                values = strain.second(second)
            if drops is None or ("witnesses", second) not in drops:
                seen = witness.second(second)
            recording.add(
                second,
                None if values is None else values[problem.strain_channel],
                None if seen is None else {name: seen[name] for name in rates},
            )
        yield from cleaner.advance()
    yield from (cleaned for cleaned in cleaner.advance(final=True) if cleaned.second < stop)


def write_cleaned(
    cleaned: Iterator[Cleaned], output: Output, frame_length: int = 1, format: Format = "gwf"
) -> list[Path]:
    """Write cleaned seconds as frame files.

    Args:
        cleaned: In order.
        output: Where to, and what the channels are called.
        frame_length: Length of each file; they begin at multiples of it, and end where a second
            is missing [s].
        format: How they are written.

    Returns:
        The files.
    """
    written: list[Path] = []
    waiting: list[Cleaned] = []

    def flush() -> None:
        if waiting:
            written.append(_write(waiting, output, format))
            waiting.clear()

    for second in cleaned:
        follows = waiting and waiting[-1].second + 1 == second.second
        if not follows or second.second % frame_length == 0:
            flush()
        waiting.append(second)
    flush()
    return written


def _write(seconds: list[Cleaned], output: Output, format: Format) -> Path:
    parts = [output.channels(second) for second in seconds]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    start = seconds[0].second
    output.folder.mkdir(parents=True, exist_ok=True)
    name = frame_name(output.site, DESCRIPTION, start, len(seconds), format)
    history = output.history(seconds[-1])
    if len(seconds) > 1:
        history["deepclean_versions"] = json.dumps(_changes(seconds))
    write_frame(output.folder / name, start, len(seconds), joined, history)
    return output.folder / name


def _changes(seconds: list[Cleaned]) -> list[dict[str, Any]]:
    """Versions from each second on in which they change."""
    found: list[dict[str, Any]] = []
    for cleaned in seconds:
        versions = {
            "production": cleaned.production_version,
            "canary": cleaned.canary_version,
        }
        if not found or {k: found[-1][k] for k in versions} != versions:
            found.append({"second": cleaned.second} | versions)
    return found
