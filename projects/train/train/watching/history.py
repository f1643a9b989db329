"""The validations that are kept, in the run's folder."""

from __future__ import annotations

from pathlib import Path

from ledger import staged

from train.watching.page import as_json, from_json
from train.watching.record import Record


class History:
    """The last validations of a run and the best one, each in a file of its own.

    Args:
        folder: Where the files are.
        num_kept: How many of the last to keep.
        monitor: Measure by which the best is told.
        mode: `max` or `min`: whether more of it is better.
    """

    def __init__(self, folder: Path, num_kept: int, monitor: str, mode: str) -> None:
        self.folder = folder
        self.num_kept = num_kept
        self.monitor = monitor
        self.sign = 1.0 if mode == "max" else -1.0
        self.records: list[Record] = []

    def read(self, step: int) -> None:
        """Take over the validations of an interrupted run.

        Args:
            step: Steps at which the run goes on; validations after it are forgotten.
        """
        found = [from_json(path.read_text()) for path in sorted(self.folder.glob("step-*.json"))]
        self.records = [record for record in found if record.step <= step]
        self._remove_others()

    def add(self, record: Record) -> None:
        """Keep a validation, and remove what is too old.

        Args:
            record: The validation; it replaces one of the same step.
        """
        with staged(self._path(record)) as partial:
            partial.write_text(as_json(record))
        kept = [r for r in self.records if r.step != record.step] + [record]
        best = self._best(kept)
        self.records = [r for r in kept[: -self.num_kept] if r is best] + kept[-self.num_kept :]
        self._remove_others()

    @property
    def best(self) -> int | None:
        """Step of the best validation that is kept."""
        best = self._best(self.records)
        return None if best is None else best.step

    def _best(self, records: list[Record]) -> Record | None:
        measured = [r for r in records if r.measures.get(self.monitor) is not None]
        return max(measured, key=self._value, default=None)

    def _value(self, record: Record) -> float:
        return self.sign * (record.measures[self.monitor] or 0.0)

    def _path(self, record: Record) -> Path:
        return self.folder / f"step-{record.step:09d}.json"

    def _remove_others(self) -> None:
        known = {self._path(record) for record in self.records}
        for path in self.folder.glob("step-*.json"):
            if path not in known:
                path.unlink()
