"""Read frame files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import lal
import lalframe
import numpy as np

_READERS = {
    lal.D_TYPE_CODE: lalframe.FrFileReadREAL8TimeSeries,
    lal.S_TYPE_CODE: lalframe.FrFileReadREAL4TimeSeries,
    lal.I4_TYPE_CODE: lalframe.FrFileReadINT4TimeSeries,
}


class FrameError(ValueError):
    """A frame file is broken, or is not what it should be."""


@dataclass(frozen=True)
class FrameChannel:
    """Samples of a channel in a frame file.

    Attributes:
        values: Of shape (time,).
        rate: Samples per second [Hz].
        start: First second [GPS s].
    """

    values: np.ndarray
    rate: int
    start: int


def is_whole(path: Path) -> bool:
    """Whether a file begins and ends as frame files do.

    lalframe ends the process when it meets a file that is cut.
    """
    with path.open("rb") as file:
        head = file.read(5)
        file.seek(0, 2)
        size = file.tell()
        if head != b"IGWD\0" or size < 64:
            return False
        # the structure at the end holds the length of the file, 12 bytes after its beginning
        file.seek(max(0, size - 64))
        tail = file.read()
    return any(
        tail[place : place + 8] in (size.to_bytes(8, "little"), size.to_bytes(8, "big"))
        for place in range(len(tail) - 7)
    )


def channel_names(path: Path) -> set[str]:
    """Names of the channels of a frame file."""
    from gwpy.io.gwf import get_channel_names

    _require_whole(path)
    return set(get_channel_names(str(path)))


def _require_whole(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no frame file {path}")
    if not is_whole(path):
        raise FrameError(f"{path} is not a frame file, or is cut: make or fetch it again")


def read_channels(path: Path, names: Iterable[str]) -> dict[str, FrameChannel]:
    """Read channels of a frame file.

    Args:
        path: The file.
        names: Full names of the channels.

    Raises:
        FileNotFoundError: There is no such file.
        FrameError: The file is broken, or a channel is missing.
    """
    _require_whole(path)
    found = {}
    try:
        file = lalframe.FrFileOpenURL(str(path))
    except RuntimeError as error:
        raise FrameError(f"{path} cannot be read as a frame file: {error}") from None
    for name in names:
        try:
            kind = lalframe.FrFileQueryChanType(file, name, 0)
            series = _READERS[kind](file, name, 0)
        except (RuntimeError, KeyError):
            raise FrameError(f"{path} has no readable channel {name}") from None
        rate = round(1 / series.deltaT)
        values = np.array(series.data.data)
        if abs(1 / series.deltaT - rate) > 1e-6 or series.epoch.gpsNanoSeconds:
            raise FrameError(f"{path}: {name} begins or runs at no whole number per second")
        found[name] = FrameChannel(values, rate, int(series.epoch.gpsSeconds))
    return found


def read_frame(
    path: Path, start: int, names: Iterable[str], duration: int = 1
) -> dict[str, FrameChannel]:
    """Read all of a frame file, and see that it holds what it should.

    Args:
        path: The file.
        start: First second that it should hold [GPS s].
        names: Full names of the channels.
        duration: How long it should be [s].

    Raises:
        FileNotFoundError: There is no such file.
        FrameError: The file is broken, or holds something else.
    """
    found = read_channels(path, names)
    for name, channel in found.items():
        if channel.start != start or len(channel.values) != channel.rate * duration:
            raise FrameError(
                f"{path}: {name} holds {len(channel.values) / channel.rate} s from "
                f"{channel.start}, expected {duration} s from {start}"
            )
    return found
