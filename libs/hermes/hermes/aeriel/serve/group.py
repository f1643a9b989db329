"""A process and all that it starts, ended together."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from hermes.aeriel.serve import watcher
from hermes.aeriel.serve.runners import Command
from hermes.errors import ServerError

_POLL_INTERVAL = 0.02


def new_mark() -> str:
    """A name for one server's shared memory and container that no other has."""
    return f"hermes-{os.getpid()}-{secrets.token_hex(4)}"


class ProcessGroup:
    """Runs a command that does not outlive this process.

    A watcher leads the process group, so that whatever the command starts is killed with it: by
    `end`, or by the watcher when this process is gone.

    Args:
        command: What to run.
        mark: Beginning of the names of its shared memory.
        output: Where its output and errors go.

    Raises:
        ServerError: The program cannot be run.
    """

    def __init__(self, command: Command, mark: str, output: IO[bytes]) -> None:
        self._owner = os.getpid()
        self._mark = mark
        self._cleanup = command.cleanup
        self._lock = threading.Lock()
        self._watcher = _start(
            [
                *(sys.executable, "-I", "-S", watcher.__file__),
                *(str(os.getpid()), mark, *command.cleanup),
            ],
            process_group=0,
            output=output,
        )
        try:
            self._process = _start(
                command.arguments,
                process_group=self._watcher.pid,
                output=output,
                variables=command.variables,
            )
        except OSError as error:
            self._watcher.kill()
            self._watcher.wait()
            raise ServerError(f"cannot run {command.arguments[0]}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Id of the command's process."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        with self._lock:
            return self._process.poll()

    def end(self, grace: float, done: Callable[[], bool] = lambda: False) -> None:
        """Ask the command to end, and kill what is left of the group.

        Does nothing in a child of the process that started it, and nothing the second time.

        Args:
            grace: Time that the command has to end by itself [s].
            done: Tells when there is nothing left to wait for.
        """
        if os.getpid() != self._owner:
            return
        with self._lock:
            if self._watcher.returncode is not None:
                return
            if grace > 0:
                self._process.terminate()
                deadline = time.monotonic() + grace
                while self._process.poll() is None and time.monotonic() < deadline and not done():
                    time.sleep(_POLL_INTERVAL)
            # The watcher is not waited for before, so that the group's id is still the group's.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._watcher.pid, signal.SIGKILL)
            self._process.wait()
            self._watcher.wait()
            watcher.remove_shared_memory(self._mark)
            if self._cleanup:
                subprocess.run(self._cleanup, check=False, capture_output=True)


def _start(
    arguments: list[str],
    process_group: int,
    output: IO[bytes],
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(variables or {})},
        process_group=process_group,
        cwd=Path.cwd(),
    )
