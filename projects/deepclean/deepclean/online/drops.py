"""Which seconds were given up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

Kind = Literal["strain", "witnesses"]


class Drops:
    """A file of seconds whose frame was late, broken or never there; only ever added to.

    A frame that comes after it was given up stays given up: also after a restart, so that a
    second is cleaned alike whenever it is cleaned.

    Args:
        path: The file, a line of JSON for each; made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[tuple[Kind, int], str] = {}
        if path.is_file():
            for line in path.read_text().splitlines(keepends=True):
                # a line without its end was being written when the process ended
                if line.endswith("\n"):
                    entry = json.loads(line)
                    self._found[entry["kind"], entry["second"]] = entry["reason"]

    def __contains__(self, item: tuple[Kind, int]) -> bool:
        return item in self._found

    def __len__(self) -> int:
        return len(self._found)

    def add(self, kind: Kind, second: int, reason: str) -> None:
        """Give a frame up, before anything follows from it.

        Args:
            kind: Which of the two frames of the second.
            second: Its time [GPS s].
            reason: `missing` or what was wrong with it.
        """
        if (kind, second) in self._found:
            return
        line = json.dumps({"second": second, "kind": kind, "reason": reason})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.is_file() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            file.write(("\n" if torn and self.path.stat().st_size else "") + line + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._found[kind, second] = reason
