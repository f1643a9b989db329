"""Clean a long span in pieces, by several processes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import torch
from cleaning import Problem
from runtime import progress

from deepclean.frames import Format, GuardedReader, open_frames
from deepclean.models import Journal, load_version
from deepclean.offline import as_recorded, clean_frames, constant, write_cleaned
from deepclean.online.drops import Drops
from deepclean.online.output import Output
from deepclean.processes import share_out
from deepclean.served import Transport, open_source

SHORTEST = 256
"""Pieces are as long as this or one frame, whichever is longer [s]. Rounding depends on where a
piece begins, so this does not follow the number of processes."""


@dataclass(frozen=True)
class Order:
    """What is to be cleaned, by what, and where to.

    Attributes:
        problem: What is cleaned.
        frames: Folder with `strain/` and `witness/`.
        store: Folder of all versions.
        output: Folder for the cleaned frames; exists.
        version: Version to clean with; not looked at where `recorded` is given.
        recorded: Folder of an online cleaner, to clean with the versions that it used, less what
            it gave up.
        frame_length: Length of each file [s].
        format: How the files are written.
        transport: What networks run on; see `deepclean.served.open_source`.
        server: The same.
        repository: The same.
    """

    problem: Problem
    frames: Path
    store: Path
    output: Path
    version: int
    recorded: Path | None = None
    frame_length: int = 64
    format: Format = "gwf"
    transport: Transport = "memory"
    server: str | None = None
    repository: Path | None = None


class Worker:
    """Cleans pieces, one after the other, with one process that reads for it; a context.

    Args:
        order: What is to be cleaned.
        device: Where networks in memory run.
    """

    def __init__(self, order: Order, device: str) -> None:
        self.order = order
        self.drops: Drops | None = None
        with ExitStack() as stack:
            source = stack.enter_context(
                open_source(order.transport, order.server, order.repository)
            )
            memory = order.transport == "memory"
            load = partial(load_version, device=device) if memory else source.load
            if order.recorded is None:
                self.choose = constant(load(order.store, order.version))
            else:
                journal = Journal(order.recorded / "journal.jsonl")
                self.choose = as_recorded(order.store, journal, load)
                self.drops = Drops(order.recorded / "drops.jsonl")
            reader = stack.enter_context(GuardedReader())
            self.strain, self.witness = open_frames(order.problem, order.frames, reader)
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def clean(self, start: int, stop: int) -> int:
        """Clean a piece; returns the number of files."""
        order = self.order
        cleaned = clean_frames(
            order.problem, self.strain, self.witness, self.choose, start, stop, self.drops
        )
        output = Output(order.output, order.problem)
        return len(write_cleaned(cleaned, output, order.frame_length, order.format))


def choose_devices(wanted: Sequence[str] | None = None, workers: int = 1) -> list[str]:
    """Devices to clean on, each as often as it gets processes.

    Args:
        wanted: Their names; all accelerators that can be used, else the processor, if None.
        workers: Processes on each.

    Raises:
        ValueError: One of them is not there, or nothing is left.
    """
    accelerators = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    there = ["cpu", *accelerators]
    chosen = (accelerators or ["cpu"]) if wanted is None else list(wanted)
    missing = [device for device in chosen if device not in there]
    if missing:
        raise ValueError(f"--devices {', '.join(missing)}: not there, found {', '.join(there)}")
    if not chosen or workers < 1:
        raise ValueError(
            f"{len(chosen)} --devices with {workers} --workers each: nothing would be cleaned, "
            "give one or more"
        )
    return chosen * workers


def cut(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    """Cut a span at all multiples of a length.

    Args:
        start: First second [GPS s].
        stop: Second after the last [GPS s].
        length: The length [s].
    """
    edges = [start, *range((start // length + 1) * length, stop, length), stop]
    return list(itertools.pairwise(edges))


def clean_span(
    order: Order, start: int, stop: int, devices: Sequence[str], shortest: int = SHORTEST
) -> int:
    """Clean a span, by a process on each device; the same bytes for any number of processes.

    Args:
        order: What is to be cleaned.
        start: First second [GPS s].
        stop: Second after the last [GPS s].
        devices: Where networks run; named twice, two processes share it.
        shortest: Pieces are as long as this or one frame, whichever is longer [s].

    Returns:
        The number of files.

    Raises:
        ValueError: A process was ended from outside.
    """
    length = order.frame_length * -(-shortest // order.frame_length)
    pieces = cut(start, stop, length)
    if len(devices) == 1 or len(pieces) == 1:
        with _one_thread(), Worker(order, devices[0]) as worker:
            return sum(worker.clean(*piece) for piece in progress(pieces, "clean", unit="piece"))
    answers = share_out(partial(Worker, order), devices[: len(pieces)], pieces)
    return sum(progress(answers, "clean", total=len(pieces), unit="piece"))


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a worker's process, so that the order of sums is the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
