"""Keep the newest frames, and long stretches of what was cleaned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepclean.frames import frame_name, list_frames, read_channels, write_frame
from deepclean.frames.names import FrameName
from deepclean.frames.reading import channel_names


def prune(folder: Path, keep: int, before: int | None = None) -> int:
    """Remove the oldest frames of a folder.

    Args:
        folder: The folder.
        keep: Frames that stay.
        before: Only frames that end by this second are removed [GPS s]; any if None.

    Returns:
        How many were removed.
    """
    if not folder.is_dir():
        return 0
    names = list_frames(folder)
    old = names[: max(0, len(names) - keep)]
    gone = [name for name in old if before is None or name.stop <= before]
    for name in gone:
        name.path.unlink(missing_ok=True)
    return len(gone)


@dataclass(frozen=True)
class ColdStorage:
    """Joins one-second frames to long ones, which begin at multiples of their length.

    Attributes:
        folder: Where the long frames go.
        length: Their length [s]. Where seconds are missing, a shorter frame is written for each
            run of seconds.
    """

    folder: Path
    length: int = 4096

    def collect(self, source: Path) -> int | None:
        """Join all that is complete.

        A stretch is complete when a frame after it is there.

        Args:
            source: Folder of one-second frames.

        Returns:
            All frames of `source` that end by this second are stored [GPS s]; None if none.
        """
        names = list_frames(source) if source.is_dir() else []
        if not names:
            return None
        newest = names[-1].start
        limit = newest // self.length * self.length
        done = max((name.stop for name in self._stored()), default=0)
        waiting = [name for name in names if done <= name.start and name.stop <= limit]
        begin = 0
        for i, name in enumerate(waiting):
            last = i + 1 == len(waiting)
            if (
                last
                or waiting[i + 1].start != name.stop
                or waiting[i + 1].start % self.length == 0
            ):
                self._join(waiting[begin : i + 1])
                begin = i + 1
        return limit

    def _stored(self) -> list[FrameName]:
        return list_frames(self.folder) if self.folder.is_dir() else []

    def _join(self, run: list[FrameName]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        first = run[0]
        channels = sorted(channel_names(first.path))
        parts = [read_channels(name.path, channels) for name in run]
        joined = {c: np.concatenate([part[c].values for part in parts]) for c in channels}
        duration = run[-1].stop - first.start
        path = self.folder / frame_name(first.site, first.description, first.start, duration)
        write_frame(path, first.start, duration, joined)
