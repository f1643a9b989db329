"""Read frames where a broken one can do no harm."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from deepclean.frames.reading import FrameChannel, FrameError, read_frame


def _serve(connection: Connection) -> None:
    """Answer requests until the other end has gone."""
    while True:
        try:
            path, start, names = connection.recv()
        except EOFError:
            return
        try:
            answer: object = read_frame(path, start, names)
        except (FrameError, FileNotFoundError) as error:
            answer = FrameError(str(error))
        connection.send(answer)


class GuardedReader:
    """Reads frames in a process of its own.

    lalframe ends the process, or hangs, at some kinds of damage. Here it is that of the reader
    which ends: the frame counts as broken, and the next one is read by a new process.

    Args:
        timeout: Longest time that reading one frame may take [s].
    """

    def __init__(self, timeout: float = 2.0) -> None:
        self.timeout = timeout
        # no state of this process, neither threads nor open files, is passed on
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        # the first answer waits for the imports of the new process
        self._fresh = True

    def read(self, path: Path, start: int, names: Sequence[str]) -> dict[str, FrameChannel]:
        """Read one second; see `read_frame`.

        Raises:
            FrameError: The file is missing, broken, or holds something else.
        """
        timeout = self.timeout + (60.0 if self._fresh else 0.0)
        try:
            self._connection.send((path, start, tuple(names)))
            if not self._connection.poll(timeout):
                raise FrameError(f"{path} took more than {timeout} s to read")
            answer = self._connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._restart()
            raise FrameError(f"{path} ended the process that read it: it is broken") from None
        except FrameError:
            self._restart()
            raise
        self._fresh = False
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _restart(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        """End the reader's process."""
        self._connection.close()
        self._process.kill()
        self._process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
