"""The table that a monitor writes."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hermes.aeriel.monitor.metrics import Counters

# In place of a server's name in the rows of clients.
CLIENT = "client"


@dataclass(frozen=True)
class Row:
    """What happened to one version of a model in one interval, at one server or client.

    Attributes:
        time: End of the interval, Unix time [s].
        interval: Its length [s].
        server: The server; `client` for what a client of this process saw.
        model: Name of the model.
        version: Its version.
        requests: Requests that were answered.
        inferences: Elements of batches that were answered.
        executions: Runs of the model.
        failures: Requests that failed.
        pending: Requests that wait at the end of the interval.
        throughput: Inferences per second; for a client requests per second [Hz].
        queue: Mean time that a request waited [s]; NaN without requests, as those below.
        compute_input: Mean time for preparing the inputs of a request [s].
        compute_infer: Mean time of a request in the model [s].
        compute_output: Mean time for preparing the outputs of a request [s].
        p50: Time from sending to answer that half of a client's requests took at most, since it
            began to count [s]; NaN for servers, as those below.
        p90: Likewise 90 %.
        p99: Likewise 99 %.
    """

    time: float
    interval: float
    server: str
    model: str
    version: str
    requests: float = 0.0
    inferences: float = 0.0
    executions: float = 0.0
    failures: float = 0.0
    pending: float = 0.0
    throughput: float = 0.0
    queue: float = math.nan
    compute_input: float = math.nan
    compute_infer: float = math.nan
    compute_output: float = math.nan
    p50: float = math.nan
    p90: float = math.nan
    p99: float = math.nan


COLUMNS = [field.name for field in fields(Row)]
_TEXTS = ("server", "model", "version")


def row_of_server(
    time: float, interval: float, server: str, model: str, version: str, counted: Counters
) -> Row:
    """The row of one model of a server.

    Args:
        time: End of the interval, Unix time [s].
        interval: Its length [s].
        server: Name of the server.
        model: Name of the model.
        version: Its version.
        counted: What was counted in the interval.
    """
    per_request = 1 / counted.requests if counted.requests else math.nan
    return Row(
        time=time,
        interval=interval,
        server=server,
        model=model,
        version=version,
        requests=counted.requests,
        inferences=counted.inferences,
        executions=counted.executions,
        failures=counted.failures,
        pending=counted.pending,
        throughput=counted.inferences / interval,
        queue=counted.queue * per_request,
        compute_input=counted.compute_input * per_request,
        compute_infer=counted.compute_infer * per_request,
        compute_output=counted.compute_output * per_request,
    )


def row_of_client(
    time: float, interval: float, model: str, version: str, requests: float, summary: Mapping
) -> Row:
    """The row of a client.

    Args:
        time: End of the interval, Unix time [s].
        interval: Its length [s].
        model: Name of its model.
        version: Its version.
        requests: Requests that were answered in the interval.
        summary: Quantiles of the times to the answer [s], `p50`, `p90` and `p99`.
    """
    return Row(
        time=time,
        interval=interval,
        server=CLIENT,
        model=model,
        version=version,
        requests=requests,
        throughput=requests / interval,
        p50=summary["p50"],
        p90=summary["p90"],
        p99=summary["p99"],
    )


class RowFile:
    """A CSV file that rows are added to, each interval as a whole.

    Args:
        path: The file; one that exists is gone on with.

    Raises:
        ValueError: It exists, with other columns.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        begun = self.path.exists() and self.path.stat().st_size > 0
        if begun:
            _check_columns(self.path)
        self._file = self.path.open("a", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        if not begun:
            self._writer.writeheader()
            self._file.flush()

    def write(self, rows: list[Row]) -> None:
        """Add rows."""
        self._writer.writerows(
            {
                # Nine digits are more than is measured; a time needs them before the point.
                name: value if isinstance(value, str) or name == "time" else f"{value:.9g}"
                for name, value in asdict(row).items()
            }
            for row in rows
        )
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_rows(path: str | Path) -> list[Row]:
    """Read the file of a monitor; a last line that is being written is left out.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is not of a monitor.
    """
    path = Path(path)
    _check_columns(path)
    with path.open(newline="") as file:
        entries = [line for line in csv.DictReader(file) if None not in line.values()]
    return [_parse(line) for line in entries]


def _parse(line: Mapping[str, str]) -> Row:
    values: dict[str, Any] = {
        name: text if name in _TEXTS else float(text) for name, text in line.items()
    }
    return Row(**values)


def _check_columns(path: Path) -> None:
    with path.open(newline="") as file:
        found = next(csv.reader(file), [])
    if found != COLUMNS:
        raise ValueError(
            f"{path} is not of a monitor: its first line must be {','.join(COLUMNS)}, it is "
            f"{','.join(found)[:200]}"
        )
