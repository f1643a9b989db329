"""Seconds of a folder of frame files, of whatever length each."""

from __future__ import annotations

import bisect
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deepclean.frames.channels import FrameChannel, FrameError, MissingChannelError
from deepclean.frames.guarded import GuardedReader
from deepclean.frames.names import FrameName, list_frames

log = logging.getLogger("deepclean")


class FrameFolder:
    """Reads channels of a folder second by second.

    Args:
        folder: Folder of frame files.
        channels: Full names of the channels to read.
        reader: Reads the files.

    Raises:
        FileNotFoundError: There is no such folder, or no frame file in it.
        FrameError: None of its files can be read.
        MissingChannelError: The first that can be read lacks channels.
    """

    def __init__(self, folder: Path, channels: Sequence[str], reader: GuardedReader) -> None:
        self.folder = Path(folder)
        self.names = list_frames(self.folder)
        if not self.names:
            raise FileNotFoundError(
                f"no frame file in {folder}: expected X-NAME-GPS-LENGTH.gwf or .hdf5"
            )
        self.channels = tuple(channels)
        self.reader = reader
        self._starts = [name.start for name in self.names]
        self._open: tuple[FrameName, dict[str, FrameChannel] | None] | None = None
        self.rates = self._find_rates()

    def _find_rates(self) -> dict[str, int]:
        for name in self.names:
            try:
                found = self._read(name, may_lack=False)
            except MissingChannelError as error:
                raise MissingChannelError(self.folder, error.names) from error
            if found is not None:
                return {channel: found[channel].rate for channel in self.channels}
        raise FrameError(
            f"no frame file in {self.folder} can be read with {', '.join(self.channels)}: see the "
            "warnings above"
        )

    def _read(self, name: FrameName, may_lack: bool = True) -> dict[str, FrameChannel] | None:
        """Channels of a file; None if it is broken, or lacks channels and may lack them."""
        if self._open is not None and self._open[0] == name:
            return self._open[1]
        try:
            found = self.reader.read(name.path, name.start, self.channels, name.duration)
        except FrameError as error:
            if isinstance(error, MissingChannelError) and not may_lack:
                raise
            log.warning("counts as dropped: %s", error)
            found = None
        self._open = (name, found)
        return found

    def second(self, second: int) -> dict[str, np.ndarray] | None:
        """Samples of a second by channel; None if it is missing or broken."""
        place = bisect.bisect_right(self._starts, second) - 1
        if place < 0 or second >= self.names[place].stop:
            return None
        name = self.names[place]
        found = self._read(name)
        if found is None or {c: found[c].rate for c in self.channels} != self.rates:
            return None
        offset = second - name.start
        return {
            channel: found[channel].values[offset * rate : (offset + 1) * rate]
            for channel, rate in self.rates.items()
        }

    def seconds(self, start: int, stop: int) -> Iterator[tuple[int, dict[str, np.ndarray] | None]]:
        """All seconds of a span with their samples; None where one is missing.

        Args:
            start: First second [GPS s].
            stop: Second after the last [GPS s].
        """
        for second in range(start, stop):
            yield second, self.second(second)
