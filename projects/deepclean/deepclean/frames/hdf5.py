"""Frames as HDF5, in the layout of gwpy: a dataset for each channel, its times as attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

from deepclean.frames.channels import FrameChannel, FrameError, MissingChannelError, whole_seconds

SUFFIXES = (".hdf5", ".h5")


def hdf5_channel_names(path: Path) -> set[str]:
    """Names of the channels of an HDF5 file.

    Raises:
        FrameError: The file is broken.
    """
    try:
        with h5py.File(path) as file:
            return {name for name, item in file.items() if isinstance(item, h5py.Dataset)}
    except OSError as error:
        raise FrameError(f"{path} cannot be read as HDF5: {error}") from None


def read_hdf5_channels(path: Path, names: Iterable[str]) -> dict[str, FrameChannel]:
    """Read channels of an HDF5 file.

    Args:
        path: The file.
        names: Full names of the channels.

    Raises:
        FrameError: The file is broken, or a channel is missing.
    """
    names = tuple(names)
    try:
        with h5py.File(path) as file:
            missing = [name for name in names if not isinstance(file.get(name), h5py.Dataset)]
            if missing:
                raise MissingChannelError(path, missing)
            return {name: _channel(path, file[name]) for name in names}
    except (OSError, RuntimeError, KeyError) as error:
        # whatever the damage hits first
        raise FrameError(f"{path} cannot be read as HDF5: {error}") from None


def _channel(path: Path, dataset: h5py.Dataset) -> FrameChannel:
    if "dx" not in dataset.attrs or "x0" not in dataset.attrs or dataset.ndim != 1:
        raise FrameError(
            f"{path}: {dataset.name[1:]} is no time series: expected one dimension and the "
            "attributes x0 and dx [s], as gwpy writes them"
        )
    start, step = float(dataset.attrs["x0"]), float(dataset.attrs["dx"])
    return whole_seconds(path, dataset.name[1:], dataset[()], start, step)


def write_hdf5(
    path: Path,
    start: int,
    duration: int,
    channels: Mapping[str, np.ndarray],
    history: Mapping[str, str],
) -> None:
    """Write channels to an HDF5 file, with a checksum of every chunk.

    Args:
        path: Where to.
        start: First second [GPS s].
        duration: Length [s].
        channels: Samples by name, each a whole number per second.
        history: Text to keep with the file, as its attributes.
    """
    with h5py.File(path, "w") as file:
        for name, values in channels.items():
            dataset = file.create_dataset(name, data=values, fletcher32=True)
            bits = np.issubdtype(values.dtype, np.integer)
            dataset.attrs.update(
                {
                    "name": name,
                    "channel": name,
                    "unit": "" if bits else "strain",
                    "xunit": "s",
                    "x0": float(start),
                    "dx": duration / len(values),
                }
            )
        file.attrs.update(history)
