"""Strain files of other makers: what is in them, and their samples."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

SUFFIXES = (".hdf5", ".h5", ".gwf")


@dataclass(frozen=True)
class Channel:
    """The strain of one detector in one file.

    Attributes:
        path: The file.
        ifo: The detector.
        gps_start: GPS time of the first sample [s].
        size: Number of samples.
        sample_rate: Sample rate [Hz].
        load: Gives the samples.
        event: Name and GPS time of the known event that the file was made for.
    """

    path: Path
    ifo: str
    gps_start: float
    size: int
    sample_rate: float
    load: Callable[[], np.ndarray]
    event: tuple[str, float] | None = None

    @property
    def gps_stop(self) -> float:
        """GPS time after the last sample [s]."""
        return self.gps_start + self.size / self.sample_rate

    def read(self) -> np.ndarray:
        """Samples of strain, float64; NaN where there is none.

        Raises:
            ValueError: The samples cannot be read.
        """
        try:
            return np.asarray(self.load(), dtype=np.float64)
        except (OSError, RuntimeError, KeyError) as error:
            raise ValueError(
                f"{self.path}: the strain of {self.ifo} cannot be read (truncated?): {error}"
            ) from error


def channels(path: Path) -> list[Channel]:
    """Find the detectors in a file; what kind of file it is, is told by its content.

    Args:
        path: A GWOSC HDF5 file, an HDF5 file as gwpy writes it (a dataset for each detector with
            attributes `x0` and `dx`; our own strain files are such), an event file (a group for
            each detector with a dataset `strain`; root attributes `gps_start` and `sample_rate`),
            or a frame file (`.gwf`).

    Raises:
        ValueError: The file is broken or of another kind.
    """
    if path.suffix == ".gwf":
        return _frame_channels(path)
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
            found = _gwpy_channels(path, file)
        except (OSError, RuntimeError, KeyError) as error:
            raise ValueError(f"{path} cannot be read (truncated?): {error}") from error
    if not found:
        raise ValueError(
            f"{path} holds no strain that is understood: expected a GWOSC file, datasets with "
            "attributes x0 and dx as gwpy writes them, or groups H1, L1, ... with a dataset "
            "strain and root attributes gps_start and sample_rate"
        )
    return found


def _gwosc_channels(path: Path, file: h5py.File) -> list[Channel]:
    dataset = file["strain/Strain"]

    def load() -> np.ndarray:
        from gwpy.timeseries import TimeSeries

        return TimeSeries.read(path, format="hdf5.gwosc").value

    return [
        Channel(
            path=path,
            ifo=file["meta/Detector"][()].decode(),
            gps_start=float(dataset.attrs["Xstart"]),
            size=len(dataset),
            sample_rate=_rate(1 / float(dataset.attrs["Xspacing"])),
            load=load,
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
            sample_rate=_rate(float(file.attrs["sample_rate"])),
            load=_reader(path, f"{ifo}/strain"),
            event=event,
        )
        for ifo in file
        if isinstance(file[ifo], h5py.Group) and "strain" in file[ifo]
    ]


def _gwpy_channels(path: Path, file: h5py.File) -> list[Channel]:
    found: dict[str, Channel] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if not isinstance(item, h5py.Dataset) or not {"x0", "dx"} <= set(item.attrs):
            return
        ifo = _ifo_of(str(item.attrs.get("channel", name)), name.split("/")[-1])
        if ifo and ifo not in found:
            found[ifo] = Channel(
                path=path,
                ifo=ifo,
                gps_start=float(item.attrs["x0"]),
                size=len(item),
                sample_rate=_rate(1 / float(item.attrs["dx"])),
                load=_reader(path, name),
            )

    file.visititems(visit)
    return list(found.values())


def _frame_channels(path: Path) -> list[Channel]:
    from gwpy.io.gwf import get_channel_names
    from gwpy.timeseries import TimeSeries

    try:
        names = sorted(get_channel_names(path))
        found: dict[str, str] = {}
        # strain first, whatever else the frame holds for the detector
        for name in [n for n in names if "STRAIN" in n.upper()] + names:
            ifo = _ifo_of(name)
            if ifo:
                found.setdefault(ifo, name)
        out = []
        for ifo, name in found.items():

            def load(name: str = name) -> np.ndarray:
                return TimeSeries.read(path, name, gap="pad", pad=np.nan).value

            series = TimeSeries.read(path, name, gap="pad", pad=np.nan)
            out.append(
                Channel(
                    path=path,
                    ifo=ifo,
                    gps_start=float(series.t0.value),
                    size=len(series),
                    sample_rate=_rate(float(series.sample_rate.value)),
                    load=load,
                )
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is not a frame file, or truncated: {error}") from error
    if not out:
        raise ValueError(f"{path} holds no channel of a detector: found {', '.join(names)}")
    return out


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


def _rate(rate: float) -> float:
    """Sample rate without the rounding of its inverse."""
    return float(round(rate)) if abs(rate - round(rate)) < 1e-6 * rate else rate
