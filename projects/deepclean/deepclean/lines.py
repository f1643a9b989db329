"""Files of JSON lines that survive the end of whoever writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def append_line(path: Path, content: Mapping[str, Any], sync: bool = False) -> None:
    """Add a line to a file, made if it is not there.

    Args:
        path: The file.
        content: What the line says.
        sync: Whether to return only when it is on the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        # a line whose writer was ended in the middle of it is closed first
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(json.dumps(dict(content)).encode() + b"\n")
        if sync:
            file.flush()
            os.fsync(file.fileno())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of a file that are whole; nothing if it is not there."""
    if not path.is_file():
        return
    with path.open() as file:
        for line in file:
            try:
                content = json.loads(line)
            except json.JSONDecodeError:
                continue
            if line.endswith("\n"):
                yield content
