"""Which seconds were given up."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from deepclean.lines import append_line, read_lines

Kind = Literal["strain", "witnesses", "production", "canary"]


class Drops:
    """A file of seconds whose frame was late, broken or never there; only ever added to.

    A frame that comes after it was given up stays given up: also after a restart, so that a
    second is cleaned alike whenever it is cleaned.

    Args:
        path: The file, a line of JSON for each; made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[tuple[Kind, int], str] = {
            (line["kind"], line["second"]): line["reason"] for line in read_lines(path)
        }

    def __contains__(self, item: tuple[Kind, int]) -> bool:
        return item in self._found

    def __len__(self) -> int:
        return len(self._found)

    def add(self, kind: Kind, second: int, reason: str) -> None:
        """Give a frame, or an estimate, up, before anything follows from it.

        Args:
            kind: Which of the two frames of the second; or the role whose model gave no answer.
            second: Its time [GPS s].
            reason: `missing` or what was wrong with it.
        """
        if (kind, second) in self._found:
            return
        append_line(self.path, {"second": second, "kind": kind, "reason": reason}, sync=True)
        self._found[kind, second] = reason
