"""Files of GPS windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from igwn_ligolw import lsctables, utils
from ledger import SegmentList
from ledger.product import open_product

Window = tuple[float, float]
XML = (".xml", ".xml.gz")
HDF5 = (".hdf5", ".h5")


def read_windows(path: Path, ifo: str | None = None) -> dict[str, list[Window]]:
    """Read windows of a file; its ending says which form it has.

    Text, divided by blanks or commas, with # before comments, perhaps under a line of names: start
    and stop; start, stop, duration; number, start, stop, duration (segwizard); or gates: centre,
    half width, taper, of which the tapers are part of the window. LIGO_LW XML: the active segments
    of all flags of the detector. HDF5: what `datagen query` subtracts of the detector's time, and
    so what a veto definer says.

    Args:
        path: The file.
        ifo: The detector; None for a file of text, which is for none in particular.

    Returns:
        Windows [s], half open, by their names: flags and categories, else the file's name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: expected GPS windows to leave out there")
    if path.name.endswith(XML):
        return _read_xml(path, ifo)
    if path.name.endswith(HDF5):
        return _read_segments(path, ifo)
    return {path.name: _read_text(path)}


def _read_text(path: Path) -> list[Window]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text file: {error}") from error
    found: list[Window] = []
    named = False
    for number, line in enumerate(lines, 1):
        cells = line.split("#", maxsplit=1)[0].replace(",", " ").split()
        if not cells:
            continue
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            # one line of names may stand above the numbers
            if found or named:
                raise _no_window(path, number, cells) from None
            named = True
            continue
        window = _window(values)
        if window is None:
            raise _no_window(path, number, cells)
        found.append(window)
    if not found and named:
        raise ValueError(f"{path} is no table of GPS windows: it has no line of numbers")
    return found


def _window(values: list[float]) -> Window | None:
    """Window of a line of text; None if it is none."""
    if len(values) == 3 and values[1] < values[0]:
        centre, half_width, taper = values
        values = [centre - half_width - taper, centre + half_width + taper]
    elif len(values) == 4:
        values = values[1:]
    start, stop = values[:2] if len(values) in (2, 3) else (0.0, 0.0)
    return (start, stop) if -np.inf < start < stop < np.inf else None


def _no_window(path: Path, number: int, cells: list[str]) -> ValueError:
    return ValueError(
        f"{path} is no table of GPS windows: line {number} is {' '.join(cells)!r}, expected a "
        "start and a later stop, the same with a duration, with a number before them, or a gate "
        "(centre, half width, taper)"
    )


def _read_xml(path: Path, ifo: str | None) -> dict[str, list[Window]]:
    try:
        document = utils.load_filename(str(path))
        rows = list(lsctables.SegmentTable.get_table(document))
        flags = {
            flag.segment_def_id: flag for flag in lsctables.SegmentDefTable.get_table(document)
        }
    # the reader lets the errors of its XML parser through, of any class
    except Exception as error:
        raise ValueError(
            f"{path} holds no segments that can be read: expected LIGO_LW XML with the tables "
            f"segment_definer and segment ({error})"
        ) from error
    found: dict[str, list[Window]] = {}
    for flag in flags.values():
        if ifo in flag.instruments:
            # a flag that was never active is known all the same
            found[_flag_name(flag)] = []
    _require_some(found, path, ifo)
    for row in rows:
        flag = flags[row.segment_def_id]
        if ifo in flag.instruments and row.start < row.end:
            found[_flag_name(flag)].append((float(row.start), float(row.end)))
    return found


def _flag_name(flag: lsctables.SegmentDef) -> str:
    version = getattr(flag, "version", None)
    return str(flag.name) if version is None else f"{flag.name}:{version}"


def _read_segments(path: Path, ifo: str | None) -> dict[str, list[Window]]:
    open_product(path, SegmentList.product, SegmentList.schema).close()
    segments = SegmentList.read(path)
    found: dict[str, list[Window]] = {}
    rows = zip(
        segments.veto_name,
        segments.veto_ifo,
        segments.veto_start,
        segments.veto_stop,
        strict=True,
    )
    for name, number, start, stop in rows:
        if number < 0 or segments.ifos[number] == ifo:
            found.setdefault(name, []).append((float(start), float(stop)))
    if ifo not in segments.ifos:
        _require_some({}, path, ifo)
    return found


def _require_some(found: dict[str, list[Window]], path: Path, ifo: str | None) -> None:
    if not found:
        raise ValueError(
            f"{path} holds nothing of detector {ifo}: name a file of its own in search.vetoes, "
            "or of all detectors as text"
        )
