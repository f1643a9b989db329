"""What is known of the copies on this machine: which content they were found to have, and when.

The record of a copy lies beside it under a hidden name. It spares the reading of a copy that has
not changed since it was checked; nothing is lost with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ledger import staged

Stamp = tuple[int, int]


def _stamp(path: Path) -> Stamp | None:
    """Size and time of change of a file; None if there is none."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size, status.st_mtime_ns


def stamps(path: Path) -> dict[str, Stamp | None]:
    """Size and time of change of a file, of an empty name, or of each file in a folder."""
    if not path.is_dir():
        return {"": _stamp(path)}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): _stamp(file) for file in files}


def _record(path: Path) -> Path:
    return path.parent / f".{path.name}.record.json"


def remember(path: Path, contents: dict[str, str]) -> None:
    """Note the contents of a copy.

    Args:
        path: The copy, a file or a folder.
        contents: Digest or version of each file, by its name relative to the folder; of an empty
            name for a file.
    """
    known = {name: [*(_stamp(path / name) or ()), text] for name, text in contents.items()}
    with staged(_record(path)) as partial:
        partial.write_text(json.dumps(known))


def forget(path: Path) -> None:
    """Remove the note on a copy."""
    _record(path).unlink(missing_ok=True)


def known_contents(path: Path) -> dict[str, str]:
    """What was noted of those files of a copy that have not changed since."""
    try:
        known = json.loads(_record(path).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return {
        name: text for name, (*stamp, text) in known.items() if _stamp(path / name) == tuple(stamp)
    }


def is_copy(path: Path, root: Path) -> bool:
    """Whether a file is as it came from the bucket, or went there.

    Args:
        path: The file.
        root: Folder at which to stop looking for the record of a folder that it is part of.
    """
    unit, inner = path, ""
    while unit != root and unit != unit.parent:
        if inner in known_contents(unit):
            return True
        inner = f"{unit.name}/{inner}" if inner else unit.name
        unit = unit.parent
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time work on a copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path.parent / f".{path.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
