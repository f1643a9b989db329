"""Times to leave out: categories of a veto definer, and gates."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gwpy.table import Table
from igwn_segments import segmentlist
from runtime.experiment import Vetoes

from datagen.query.database import database_flag
from datagen.query.intervals import intervals, length, within
from datagen.query.segment_files import Flag, read_flags, require_file, table_lines

log = logging.getLogger("datagen")

COLUMNS = (
    "ifo", "name", "version", "category", "start_time", "end_time", "start_pad", "end_pad",
)  # fmt: skip


@dataclass(frozen=True)
class Veto:
    """Times of one detector to leave out, for one reason.

    Attributes:
        name: The reason: category and flag, or `gate`.
        ifo: Index of the detector.
        segments: The times.
    """

    name: str
    ifo: int
    segments: segmentlist

    @property
    def kind(self) -> str:
        """Category, or `gate`."""
        return self.name.split(" ", maxsplit=1)[0]


@dataclass(frozen=True)
class Definition:
    """A row of a veto definer.

    Attributes:
        ifo: Detector.
        flag: Flag, with its version where the row names one.
        category: `CAT1` and so on.
        start: GPS start of its validity [s].
        stop: GPS stop, infinite where open [s].
        start_pad: What is added to the start of each segment; negative widens it [s].
        end_pad: What is added to the stop of each segment [s].
    """

    ifo: str
    flag: str
    category: str
    start: float
    stop: float
    start_pad: float
    end_pad: float

    def vetoed(self, active: segmentlist) -> segmentlist:
        """What it leaves out, of a flag's active segments.

        The segments are cut to the time of validity, then padded.
        """
        padded = [
            (start + self.start_pad, stop + self.end_pad)
            for start, stop in within(active, self.start, self.stop)
        ]
        return intervals((start, stop) for start, stop in padded if start < stop)

    def touches(self, wanted: segmentlist) -> bool:
        """Whether it can leave anything out of some times."""
        return bool(within(wanted, self.start + self.start_pad, self.stop + self.end_pad))


def read_definer(path: Path) -> list[Definition]:
    """Read the veto_definer table of a LIGO_LW XML file.

    Raises:
        ValueError: The file has no such table.
    """
    try:
        table = Table.read(path, format="ligolw", tablename="veto_definer", columns=list(COLUMNS))
    # the reader lets the errors of its XML parser through, of any class
    except Exception as error:
        raise ValueError(
            f"{path} is no veto definer that can be read: expected LIGO_LW XML with a table "
            f"veto_definer ({error})"
        ) from error
    found = []
    for row in table:
        ifo, version, end = str(row["ifo"]), int(row["version"]), float(row["end_time"])
        name = f"{ifo}:{row['name']}"
        found.append(
            Definition(
                ifo=ifo,
                # below 1 it means all versions
                flag=f"{name}:{version}" if version > 0 else name,
                category=f"CAT{int(row['category'])}",
                start=float(row["start_time"]),
                stop=end or math.inf,
                start_pad=float(row["start_pad"]),
                end_pad=float(row["end_pad"]),
            )
        )
    return found


def read_gates(path: Path) -> segmentlist:
    """Read gates: lines of centre, half width of what is zeroed, and taper at either side [s].

    Returns:
        The times from the start of the first taper to the end of the second.

    Raises:
        ValueError: A line is no gate; says which.
    """
    gates = []
    for line in table_lines(path):
        if line.comment:
            continue
        try:
            centre, half_width, taper = map(float, line.cells)
        except ValueError:
            centre = half_width = taper = math.nan
        if not half_width + taper > 0:
            raise ValueError(
                f"{path} line {line.number} is no gate: found {' '.join(line.cells)}, expected "
                "three numbers: centre, half width and taper [s]"
            )
        gates.append((centre - half_width - taper, centre + half_width + taper))
    return intervals(gates)


def _in_file(path: Path) -> Callable[[str], Flag]:
    """Look flags up in a file; a name without version is all its versions."""
    found = read_flags(path)

    def look_up(name: str) -> Flag:
        matching = [
            flag
            for key, flag in found.items()
            if key == name or (name.count(":") == 1 and key.startswith(f"{name}:"))
        ]
        if not matching:
            raise ValueError(
                f"{path} lacks the flag {name}, which the veto definer asks for: found "
                f"{', '.join(sorted(found)) or 'none'}; add it (without active segments, if there "
                "are none), or leave its category out of vetoes.categories"
            )
        known, active = segmentlist(), segmentlist()
        for flag in matching:
            known, active = known | flag.known, active | flag.active
        return Flag(known, active)

    return look_up


def _in_database(start: float, stop: float) -> Callable[[str], Flag]:
    """Ask the segment database for flags in [start, stop)."""
    return lambda name: database_flag(name, start, stop)


def category_vetoes(
    vetoes: Vetoes, ifos: Sequence[str], wanted: segmentlist, folder: Path
) -> list[Veto]:
    """Vetoes of the categories that the experiment names, and of no others.

    A category is subtracted only if it is named: CAT2 does not bring CAT1 with it. Where a flag
    is not known it vetoes nothing, which is logged.

    Args:
        vetoes: What the experiment says.
        ifos: Its detectors.
        wanted: Times of interest; only definitions valid in them are looked at.
        folder: What the names of files are relative to.

    Returns:
        A veto for each flag, category and detector, cut to the times of interest; in the order of
        the definer.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is broken, or a flag cannot be had.
    """
    if not vetoes.categories or vetoes.definer is None:
        return []
    definer = require_file(folder / vetoes.definer, "the veto definer, in vetoes.definer")
    chosen = [
        definition
        for definition in read_definer(definer)
        if definition.category in vetoes.categories
        and definition.ifo in ifos
        and definition.touches(wanted)
    ]
    if not chosen:
        return []
    if vetoes.segments is not None:
        look_up = _in_file(require_file(folder / vetoes.segments, "the flags' segments"))
    else:
        # padding reaches into the times of interest from outside
        reach = max(abs(pad) for row in chosen for pad in (row.start_pad, row.end_pad))
        start, stop = wanted.extent()
        look_up = _in_database(start - reach, stop + reach)
    found: dict[tuple[str, int], segmentlist] = {}
    for definition in chosen:
        flag = look_up(definition.flag)
        unknown = length(within(wanted, definition.start, definition.stop) - flag.known)
        if unknown:
            log.warning(
                "%s is not known for %.0f s of the time asked for: no veto there",
                definition.flag,
                unknown,
            )
        key = (f"{definition.category} {definition.flag}", ifos.index(definition.ifo))
        cut = definition.vetoed(flag.active) & wanted
        found[key] = found.get(key, segmentlist()) | cut
    return [Veto(name, ifo, segments) for (name, ifo), segments in found.items()]


def gate_vetoes(
    vetoes: Vetoes, ifos: Sequence[str], wanted: segmentlist, folder: Path
) -> list[Veto]:
    """Gates of the experiment's detectors, cut to the times of interest.

    Args:
        vetoes: What the experiment says.
        ifos: Its detectors.
        wanted: Times of interest.
        folder: What the names of files are relative to.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is broken, or is for a detector that the experiment does not have.
    """
    found = []
    for ifo, name in vetoes.gates.items():
        if ifo not in ifos:
            raise ValueError(
                f"vetoes.gates names {ifo}, the experiment has {', '.join(ifos)}: remove it"
            )
        path = require_file(folder / name, f"gates of {ifo}, in vetoes.gates")
        found.append(Veto("gate", ifos.index(ifo), read_gates(path) & wanted))
    return found
