"""Keeps processes running."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from runtime.guard import guarded

from deepclean.locking import alone

log = logging.getLogger("deepclean")

STATE = "services.json"
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Time from the end of a service to its next begin, doubled each time that it ends soon [s]."""
SOON = 30.0
"""A service that ran for longer did not end soon [s]."""
PATIENCE = 10.0
"""Time in which services may end by themselves when they are asked to [s]."""
POLL = 0.05


@dataclass(frozen=True)
class Service:
    """A process that is to run.

    Attributes:
        name: Its name, also that of its log.
        command: What is run.
        ends: Whether its work can be done: then it ends with 0 and is not begun again.
    """

    name: str
    command: Sequence[str]
    ends: bool = False


@dataclass
class _Running:
    """A service and its process."""

    service: Service
    process: subprocess.Popen[bytes] | None = None
    since: float = 0.0
    restarts: int = 0
    failures: int = 0
    begin_at: float = 0.0
    done: bool = False


@dataclass
class Supervisor:
    """Begins services, and begins each again when it has ended.

    Each runs under guard, a process group of its own: nothing of it outlives the supervisor, even
    one that was ended by SIGKILL, nor the service's own process.

    Attributes:
        services: What is to run.
        folder: Gets `logs/` and the state of all services, `services.json`.
    """

    services: Sequence[Service]
    folder: Path
    _all: list[_Running] = field(default_factory=list, repr=False)

    def run(self) -> None:
        """Keep all running until the work of those that end is done, or until SIGTERM or SIGINT.

        Raises:
            ValueError: Another supervisor is at work in the folder.
        """
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        with alone(self.folder / ".supervisor", "a supervisor"):
            self._all = [_Running(service) for service in self.services]
            with _ended_by_signals():
                try:
                    self._watch()
                finally:
                    self._end()

    def _watch(self) -> None:
        ending = [running for running in self._all if running.service.ends]
        while not ending or not all(running.done for running in ending):
            changed = [self._look_after(running) for running in self._all]
            if any(changed):
                self._write()
            time.sleep(POLL)

    def _look_after(self, running: _Running) -> bool:
        """See to one service; whether anything changed."""
        now = time.monotonic()
        if running.done or (running.process is None and now < running.begin_at):
            return False
        if running.process is None:
            self._begin(running)
            return True
        code = running.process.poll()
        if code is None:
            return False
        name, running.process = running.service.name, None
        if code == 0 and running.service.ends:
            log.info("%s is done", name)
            running.done = True
            return True
        running.failures = 1 if now - running.since > SOON else running.failures + 1
        pause = min(FIRST_PAUSE * 2 ** (running.failures - 1), LONGEST_PAUSE)
        running.restarts += 1
        running.begin_at = now + pause
        log.warning("%s ended with %d, begun again in %.1f s", name, code, pause)
        return True

    def _begin(self, running: _Running) -> None:
        name = running.service.name
        with (self.folder / "logs" / f"{name}.log").open("ab") as output:
            running.process = subprocess.Popen(
                guarded(running.service.command, [os.getpid()]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running.since = time.monotonic()
        log.info("%s runs as process group %d", name, running.process.pid)

    def _write(self) -> None:
        """Say how all are, for the status page."""
        content = {
            running.service.name: {
                "group": None if running.process is None else running.process.pid,
                "restarts": running.restarts,
                "done": running.done,
            }
            for running in self._all
        }
        partial = self.folder / f".{STATE}.partial"
        partial.write_text(json.dumps(content))
        partial.replace(self.folder / STATE)

    def _end(self) -> None:
        """End all services: asked first, killed if they do not."""
        processes = [running.process for running in self._all if running.process is not None]
        for process in processes:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)
            process.wait()
        for running in self._all:
            running.process = None
        self._write()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # until it was waited for its group's number belongs to nobody else
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM as an interrupt from the keyboard."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
