"""Files of the first machine-learning mock data challenge, MLGWSC-1 (arXiv 2209.11146).

HDF5 with a group for each detector, `H1` and `L1`, in it a dataset for each segment, named by the
whole seconds of its GPS start, with attributes `start_time` [s] and `delta_t` [s].
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from datagen.channel import Channel, exact_rate

log = logging.getLogger("datagen")

LONGEST = 20_000.0
"""A longer segment is read in pieces of this length, since a month of it fits no memory [s]."""


def is_challenge(file: h5py.File) -> bool:
    """Whether a file is one of the challenge."""
    return next(_datasets(file), None) is not None


def challenge_channels(path: Path, file: h5py.File) -> list[Channel]:
    """The strain in a file of the challenge: a channel for each detector and piece of a segment.

    Args:
        path: The file.
        file: The same, open.

    Raises:
        ValueError: The name of a segment contradicts its start.
    """
    found = []
    for ifo, name, dataset in _datasets(file):
        start = float(dataset.attrs["start_time"])
        if int(start) != int(name):
            raise ValueError(
                f"{path}: segment {ifo}/{name} says start_time {start}, expected one in the "
                f"second {name} after which it is named: correct the one or the other"
            )
        rate = exact_rate(1 / float(dataset.attrs["delta_t"]))
        step = round(LONGEST * rate)
        for first in range(0, len(dataset), step):
            stop = min(first + step, len(dataset))
            found.append(
                Channel(
                    path=path,
                    ifo=ifo,
                    gps_start=start + first / rate,
                    size=stop - first,
                    sample_rate=rate,
                    load=_reader(path, dataset.name, first, stop),
                    may_overlap=True,
                )
            )
    return found


def cut_overlaps(found: Sequence[Channel]) -> list[Channel]:
    """Leave each time to one of the channels that may overlap: to that which begins first.

    Args:
        found: Channels of all files.

    Returns:
        The channels without what an earlier one holds, named in the log; others as they were.
    """
    kept = [channel for channel in found if not channel.may_overlap]
    ends: dict[str, float] = {}
    several = (channel for channel in found if channel.may_overlap)
    for channel in sorted(several, key=lambda c: (c.gps_start, c.path)):
        end = ends.get(channel.ifo, -np.inf)
        ends[channel.ifo] = max(end, channel.gps_stop)
        # less than half a sample is the rounding of GPS times
        if end <= channel.gps_start + 0.5 / channel.sample_rate:
            kept.append(channel)
            continue
        first = int(np.ceil((end - channel.gps_start) * channel.sample_rate - 0.5))
        log.info(
            "%s: %s has [%s, %s) twice; the one that begins later is left out there",
            channel.path.name,
            channel.ifo,
            channel.gps_start,
            min(end, channel.gps_stop),
        )
        if first < channel.size:
            kept.append(channel.after(first))
    return kept


def _datasets(file: h5py.File) -> Iterator[tuple[str, str, h5py.Dataset]]:
    """Detector, name and dataset of each segment."""
    for ifo, group in file.items():
        if not (isinstance(group, h5py.Group) and re.fullmatch("[A-Z][0-9]", ifo)):
            continue
        for name, item in group.items():
            described = isinstance(item, h5py.Dataset) and {"start_time", "delta_t"} <= set(
                item.attrs
            )
            if described and re.fullmatch("[0-9]+", name):
                yield ifo, name, item


def _reader(path: Path, name: str, first: int, stop: int) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        with h5py.File(path, "r") as file:
            return file[name][first:stop]

    return load
