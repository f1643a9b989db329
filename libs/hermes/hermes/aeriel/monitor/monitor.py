"""Watching servers and clients."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hermes.aeriel.monitor.metrics import Counters, ModelVersion
from hermes.aeriel.monitor.rows import Row, RowFile, row_of_client, row_of_server
from hermes.aeriel.monitor.targets import Target, as_target
from hermes.aeriel.serve import Server

logger = logging.getLogger(__name__)

# Rows that are kept in memory; the file has all.
KEPT_ROWS = 10_000


class Latencies(Protocol):
    """Times from sending to answer, as a client counts them."""

    def summary(self) -> Mapping[str, float]:
        """`count` of the answers so far, and `p50`, `p90`, `p99` of their times [s]."""
        ...


class WatchedClient(Protocol):
    """What is read of an `InferenceClient`."""

    model: str
    version: int
    latencies: Latencies


class ServerMonitor:
    """Reads what servers and clients count, and writes the differences into a table.

        with ServerMonitor(instance, file="monitor.csv", clients=[client]):
            ...

    The first reading is where the counting begins. A server that does not answer is said so once,
    and asked again in the next interval.

    Args:
        servers: One or more: a `Server`, a `Target`, or the address of the metrics (URL,
            HOST:PORT, or HOST alone for Triton's usual ports).
        models: Models to watch; None for all. Of an ensemble the steps are watched too, where the
            server's gRPC address is known (not from the address of the metrics alone).
        interval: Time between readings [s].
        file: CSV file that the rows are added to; None for none.
        clients: Clients of this process whose times to the answer are recorded beside.
        listener: Called with the rows of each reading.

    Raises:
        ValueError: The interval is not above 0, or the file exists and is of something else.
    """

    def __init__(
        self,
        servers: Server | Target | str | Sequence[Server | Target | str] = (),
        models: Collection[str] | None = None,
        *,
        interval: float = 1.0,
        file: str | Path | None = None,
        clients: Sequence[WatchedClient] = (),
        listener: Callable[[list[Row]], object] | None = None,
    ) -> None:
        if not interval > 0:
            raise ValueError(f"interval is {interval} s: it must be above 0")
        if isinstance(servers, Server | Target | str):
            servers = [servers]
        self.rows: deque[Row] = deque(maxlen=KEPT_ROWS)
        self._targets = [as_target(server) for server in servers]
        self._models = models
        self._interval = interval
        self._clients = list(clients)
        self._listener = listener
        self._watched: dict[Target, Collection[str] | None] = {}
        self._before: dict[Target, tuple[float, dict[ModelVersion, Counters]]] = {}
        self._before_client: dict[int, tuple[float, float]] = {}
        self._silent: set[Target] = set()
        self._reading = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._file = RowFile(file) if file is not None else None

    def __enter__(self) -> ServerMonitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Read now, and then once per interval in a thread of its own."""
        self.sample()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read for a last time and close the file; nothing the second time."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.sample()
        if self._file is not None:
            self._file.close()

    def sample(self) -> list[Row]:
        """Read all servers and clients once.

        Returns:
            What happened since the reading before; nothing of what is read for the first time.
        """
        with self._reading:
            rows = [row for target in self._targets for row in self._read_server(target)]
            rows += [row for client in self._clients for row in self._read_client(client)]
            self.rows.extend(rows)
            if self._file is not None:
                self._file.write(rows)
        if self._listener is not None:
            self._listener(rows)
        return rows

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            # A reading that takes long does not shift the ones after it.
            due = max(due + self._interval, time.monotonic())
            if self._stop.wait(due - time.monotonic()):
                return
            self.sample()

    def _read_server(self, target: Target) -> list[Row]:
        try:
            if self._models is not None and target not in self._watched:
                self._watched[target] = target.expand(self._models)
            counted = target.read()
        except (OSError, ValueError) as error:
            if target not in self._silent:
                logger.warning("%s is not read: %s", target.name, error)
                self._silent.add(target)
            return []
        self._silent.discard(target)
        now = time.monotonic()
        before = self._before.get(target)
        self._before[target] = (now, counted)
        if before is None:
            return []
        begin, counted_before = before
        watched = self._watched.get(target)
        return [
            row_of_server(
                time.time(),
                now - begin,
                target.name,
                model,
                version,
                counters.since(counted_before.get((model, version), Counters())),
            )
            for (model, version), counters in sorted(counted.items())
            if watched is None or model in watched
        ]

    def _read_client(self, client: WatchedClient) -> list[Row]:
        now, summary = time.monotonic(), client.latencies.summary()
        before = self._before_client.get(id(client))
        self._before_client[id(client)] = (now, summary["count"])
        if before is None:
            return []
        begin, count = before
        # Fewer than before: the client was told to forget and count anew.
        new = summary["count"] - count if summary["count"] >= count else summary["count"]
        version = str(client.version)
        return [row_of_client(time.time(), now - begin, client.model, version, new, summary)]
