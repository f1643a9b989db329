"""Segments in files of others: columns of start and stop, LIGO_LW XML, HDF5."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from gwpy.segments import DataQualityDict
from igwn_segments import segmentlist

from datagen.query.intervals import intervals

START_NAMES = ("start", "gps_start", "start_time", "gpsstart")
STOP_NAMES = ("stop", "end", "gps_stop", "gps_end", "end_time", "gpsend")
# where start and stop stand in a table without header, by its number of columns
PLACES = {2: (0, 1), 3: (0, 1), 4: (1, 2)}
XML_SUFFIXES = (".xml", ".xml.gz")
HDF5_SUFFIXES = (".hdf5", ".h5", ".hdf")


@dataclass(frozen=True)
class Flag:
    """A data-quality flag.

    Attributes:
        known: When the flag says anything.
        active: When it says yes.
    """

    known: segmentlist
    active: segmentlist


def holds_flags(path: Path) -> bool:
    """Whether a file is of a kind that names flags, told by its ending."""
    return path.name.endswith(XML_SUFFIXES + HDF5_SUFFIXES)


def require_file(path: Path, what: str) -> Path:
    """The path, if there is a file.

    Raises:
        FileNotFoundError: There is none; says what was expected there.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path}: expected {what}, named relative to the experiment's folder"
        )
    return path


@dataclass(frozen=True)
class Line:
    """A line of a text table.

    Attributes:
        number: From 1.
        comment: Whether it begins with #.
        cells: What stands in it, without that sign.
    """

    number: int
    comment: bool
    cells: list[str]


def table_lines(path: Path) -> list[Line]:
    """Lines of a text table whose cells are divided by commas where there are any, else by blanks.

    Empty lines, and lines that begin with a semicolon, are left out.

    Raises:
        ValueError: The file is no text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text file: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith(";"):
            continue
        bare = text.lstrip("# ")
        cells = next(csv.reader([bare])) if "," in bare else bare.split()
        found.append(Line(number, text.startswith("#"), [cell.strip() for cell in cells]))
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _places(header: list[str], path: Path) -> tuple[int, int]:
    names = [cell.lower() for cell in header]
    starts = [names.index(name) for name in START_NAMES if name in names]
    stops = [names.index(name) for name in STOP_NAMES if name in names]
    if not starts or not stops:
        raise ValueError(
            f"{path} has the columns {', '.join(header)}, expected one of "
            f"{', '.join(START_NAMES)} and one of {', '.join(STOP_NAMES)}"
        )
    return starts[0], stops[0]


def read_segments(path: Path) -> segmentlist:
    """Read a table of segments.

    Understood are a table with a header that names start and stop (or end); and, without header,
    two columns (start, stop), three (start, stop, duration) or four (number, start, stop,
    duration: the segwizard form). Divided by commas or blanks; # begins a comment.

    Args:
        path: The file.

    Returns:
        The segments; those that touch or overlap become one.

    Raises:
        ValueError: A line is no segment, or there is none; says which line.
    """
    places: tuple[int, int] | None = None
    pairs = []
    for line in table_lines(path):
        number, cells = line.number, line.cells
        if line.comment:
            continue
        if places is None and any(cell and _number(cell) is None for cell in cells):
            places = _places(cells, path)
            continue
        if places is None:
            if len(cells) not in PLACES:
                raise ValueError(
                    f"{path} line {number} has {len(cells)} columns without a header, expected "
                    "2 (start, stop), 3 (and duration) or 4 (a number before them)"
                )
            places = PLACES[len(cells)]
        values = [_number(cells[place]) if place < len(cells) else None for place in places]
        start, stop = values
        if start is None or stop is None or not start < stop:
            raise ValueError(
                f"{path} line {number} is no segment: found start and stop {values}, expected "
                "two GPS times in order"
            )
        pairs.append((start, stop))
    if not pairs:
        raise ValueError(f"{path} holds no segment: expected columns of start and stop")
    return intervals(pairs)


def read_flags(path: Path) -> dict[str, Flag]:
    """Read the flags of a LIGO_LW XML file (segment tables), or of an HDF5 file as gwpy writes it.

    Args:
        path: The file; its ending says which it is.

    Returns:
        Flags by name, for example `H1:DMT-ANALYSIS_READY:1`.

    Raises:
        ValueError: The file is broken, or holds something else.
    """
    try:
        kind = "ligolw" if path.name.endswith(XML_SUFFIXES) else "hdf5"
        found = DataQualityDict.read(path, format=kind)
    # the readers of both formats let the errors of their parsers through, of any class
    except Exception as error:
        raise ValueError(
            f"{path} holds no data-quality flags that can be read: expected LIGO_LW XML with the "
            "tables segment_definer, segment_summary and segment, or HDF5 as "
            f"gwpy.segments.DataQualityDict.write makes it ({error})"
        ) from error
    return {
        name: Flag(intervals(flag.known), intervals(flag.active)) for name, flag in found.items()
    }
