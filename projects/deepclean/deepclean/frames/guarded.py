"""Read frames where a broken one can do no harm."""

from __future__ import annotations

import os
import pickle
import select
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from deepclean.frames.channels import FrameChannel, FrameError

COMMAND = (sys.executable, "-P", "-m", "deepclean.frames.process")
SIZE = struct.Struct("<Q")
"""Length of an answer, which goes ahead of it."""
START_TIMEOUT = 60.0
"""Longest time that a new process may take until its first answer [s]."""


class _EndedError(Exception):
    """The reader's process has ended."""


class GuardedReader:
    """Reads frames in a process of its own.

    lalframe ends the process, or hangs, at some kinds of damage. Here it is that of the reader
    which ends: the frame counts as broken, and the next one is read by a new process. A reader
    that ended is asked a second time, as something else may have ended it.

    Args:
        timeout: Longest time that reading a second of frames may take [s].
        command: What is run to read.
    """

    def __init__(self, timeout: float = 2.0, command: Sequence[str] = COMMAND) -> None:
        self.timeout = timeout
        self.command = list(command)
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        # the first answer waits for the imports of the new process
        self._fresh = True

    def read(
        self, path: Path, start: int, names: Sequence[str], duration: int = 1
    ) -> dict[str, FrameChannel]:
        """Read a frame file; see `read_frame`.

        Raises:
            FrameError: The file is missing, broken, or holds something else.
        """
        request = pickle.dumps((path, start, tuple(names), duration))
        try:
            answer = self._ask(request, path, duration)
        except _EndedError:
            try:
                answer = self._ask(request, path, duration)
            except _EndedError:
                raise FrameError(f"{path} ended the process that read it: it is broken") from None
        if isinstance(answer, FrameError):
            raise answer
        return answer

    def _ask(
        self, request: bytes, path: Path, duration: int
    ) -> dict[str, FrameChannel] | FrameError:
        allowed = self.timeout * duration + (START_TIMEOUT if self._fresh else 0.0)
        deadline = time.monotonic() + allowed
        try:
            self._process.stdin.write(request)
            (size,) = SIZE.unpack(self._receive(SIZE.size, deadline))
            content = self._receive(size, deadline)
        except TimeoutError:
            self._restart()
            raise FrameError(f"{path} took more than {allowed} s to read") from None
        except (_EndedError, OSError):
            self._restart()
            raise _EndedError from None
        self._fresh = False
        return pickle.loads(content)

    def _receive(self, size: int, deadline: float) -> bytes:
        """So many bytes of the answer.

        Raises:
            TimeoutError: They did not come in time.
            _EndedError: They will not come.
        """
        pipe = self._process.stdout.fileno()
        content = bytearray()
        while len(content) < size:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([pipe], [], [], left)[0]:
                raise TimeoutError
            part = os.read(pipe, size - len(content))
            if not part:
                raise _EndedError
            content += part
        return bytes(content)

    def _restart(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        """End the reader's process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
