"""Read frame files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import lal
import lalframe
import numpy as np

from deepclean.frames.channels import FrameChannel, FrameError, MissingChannelError, whole_seconds
from deepclean.frames.hdf5 import SUFFIXES, hdf5_channel_names, read_hdf5_channels

_READERS = {
    lal.D_TYPE_CODE: lalframe.FrFileReadREAL8TimeSeries,
    lal.S_TYPE_CODE: lalframe.FrFileReadREAL4TimeSeries,
    lal.I2_TYPE_CODE: lalframe.FrFileReadINT2TimeSeries,
    lal.I4_TYPE_CODE: lalframe.FrFileReadINT4TimeSeries,
    lal.U2_TYPE_CODE: lalframe.FrFileReadUINT2TimeSeries,
    lal.U4_TYPE_CODE: lalframe.FrFileReadUINT4TimeSeries,
}


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

    if path.suffix in SUFFIXES:
        return hdf5_channel_names(path)
    _require_whole(path)
    return set(get_channel_names(str(path)))


def _require_whole(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"no frame file {path}")
    if not is_whole(path):
        raise FrameError(f"{path} is not a frame file, or is cut: make or fetch it again")


def read_channels(path: Path, names: Iterable[str]) -> dict[str, FrameChannel]:
    """Read channels of a frame file, LIGO's or HDF5 by its name.

    Args:
        path: The file.
        names: Full names of the channels.

    Raises:
        FileNotFoundError: There is no such file.
        FrameError: The file is broken, or channels are missing.
    """
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise FileNotFoundError(f"no frame file {path}")
        return read_hdf5_channels(path, names)
    _require_whole(path)
    try:
        file = lalframe.FrFileOpenURL(str(path))
    except RuntimeError as error:
        raise FrameError(f"{path} cannot be read as a frame file: {error}") from None
    found, missing = {}, []
    for name in names:
        try:
            found[name] = _channel(path, file, name)
        except (RuntimeError, KeyError):
            missing.append(name)
    if missing:
        raise MissingChannelError(path, missing)
    return found


def _channel(path: Path, file: lalframe.FrFile, name: str) -> FrameChannel:
    """A channel of all frames of a file; some files hold many short ones."""
    read = _READERS[lalframe.FrFileQueryChanType(file, name, 0)]
    parts: list[np.ndarray] = []
    for place in range(lalframe.FrFileQueryNFrame(file)):
        series = read(file, name, place)
        # a time between two whole seconds stays one
        time = series.epoch.gpsSeconds + series.epoch.gpsNanoSeconds / 1e9
        if not parts:
            start, stop = time, time
        if abs(time - stop) > 1e-6:
            raise FrameError(f"{path}: {name} has a gap before {time}")
        stop += len(series.data.data) * series.deltaT
        parts.append(np.array(series.data.data))
    return whole_seconds(path, name, np.concatenate(parts), start, series.deltaT)


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
