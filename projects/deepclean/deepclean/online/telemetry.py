"""What the cleaner measured, second by second, for the monitor and the status page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cleaning import Cleaned

from deepclean.lines import append_line, read_lines

PER_FILE = 4096
"""Seconds in a file."""


def _begin(path: Path) -> int:
    """First second that a file is for [GPS s]."""
    return int(path.stem.split("-")[1])


@dataclass(frozen=True)
class Record:
    """A cleaned second.

    Attributes:
        second: Its time [GPS s].
        production: Version in production; 0 for none.
        canary: Version on trial; 0 for none.
        good: Whether the gate was open for it.
        dropped: Whether witnesses were missing.
        ratios: In-band ratios of production over the last 8 s, each band's.
        outside: Ratios just outside the bands.
        canary_ratios: In-band ratios of the canary.
        canary_outside: Those just outside.
        canary_newest: Ratios of the canary over the newest segment alone.
        compute: Time it took to compute [s].
        latency: Time from when the second's own frames were there until it was written [s].
    """

    second: int
    production: int
    canary: int
    good: bool
    dropped: bool
    ratios: tuple[float, ...]
    outside: tuple[float, ...]
    canary_ratios: tuple[float, ...]
    canary_outside: tuple[float, ...]
    canary_newest: tuple[float, ...]
    compute: float
    latency: float

    @classmethod
    def of(cls, cleaned: Cleaned, compute: float, latency: float) -> Record:
        """The record of a second."""
        return cls(
            second=cleaned.second,
            production=cleaned.production_version,
            canary=cleaned.canary_version,
            good=cleaned.good,
            dropped=cleaned.dropped,
            ratios=cleaned.ratios.inside,
            outside=cleaned.ratios.outside,
            canary_ratios=cleaned.canary_ratios.inside,
            canary_outside=cleaned.canary_ratios.outside,
            canary_newest=cleaned.canary_ratios.newest,
            compute=compute,
            latency=latency,
        )


@dataclass(frozen=True)
class Telemetry:
    """A folder of records, a line of JSON each, `PER_FILE` seconds to a file.

    Attributes:
        folder: Where the files lie.
    """

    folder: Path

    def _path(self, second: int) -> Path:
        return self.folder / f"telemetry-{second // PER_FILE * PER_FILE}.jsonl"

    def add(self, record: Record) -> None:
        """Write a record."""
        append_line(self._path(record.second), asdict(record))

    def since(self, second: int) -> list[Record]:
        """Records from a second on, in time order, each second once.

        Args:
            second: First one wanted [GPS s].
        """
        found = {record.second: record for record in self._read(second)}
        return [found[key] for key in sorted(found)]

    def _read(self, second: int) -> Iterator[Record]:
        for path in sorted(self.folder.glob("telemetry-*.jsonl")):
            if _begin(path) + PER_FILE <= second:
                continue
            for line in read_lines(path):
                if line["second"] >= second:
                    tuples = {k: tuple(v) for k, v in line.items() if isinstance(v, list)}
                    yield Record(**line | tuples)

    def last(self) -> Record | None:
        """The newest record; None if there is none."""
        files = sorted(self.folder.glob("telemetry-*.jsonl"))
        for path in reversed(files):
            records = self.since(_begin(path))
            if records:
                return records[-1]
        return None

    def forget(self, before: int) -> None:
        """Remove files whose seconds all lie before one."""
        for path in self.folder.glob("telemetry-*.jsonl"):
            if _begin(path) + PER_FILE <= before:
                path.unlink()
