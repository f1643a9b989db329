"""Files of strain by their names, after LIGO-T010150 (once T050017)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(
    r"(?P<observatories>[A-Z]+)-(?P<description>[A-Za-z0-9_+#]+)-"
    r"(?P<start>\d+(?:\.\d+)?)-(?P<duration>\d+(?:\.\d+)?)\.(?:gwf|hdf5|h5)"
)
_RATE = re.compile(r"_(?:LOSC|GWOSC)(?:_.*)?_(4|16)(?:KHZ)?(?:_|$)")


@dataclass(frozen=True)
class NamedFile:
    """What the name of a file says about it.

    Attributes:
        place: Path or address of the file.
        name: Its name.
        observatories: A letter for each site.
        description: Kind of the data, as `H1_HOFT_C00`.
        gps_start: GPS time of the first sample [s].
        gps_stop: GPS time after the last sample [s].
    """

    place: str
    name: str
    observatories: str
    description: str
    gps_start: float
    gps_stop: float

    @property
    def ifo(self) -> str | None:
        """Detector, if the description begins with one."""
        match = re.match(r"[A-Z]\d(?=_|$)", self.description)
        return match.group() if match else None

    @property
    def sample_rate(self) -> float | None:
        """Sample rate [Hz], if the name is one of GWOSC's and says it."""
        match = _RATE.search(self.description)
        return 1024.0 * int(match.group(1)) if match else None

    def may_hold(self, ifo: str) -> bool:
        """Whether the name allows that a detector's strain is in the file."""
        return self.ifo == ifo if self.ifo else ifo[0] in self.observatories


def parse(place: str | Path) -> NamedFile | None:
    """Read the name at the end of a path or address; None if it is of another form."""
    name = str(place).split("?")[0].rsplit("/", 1)[-1]
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    start = float(match["start"])
    return NamedFile(
        place=str(place),
        name=name,
        observatories=match["observatories"],
        description=match["description"],
        gps_start=start,
        gps_stop=start + float(match["duration"]),
    )


def covering(files: Iterable[NamedFile], start: float, stop: float) -> list[NamedFile]:
    """Choose the fewest files that cover as much of a span as all of them do.

    Args:
        files: Files of one kind.
        start: GPS start [s].
        stop: GPS stop [s].

    Returns:
        The chosen, in time order. Of files that begin alike the longest, then the last by name (a
        later release) is taken.
    """
    ordered = sorted(
        (f for f in files if f.gps_start < stop and f.gps_stop > start),
        key=lambda f: (f.gps_stop, f.name),
    )
    chosen: list[NamedFile] = []
    reached = start
    while reached < stop:
        best = max(
            (f for f in ordered if f.gps_start <= reached < f.gps_stop),
            key=lambda f: f.gps_stop,
            default=None,
        )
        if best is None:
            after = [f.gps_start for f in ordered if f.gps_start > reached]
            if not after:
                break
            reached = min(after)
            continue
        # of equals in reach the last by name
        best = [f for f in ordered if f.gps_stop == best.gps_stop and f.gps_start <= reached][-1]
        chosen.append(best)
        reached = best.gps_stop
    return chosen


def gaps(files: Iterable[NamedFile], start: float, stop: float) -> list[tuple[float, float]]:
    """Parts of a span that no file covers.

    Args:
        files: Files in time order, as `covering` gives them.
        start: GPS start [s].
        stop: GPS stop [s].
    """
    missing, reached = [], start
    for file in files:
        if file.gps_start > reached:
            missing.append((reached, min(file.gps_start, stop)))
        reached = max(reached, file.gps_stop)
    if reached < stop:
        missing.append((reached, stop))
    return missing
