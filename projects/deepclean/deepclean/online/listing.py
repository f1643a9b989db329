"""What lies in a folder that is looked at many times a second."""

from __future__ import annotations

import os
import time
from pathlib import Path

from deepclean.frames.names import parse_frame_name

SETTLED = 50_000_000
"""A folder that changed longer ago than this will show its next change by another time [ns]."""


class Listing:
    """One-second frames of a folder; only what is new is looked at.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._starts: dict[str, int | None] = {}
        self._changed: int | None = None

    def frames(self, since: int) -> dict[int, Path]:
        """Paths of all frames from a second on, by their second.

        Args:
            since: First second wanted [GPS s].

        Raises:
            FileNotFoundError: There is no such folder.
        """
        changed = self.folder.stat().st_mtime_ns
        if changed != self._changed:
            # clocks of file systems tick slowly: what comes within a tick must not be missed
            settled = time.time_ns() - changed > SETTLED
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries]
            known = self._starts
            self._starts = {n: known[n] if n in known else _start(n) for n in names}
            self._changed = changed if settled else None
        return {
            start: self.folder / name
            for name, start in self._starts.items()
            if start is not None and start >= since
        }


def _start(name: str) -> int | None:
    """Second of a one-second frame [GPS s]; None for anything else."""
    found = parse_frame_name(Path(name))
    return found.start if found is not None and found.duration == 1 else None
