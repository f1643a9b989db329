"""Write frame files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import lal
import lalframe
import numpy as np

from deepclean.frames.hdf5 import SUFFIXES, write_hdf5

_WRITERS = {
    np.dtype(np.float64): (lal.CreateREAL8TimeSeries, lalframe.FrameAddREAL8TimeSeriesProcData),
    np.dtype(np.float32): (lal.CreateREAL4TimeSeries, lalframe.FrameAddREAL4TimeSeriesProcData),
    np.dtype(np.int32): (lal.CreateINT4TimeSeries, lalframe.FrameAddINT4TimeSeriesProcData),
}


def write_frame(
    path: Path,
    start: int,
    duration: int,
    channels: Mapping[str, np.ndarray],
    history: Mapping[str, str] | None = None,
) -> None:
    """Write channels to a frame file, which appears under its name when it is whole.

    Args:
        path: Where to; HDF5 if its name ends so, else LIGO's format.
        start: First second [GPS s].
        duration: Length [s].
        channels: Samples by name, each a whole number per second, float64, float32 or int32.
        history: Text to keep with the frame, by name.
    """
    # readers of the folder go by names that end as those of frames
    partial = path.with_name(f".{path.name}.partial")
    write = write_hdf5 if path.suffix in SUFFIXES else _write_gwf
    write(partial, start, duration, channels, history or {})
    partial.replace(path)


def _write_gwf(
    path: Path,
    start: int,
    duration: int,
    channels: Mapping[str, np.ndarray],
    history: Mapping[str, str],
) -> None:
    epoch = lal.LIGOTimeGPS(start)
    frame = lalframe.FrameNew(epoch, float(duration), "DEEPCLEAN", 0, 0, 0)
    for name, values in channels.items():
        create, add = _WRITERS[values.dtype]
        unit = lal.DimensionlessUnit if values.dtype == np.int32 else lal.StrainUnit
        series = create(name, epoch, 0.0, duration / len(values), unit, len(values))
        series.data.data = values
        add(frame, series)
    for name, text in history.items():
        lalframe.FrameAddFrHistory(frame, name, text)
    lalframe.FrameWrite(frame, str(path))
