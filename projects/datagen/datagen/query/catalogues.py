"""Known events in files of others."""

from __future__ import annotations

import math
from pathlib import Path

from datagen.query.segment_files import table_lines

NAME_COLUMNS = ("commonname", "name", "event", "event_name", "id")
TIME_COLUMNS = ("gps", "gpstime", "gps_time", "tgps", "time", "tc")


def _find(columns: list[str], wanted: tuple[str, ...]) -> int | None:
    names = [column.lower() for column in columns]
    return next((names.index(name) for name in wanted if name in names), None)


def read_events(path: Path) -> list[tuple[str, float]]:
    """Read a catalogue: a table whose first line names its columns.

    The columns are found by their names, one of `NAME_COLUMNS` and one of `TIME_COLUMNS` in any
    case. The table is divided by commas or blanks; the first line may begin with #, and later
    lines that do are comments.

    Args:
        path: The file.

    Returns:
        Name and GPS time of each event, in order of time.

    Raises:
        ValueError: The columns are not found, or a line has no GPS time; says which.
    """
    lines = table_lines(path)
    if not lines:
        raise ValueError(f"{path} is empty: expected a table of known events")
    header, body = lines[0].cells, [line for line in lines[1:] if not line.comment]
    name_place, time_place = _find(header, NAME_COLUMNS), _find(header, TIME_COLUMNS)
    if name_place is None or time_place is None:
        missing = "names" if name_place is None else "GPS times"
        wanted = NAME_COLUMNS if name_place is None else TIME_COLUMNS
        raise ValueError(
            f"{path} has no column of {missing}: found {', '.join(header)}, expected one of "
            f"{', '.join(wanted)} in its first line"
        )
    events = []
    for line in body:
        try:
            name, time = line.cells[name_place], float(line.cells[time_place])
        except (IndexError, ValueError):
            time = math.nan
        if not math.isfinite(time):
            raise ValueError(
                f"{path} line {line.number} has no GPS time in column {header[time_place]}: found "
                f"{', '.join(line.cells)}"
            )
        events.append((name, time))
    return sorted(events, key=lambda event: (event[1], event[0]))
