"""The public archive, GWOSC: its observing runs, flags and events, through its own client."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from gwosc.api import v2
from gwpy.segments import DataQualityFlag
from igwn_segments import segmentlist

from datagen.gwosc_client import ask, server
from datagen.query.intervals import intervals


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
    found = ask("list of observing runs", lambda: list(v2.fetch_runs(host=server())))
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
    answer = ask(
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
    found = ask(
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
