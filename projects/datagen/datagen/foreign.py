"""Strain files of other makers: what is in them, and their samples."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from datagen.challenge import challenge_channels, is_challenge
from datagen.channel import Channel, exact_rate

SUFFIXES = (".hdf5", ".h5", ".hdf", ".gwf")


def channels(path: Path, names: Mapping[str, str] | None = None) -> list[Channel]:
    """Find the detectors in a file; what kind of file it is, is told by its content.

    Args:
        path: A GWOSC HDF5 file, an HDF5 file as gwpy writes it (a dataset for each detector with
            attributes `x0` and `dx`; our own strain files are such), an event file (a group for
            each detector with a dataset `strain`; root attributes `gps_start` and `sample_rate`),
            a file of the challenge MLGWSC-1 (see `datagen.challenge`), or a frame file (`.gwf`).
        names: Channel of a detector, where a frame or gwpy HDF5 file has several; else it is the
            first with STRAIN in its name, or the first of all.

    Raises:
        ValueError: The file is broken or of another kind, or lacks a named channel.
    """
    names = names or {}
    if path.suffix == ".gwf":
        return _frame_channels(path, names)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not HDF5, or truncated: {error}") from error
    with file:
        try:
            if "strain/Strain" in file and "meta/Detector" in file:
                return _gwosc_channels(path, file)
            if "gps_start" in file.attrs and "sample_rate" in file.attrs:
                return _event_channels(path, file)
            if is_challenge(file):
                return challenge_channels(path, file)
            found = _gwpy_channels(path, file, names)
        except (OSError, RuntimeError, KeyError) as error:
            raise ValueError(f"{path} cannot be read (truncated?): {error}") from error
    if not found:
        raise ValueError(
            f"{path} holds no strain that is understood: expected a GWOSC file, datasets with "
            "attributes x0 and dx as gwpy writes them, groups H1, L1, ... with a dataset "
            "strain and root attributes gps_start and sample_rate, or such groups with a dataset "
            "for each segment, named by its GPS start, with attributes start_time and delta_t"
        )
    return found


def _gwosc_channels(path: Path, file: h5py.File) -> list[Channel]:
    dataset = file["strain/Strain"]

    def load() -> np.ndarray:
        from gwpy.timeseries import TimeSeries

        return TimeSeries.read(path, format="hdf5.gwosc").value

    bits = file.get("quality/simple/DQShortnames")
    names = [] if bits is None else list(bits.asstr())

    def load_mask() -> np.ndarray:
        with h5py.File(path, "r") as opened:
            bit = names.index("DATA")
            return (opened["quality/simple/DQmask"][()] >> bit & 1).astype(bool)

    return [
        Channel(
            path=path,
            ifo=file["meta/Detector"][()].decode(),
            gps_start=float(dataset.attrs["Xstart"]),
            size=len(dataset),
            sample_rate=exact_rate(1 / float(dataset.attrs["Xspacing"])),
            load=load,
            load_mask=load_mask if "DATA" in names else None,
        )
    ]


def _event_channels(path: Path, file: h5py.File) -> list[Channel]:
    event = None
    if "event" in file.attrs and "tgps" in file.attrs:
        event = (str(file.attrs["event"]), float(file.attrs["tgps"]))
    return [
        Channel(
            path=path,
            ifo=ifo,
            gps_start=float(file.attrs["gps_start"]),
            size=len(file[ifo]["strain"]),
            sample_rate=exact_rate(float(file.attrs["sample_rate"])),
            load=_reader(path, f"{ifo}/strain"),
            event=event,
        )
        for ifo in file
        if isinstance(file[ifo], h5py.Group) and "strain" in file[ifo]
    ]


def _gwpy_channels(path: Path, file: h5py.File, names: Mapping[str, str]) -> list[Channel]:
    found: dict[str, Channel] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if not isinstance(item, h5py.Dataset) or not {"x0", "dx"} <= set(item.attrs):
            return
        own_names = (str(item.attrs.get("channel", name)), name.split("/")[-1])
        ifo = _ifo_of(*own_names)
        if ifo and ifo not in found and (ifo not in names or names[ifo] in own_names):
            found[ifo] = Channel(
                path=path,
                ifo=ifo,
                gps_start=float(item.attrs["x0"]),
                size=len(item),
                sample_rate=exact_rate(1 / float(item.attrs["dx"])),
                load=_reader(path, name),
            )

    file.visititems(visit)
    _require(path, names, list(found))
    return list(found.values())


def _require(path: Path, names: Mapping[str, str], found: Sequence[str]) -> None:
    """Stop if none of the named channels is there."""
    if names and not set(names) & set(found):
        raise ValueError(
            f"{path} holds none of the channels {', '.join(names.values())}: correct "
            "strain.channels"
        )


def _frame_channels(path: Path, names: Mapping[str, str]) -> list[Channel]:
    from gwpy.io.gwf import data_segments, get_channel_names
    from gwpy.timeseries import TimeSeries

    # lalframe ends the process when it meets a file that is cut
    if not _is_whole_frame(path):
        raise ValueError(
            f"{path} is not a frame file, or truncated: its end-of-file structure is missing"
        )
    with _broken_frames_told(path):
        present = sorted(get_channel_names(path))
        found: dict[str, str] = {}
        # strain first, whatever else the frame holds for the detector
        for name in [n for n in present if "STRAIN" in n.upper()] + present:
            ifo = _ifo_of(name)
            if ifo and name == names.get(ifo, name):
                found.setdefault(ifo, name)
        spans = {name: data_segments(str(path), name).extent() for name in found.values()}
    _require(path, names, list(found))
    if not found:
        raise ValueError(f"{path} holds no channel of a detector: found {', '.join(present)}")
    out = []
    for ifo, name in found.items():
        start, stop = spans[name]
        _compare_with_name(path, float(start), float(stop))
        with _broken_frames_told(path):
            # the table of contents has no sample rate: a second of samples does
            head = TimeSeries.read(path, name, start=start, end=min(start + 1, stop))
        rate = exact_rate(float(head.sample_rate.value))
        mask = name.replace("STRAIN", "DQMASK")
        has_mask = mask != name and mask in present
        out.append(
            Channel(
                path=path,
                ifo=ifo,
                gps_start=float(head.t0.value),
                size=round(float(stop - start) * rate),
                sample_rate=rate,
                load=_frame_reader(path, name),
                load_mask=_frame_mask_reader(path, mask) if has_mask else None,
            )
        )
    return out


@contextlib.contextmanager
def _broken_frames_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is not a frame file, or truncated: {error}") from error


def _compare_with_name(path: Path, start: float, stop: float) -> None:
    """Stop if the name says another span than the content: lalframe goes by the name."""
    match = re.fullmatch(r"[A-Z]+-\w+-(\d+)-(\d+)\.gwf", path.name)
    if match and (named := int(match[1])) != start:
        raise ValueError(
            f"{path} holds [{start}, {stop}), its name says [{named}, {named + int(match[2])}): "
            "the content contradicts the name; remove the file, or name it rightly"
        )


def _is_whole_frame(path: Path) -> bool:
    """Whether a file begins and ends as frame files do.

    They end with a structure that begins with its own length in bytes: 46 in version 8 of
    LIGO-T970130, and less in older ones.
    """
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(-min(64, path.stat().st_size), os.SEEK_END)
        end = file.read()
    return begin == b"IGWD" and any(
        int.from_bytes(end[-size:][:8], order) == size
        for size in range(30, len(end) + 1)
        for order in ("little", "big")
    )


def _frame_reader(path: Path, name: str) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        from gwpy.timeseries import TimeSeries

        return TimeSeries.read(path, name, gap="pad", pad=np.nan).value

    return load


def _frame_mask_reader(path: Path, name: str) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        from gwpy.timeseries import TimeSeries

        # the first bit of GWOSC's masks is that there is data
        return (TimeSeries.read(path, name).value.astype(np.int64) & 1).astype(bool)

    return load


def _reader(path: Path, name: str) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        with h5py.File(path, "r") as file:
            return file[name][()]

    return load


def _ifo_of(*names: str) -> str | None:
    """Detector at the beginning of the first name that has one: `H1`, `H1:...`."""
    for name in names:
        match = re.match(r"([A-Z]\d)(?![A-Za-z0-9])", name)
        if match:
            return match.group(1)
    return None
