"""Which versions were used from which second on."""

from __future__ import annotations

import bisect
from pathlib import Path

from deepclean.lines import append_line, read_lines
from deepclean.models.roles import Roles

NAME = "journal.jsonl"


class Journal:
    """A file of lines, each the roles from a GPS second on; only ever added to.

    What is cleaned again, after a restart or offline, is cleaned with what was used at first.

    Args:
        path: The file; made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._starts: list[int] = []
        self._roles: list[Roles] = []
        for line in read_lines(path):
            self._starts.append(line.pop("second"))
            self._roles.append(Roles.model_validate(line))

    @property
    def last(self) -> int | None:
        """Second of the last line [GPS s]; None if there is no line."""
        return self._starts[-1] if self._starts else None

    def at(self, second: int) -> Roles:
        """Roles in a second; those of the first line before it, none without any line."""
        if not self._roles:
            return Roles()
        # a change of roles is faded in, and the first line is none
        return self._roles[max(0, bisect.bisect_right(self._starts, second) - 1)]

    def add(self, second: int, roles: Roles) -> None:
        """Say what is used from a second on, before it is used.

        Raises:
            ValueError: The second lies before the last line's.
        """
        if self._starts and second < self._starts[-1]:
            raise ValueError(
                f"second {second} lies before second {self._starts[-1]}, the last in {self.path}"
            )
        if self._roles and roles == self._roles[-1]:
            return
        append_line(self.path, {"second": second, **roles.model_dump()}, sync=True)
        self._starts.append(second)
        self._roles.append(roles)
