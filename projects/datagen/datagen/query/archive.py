"""The public archive, GWOSC: its observing runs, flags and events, through its own client."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import requests
import tenacity
from gwosc.api import DEFAULT_URL, v2
from gwpy.segments import DataQualityFlag
from igwn_segments import segmentlist

from datagen.query.intervals import intervals
from datagen.retry import with_retries

T = TypeVar("T")


def server() -> str:
    """Address of the archive: that of the gwosc client, read anew at each call."""
    return os.environ.get("GWOSC_SERVER_URL", DEFAULT_URL).rstrip("/")


def _ask(what: str, request: Callable[[], T]) -> T:
    """Answer of the archive to a request of the client.

    The client itself tries ten times where the server is slow or busy; what it gives up at once,
    broken connections and broken answers, is tried again here.

    Args:
        what: What is asked for, for messages.
        request: Calls the client.

    Raises:
        ValueError: There is no answer, or it is a refusal; says which server and why.
    """
    passing = (
        requests.ConnectionError,
        requests.exceptions.ChunkedEncodingError,
        requests.JSONDecodeError,
    )
    try:
        return with_retries(request, what, retry_on=passing)
    except tenacity.RetryError as error:
        last = error.last_attempt
        reason = last.exception() or f"status {last.result().status_code}"
        raise ValueError(
            f"{server()} gave no {what}, tried {last.attempt_number} times ({reason}): try again "
            "later, or name a file in the experiment"
        ) from error
    except requests.HTTPError as error:
        raise ValueError(
            f"{server()} has no {what} ({error}): check the flags and detectors of the experiment"
        ) from error
    except requests.RequestException as error:
        raise ValueError(
            f"{server()} cannot be reached for {what} ({error}): check the network and "
            "GWOSC_SERVER_URL, or name a file in the experiment"
        ) from error


@dataclass(frozen=True)
class Run:
    """An observing run of which strain is public.

    Attributes:
        name: For example O3a.
        start: GPS start [s].
        stop: GPS stop [s].
        ifos: Detectors with public strain.
    """

    name: str
    start: float
    stop: float
    ifos: tuple[str, ...]


def public_runs() -> list[Run]:
    """Observing runs of the archive, in order of time.

    A run within the span of another is a second release of the same time, as at another sample
    rate, and becomes part of it.
    """
    found = _ask("list of observing runs", lambda: list(v2.fetch_runs(host=server())))
    runs = [
        Run(run["name"], float(run["gps_start"]), float(run["gps_end"]), tuple(run["detectors"]))
        for run in found
    ]
    kept: list[Run] = []
    # of two with one span the shorter name is that of the run itself (O1, not O1_16KHZ)
    for run in sorted(runs, key=lambda run: (run.start, -run.stop, len(run.name), run.name)):
        if kept and run.stop <= kept[-1].stop:
            ifos = dict.fromkeys((*kept[-1].ifos, *run.ifos))
            kept[-1] = dataclasses.replace(kept[-1], ifos=tuple(ifos))
        else:
            kept.append(run)
    return kept


def public_flag(flag: str, start: float, stop: float) -> segmentlist:
    """When a flag of the archive is active.

    Args:
        flag: For example `H1_DATA`.
        start: GPS start of what is asked [s].
        stop: GPS stop; start and stop should lie in one observing run [s].

    Raises:
        ValueError: The archive has no such flag, or does not answer.
    """
    answer = _ask(
        f"flag {flag} in [{start:.0f}, {stop:.0f})",
        lambda: DataQualityFlag.fetch_open_data(flag, start, stop, host=server()),
    )
    return intervals(answer.active)


def public_events(start: float, stop: float) -> list[tuple[str, float]]:
    """Events of the archive's catalogues.

    Those that only lists of marginal or auxiliary candidates have are left out. Of several
    entries within half a second, which are one event under old and new names, that of the highest
    version is taken.

    Args:
        start: GPS start [s].
        stop: GPS stop [s].

    Returns:
        Name and GPS time of each, in order of time.
    """
    found = _ask(
        "list of events",
        lambda: list(v2.fetch_event_versions(segment=(start, stop), host=server())),
    )
    sure = [
        entry
        for entry in found
        if not any(word in entry["catalog"].lower() for word in ("marginal", "auxiliary"))
    ]
    kept: list[tuple[str, float]] = []
    for entry in sorted(sure, key=lambda entry: (-entry["version"], entry["gps"], entry["name"])):
        if all(abs(entry["gps"] - time) > 0.5 for _, time in kept):
            kept.append((str(entry["name"]), float(entry["gps"])))
    return sorted(kept, key=lambda event: event[1])


def runs_in(runs: Sequence[Run], start: float, stop: float) -> list[Run]:
    """Observing runs that overlap [start, stop)."""
    return [run for run in runs if run.start < stop and start < run.stop]
