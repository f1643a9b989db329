"""Work shared out to processes that end together."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection, wait
from typing import Protocol

import torch

Piece = tuple[int, int]
"""First second, and second after the last [GPS s]."""


class Worker(Protocol):
    """What does the work of one process."""

    def clean(self, start: int, stop: int) -> int:
        """Clean a piece; returns the number of files."""


Begin = Callable[[str], AbstractContextManager[Worker]]
"""Makes the worker of a device; goes to another process."""


def share_out(begin: Begin, devices: Sequence[str], pieces: Sequence[Piece]) -> Iterator[int]:
    """Do pieces of work in processes, each its next one when it is done with one.

    Processes have no queue in common, whose lock a killed one could keep: each has a pipe of its
    own. When one ends before its time all do, and those that are left see the end of this one.

    Args:
        begin: Makes a worker.
        devices: What it is made with, in a process each; named twice, two processes share it.
        pieces: The work; not fewer than devices.

    Yields:
        What the workers return, as it comes.

    Raises:
        ValueError: A process was ended from outside.
        Exception: What a worker raises.
    """
    # a forked process would share the accelerator and the threads of this one
    context = multiprocessing.get_context("spawn")
    processes, pipes = [], []
    try:
        for device in devices:
            mine, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, begin, device))
            process.start()
            # held here, too, it would never be seen to end
            theirs.close()
            processes.append(process)
            pipes.append(mine)
        yield from _answers(pipes, pieces)
        for pipe in pipes:
            pipe.close()
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        for process in processes:
            process.join()


def _answers(pipes: Sequence[Connection], pieces: Sequence[Piece]) -> Iterator[int]:
    left, busy = iter(pieces), list(pipes)
    try:
        for pipe in pipes:
            pipe.send(next(left))
        while busy:
            for pipe in wait(busy):
                assert isinstance(pipe, Connection)
                answer = pipe.recv()
                if isinstance(answer, Exception):
                    raise answer
                yield answer
                piece = next(left, None)
                if piece is None:
                    busy.remove(pipe)
                else:
                    pipe.send(piece)
    except (EOFError, ConnectionError):
        raise ValueError(
            "one of the processes that clean was ended from outside, perhaps because memory was "
            "short: run it again, with fewer --workers"
        ) from None


def _work(pipe: Connection, begin: Begin, device: str) -> None:
    """What a process does, until the other end of its pipe has gone."""
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            with begin(device) as worker:
                while True:
                    pipe.send(worker.clean(*pipe.recv()))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            pipe.send(error)
