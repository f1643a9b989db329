"""Strain files, and the index that says which of them are for what."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import h5py
import numpy as np

from ledger.files import ProductError
from ledger.product import Product, column, open_product, scalar

Role = Literal["training", "validation", "search"]
ROLES: tuple[Role, ...] = ("training", "validation", "search")
INDEX = "index.hdf5"
_NAME = re.compile(r"strain-([a-z]+)-([0-9.]+)-([0-9.]+)\.hdf5")


def _number(value: float) -> str:
    """Shortest text of a time: no point in a whole number, else as far as microseconds."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def strain_file_name(role: str, gps_start: float, duration: float) -> str:
    """Name of a strain file.

    Args:
        role: `training`, `validation` or `search`, or `data` where it depends on the fold.
        gps_start: GPS time of the first sample [s].
        duration: Length [s].
    """
    return f"strain-{role}-{_number(gps_start)}-{_number(duration)}.hdf5"


def role_in_name(name: str) -> Role | None:
    """Role in the name of a strain file; None if it has another form."""
    match = _NAME.fullmatch(name)
    roles = [role for role in ROLES if match and match.group(1) == role]
    return roles[0] if roles else None


@dataclass(kw_only=True)
class StrainSegment(Product):
    """Coincident, gapless strain of one or more detectors.

    On disk one dataset per detector at the root, with the attributes that
    `gwpy.timeseries.TimeSeriesDict.read` understands (`x0`, `dx`, `unit`).

    Attributes:
        strain: Strain of each detector, float32, all of one length.
        gps_start: GPS time of the first sample [s].
        sample_rate: Samples per second [Hz].
    """

    product: ClassVar[str] = "strain"
    strain: Mapping[str, np.ndarray]
    gps_start: float
    sample_rate: float

    @property
    def ifos(self) -> tuple[str, ...]:
        """Detectors in the file."""
        return tuple(self.strain)

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(next(iter(self.strain.values())))

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.size / self.sample_rate

    @property
    def gps_stop(self) -> float:
        """GPS time after the last sample [s]."""
        return self.gps_start + self.duration

    def validate(self) -> None:
        """Check that all detectors have one length and finite values."""
        if not self.strain:
            raise ProductError("strain: no detector")
        for ifo, values in self.strain.items():
            if len(values) != self.size:
                raise ProductError(
                    f"strain: {ifo} has {len(values)} samples, {self.ifos[0]} has {self.size}"
                )
            if not np.isfinite(values).all():
                raise ProductError(
                    f"strain: {ifo} holds NaN or infinite values in "
                    f"[{self.gps_start}, {self.gps_stop})"
                )

    def _write_arrays(self, file: h5py.File, digest: Any) -> None:
        for ifo, values in self.strain.items():
            values = np.ascontiguousarray(values, dtype=np.float32)
            dataset = file.create_dataset(ifo, data=values)
            dataset.attrs["x0"] = np.float64(self.gps_start)
            dataset.attrs["dx"] = np.float64(1 / self.sample_rate)
            dataset.attrs["unit"] = "strain"
            dataset.attrs["xunit"] = "s"
            dataset.attrs["name"] = ifo
            dataset.attrs["channel"] = ifo
            digest.update(ifo.encode())
            digest.update(values.data)
        digest.update(repr((self.gps_start, self.sample_rate)).encode())

    @classmethod
    def read(
        cls,
        path: str | Path,
        ifos: tuple[str, ...] | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> Self:
        """Read a stretch of some detectors.

        Args:
            path: The file.
            ifos: Detectors to read, in this order; all if None.
            start: First sample.
            stop: Sample after the last; to the end if None.

        Raises:
            FileNotFoundError: There is no such file.
            ProductError: Not a strain product, or a detector is missing.
        """
        with open_product(path, cls.product, cls.schema) as file:
            found = tuple(sorted(file))
            wanted = ifos or found
            missing = [ifo for ifo in wanted if ifo not in file]
            if missing:
                raise ProductError(
                    f"{path} holds no {', '.join(missing)}: found {', '.join(found)}, "
                    f"expected {', '.join(wanted)}"
                )
            first = file[wanted[0]]
            rate = float(1 / first.attrs["dx"])
            return cls(
                strain={ifo: file[ifo][start:stop] for ifo in wanted},
                gps_start=float(first.attrs["x0"]) + start / rate,
                sample_rate=rate,
            )


@dataclass(frozen=True)
class StrainFile:
    """One row of a strain index.

    Attributes:
        path: The file, absolute.
        gps_start: First sample [s].
        gps_stop: After the last sample [s].
        roles: Role of the file in each fold of the experiment.
        label: What the file is called in reports.
    """

    path: Path
    gps_start: float
    gps_stop: float
    roles: tuple[Role, ...]
    label: str


@dataclass(kw_only=True)
class StrainIndex(Product):
    """The strain files of an experiment, what each is for in each fold, and what to leave out.

    In fold k the network is trained on the `training` files, chosen on the `validation` files
    and searches the `search` files. No GPS time has two roles in one fold.
    """

    product: ClassVar[str] = "strain-index"
    ifos: tuple[str, ...] = scalar("", "detectors of every file")
    sample_rate: float = scalar("Hz", "sample rate of every file")
    path: list[str] = column("file", "", "path relative to the index", "str")
    label: list[str] = column("file", "", "name for reports", "str")
    gps_start: np.ndarray = column("file", "s", "GPS of the first sample")
    gps_stop: np.ndarray = column("file", "s", "GPS after the last sample")
    role: np.ndarray = column(
        "file,fold", "", "0 training, 1 validation, 2 search, -1 unused", "int8"
    )
    known_label: list[str] = column("known", "", "name of a known event", "str")
    known_time: np.ndarray = column("known", "s", "GPS time of a known event")
    known_window: np.ndarray = column(
        "known,bound", "s", "GPS window left out of training and background, half open"
    )

    @property
    def num_folds(self) -> int:
        """Number of ways in which the files are divided into training and search."""
        return int(np.asarray(self.role).shape[1])

    def validate(self) -> None:
        """Check the declarations, and that no time has two roles in a fold.

        Raises:
            ProductError: Files overlap; both are named.
        """
        super().validate()
        order = np.argsort(self.gps_start, kind="stable")
        for left, right in itertools.pairwise(order):
            if self.gps_stop[left] > self.gps_start[right]:
                raise ProductError(
                    f"{self.path[left]} [{self.gps_start[left]}, {self.gps_stop[left]}) overlaps "
                    f"{self.path[right]} [{self.gps_start[right]}, {self.gps_stop[right]}): "
                    "one of the two must go"
                )

    def files(self, base: str | Path, role: Role, fold: int = 0) -> list[StrainFile]:
        """Files of one role in time order.

        Args:
            base: Path of the index file, from which its paths are resolved.
            role: `training`, `validation` or `search`.
            fold: Which fold.
        """
        code = ROLES.index(role)
        folder = Path(base).resolve().parent
        return [
            StrainFile(
                path=folder / self.path[i],
                gps_start=float(self.gps_start[i]),
                gps_stop=float(self.gps_stop[i]),
                roles=tuple(ROLES[r] for r in self.role[i] if r >= 0),
                label=self.label[i],
            )
            for i in np.argsort(self.gps_start, kind="stable")
            if self.role[i, fold] == code
        ]
