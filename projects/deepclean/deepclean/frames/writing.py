"""Write frame files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import lal
import lalframe
import numpy as np

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
        path: Where to.
        start: First second [GPS s].
        duration: Length [s].
        channels: Samples by name, each a whole number per second, float64, float32 or int32.
        history: Text to keep with the frame, by name.
    """
    epoch = lal.LIGOTimeGPS(start)
    frame = lalframe.FrameNew(epoch, float(duration), "DEEPCLEAN", 0, 0, 0)
    for name, values in channels.items():
        create, add = _WRITERS[values.dtype]
        unit = lal.DimensionlessUnit if values.dtype == np.int32 else lal.StrainUnit
        series = create(name, epoch, 0.0, duration / len(values), unit, len(values))
        series.data.data = values
        add(frame, series)
    for name, text in (history or {}).items():
        lalframe.FrameAddFrHistory(frame, name, text)
    # readers of the folder go by names that end in .gwf
    partial = path.with_name(f".{path.name}.partial")
    lalframe.FrameWrite(frame, str(partial))
    partial.replace(path)
