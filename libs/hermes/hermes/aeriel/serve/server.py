"""A running server."""

import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from hermes.aeriel.serve.group import ProcessGroup, new_mark
from hermes.aeriel.serve.log import Log
from hermes.aeriel.serve.ports import HOST, Ports, check_free, find_free_ports, is_listening
from hermes.aeriel.serve.readiness import describe_broken, read_model_states
from hermes.aeriel.serve.repository import holds_python_models, list_models
from hermes.aeriel.serve.runners import Command
from hermes.errors import ServerError

# How often free ports are looked for when another process takes one before the server does.
PORT_TRIALS = 3
# Beyond its own time-out for ending, the server needs some time to let go of everything [s].
ENDING_MARGIN = 2.0
_POLL_INTERVAL = 0.05

BuildCommand = Callable[[Sequence[str], str], Command]


class Server:
    """A server of this process; made by `serve`.

    Thread safe but for `restart`, during which nothing else is to be done with it.

    Args:
        build: Makes the command, from the server's arguments and the name of its container.
        arguments: The server's arguments, without those of the ports.
        repository: Folder of the models.
        models: Models that `wait` waits for; None for all that are in the repository.
        ports: Where to listen; None for free ports.
        timeout: Time that `wait` waits by default [s].
        exit_timeout: Time that the server has to finish requests when it is ended [s].
        log: Where the server writes.
    """

    def __init__(
        self,
        build: BuildCommand,
        arguments: Sequence[str],
        repository: Path,
        models: Collection[str] | None,
        ports: Ports | None,
        timeout: float,
        exit_timeout: float,
        log: Log,
    ) -> None:
        self._build = build
        self._arguments = list(arguments)
        self._repository = repository
        self._models = models
        self._timeout = timeout
        self._exit_timeout = exit_timeout
        self._log = log
        self._chosen = ports is not None
        self.ports = ports or find_free_ports()
        self._trials = 1
        self._checking = threading.Lock()
        self._group = self._start()

    @property
    def address(self) -> str:
        """HOST:PORT for clients (gRPC)."""
        return f"{HOST}:{self.ports.grpc}"

    @property
    def http_address(self) -> str:
        """HOST:PORT of the HTTP interface."""
        return f"{HOST}:{self.ports.http}"

    @property
    def metrics_url(self) -> str:
        """Where the server tells its metrics."""
        return f"http://{HOST}:{self.ports.metrics}/metrics"

    @property
    def pid(self) -> int:
        """Id of the server's process."""
        return self._group.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._group.code is None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that the server wrote."""
        return self._log.tail(lines)

    def wait(self, timeout: float | None = None, models: Collection[str] | None = None) -> None:
        """Wait until models are ready.

        Where free ports were asked for and another process took one first, the server is started
        again on others: `address` is final when this has returned.

        Args:
            timeout: Time allowed [s]; None for that of `serve`.
            models: Their names; None for those of `serve`.

        Raises:
            ServerError: The server ended, a model cannot be loaded (with the server's reason), or
                the time is up. Carries the end of the log.
        """
        allowed = self._timeout if timeout is None else timeout
        deadline = time.monotonic() + allowed
        waited_for = "the server does not answer"
        while True:
            self._check_alive()
            if all(map(is_listening, self.ports)):
                missing = self._find_missing(models)
                if not missing:
                    self._check_alive()
                    return
                waited_for = f"not ready: {', '.join(missing)}"
            if time.monotonic() > deadline:
                raise self._error(f"after {allowed:g} s {waited_for}")
            time.sleep(_POLL_INTERVAL)

    def kill(self) -> None:
        """End the server as if the machine had lost power, for tests of what then happens."""
        self._group.end(grace=0)

    def restart(self) -> None:
        """Start the server anew, on the same ports; `wait` tells when it is ready."""
        self._end()
        self._log.restart()
        # Clients know the address: another is of no use to them.
        self._chosen = True
        self._group = self._start()

    def close(self) -> None:
        """End the server; what it runs is killed if it does not end in time."""
        self._end()
        self._log.close()

    def _end(self) -> None:
        # Unloading takes seconds, and is of no use to models that are files.
        wait_for_unloading = holds_python_models(self._repository)
        self._group.end(
            grace=self._exit_timeout + ENDING_MARGIN,
            done=lambda: not wait_for_unloading and self._log.says_models_stopped(),
        )

    def _start(self) -> ProcessGroup:
        if self._chosen:
            check_free(self.ports)
        self._id = mark = new_mark()
        arguments = [
            f"--id={mark}",
            *self._arguments,
            *(f"--{what}-address={HOST}" for what in Ports._fields),
            *(f"--{what}-port={port}" for what, port in self.ports._asdict().items()),
            f"--exit-timeout-secs={math.ceil(self._exit_timeout)}",
            f"--backend-config=python,shm-region-prefix-name={mark}",
        ]
        return ProcessGroup(self._build(arguments, mark), mark, self._log.file)

    def _check_alive(self) -> None:
        with self._checking:
            self._revive_or_raise()

    def _revive_or_raise(self) -> None:
        if self.alive:
            return
        if not self._chosen and self._log.says_port_taken() and self._trials < PORT_TRIALS:
            self._trials += 1
            self._group.end(grace=0)
            self._log.restart()
            self.ports = find_free_ports()
            self._group = self._start()
            return
        raise self._error(f"the server ended with exit code {self._group.code}")

    def _find_missing(self, models: Collection[str] | None) -> list[str]:
        states = read_model_states(self.address, self._id)
        if states is None:
            return ["the server"]
        there = list_models(self._repository)
        wanted = models or self._models or there
        absent = sorted(set(wanted) - set(there))
        if absent:
            raise self._error(
                f"{self._repository} has no model {', '.join(absent)}, it has {', '.join(there)}"
            )
        broken = {
            name: reason or "; ".join(self._log.find_errors(name))
            for name, reason in states.broken.items()
            if name in wanted
        }
        if broken:
            raise self._error(f"cannot be loaded:\n{describe_broken(broken, broken)}")
        return sorted(set(wanted) - states.ready)

    def _error(self, message: str) -> ServerError:
        return ServerError(
            f"{message}\nrepository {self._repository}; the end of the server's log:\n"
            f"{self.log_tail()}"
        )
