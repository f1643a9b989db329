"""Times that the background must not look at, and what the zero lag does there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ledger import StrainIndex
from runtime import Experiment

from infer.windows import Window, read_windows


@dataclass(frozen=True)
class Reason:
    """Times left out for one reason.

    Attributes:
        name: Of the known event, the flag, or the file.
        ifo: Place of the detector whose data they are; None for those of all.
        windows: GPS windows, half open [s].
    """

    name: str
    ifo: int | None
    windows: list[Window]

    def touches(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Whether each half-open span has a time in common with a window."""
        ends = np.array(self.windows, dtype=np.float64).reshape(-1, 2)
        ends = ends[np.argsort(ends[:, 0], kind="stable")]
        # windows may overlap: how far those that begin before a time reach at most
        reach = np.concatenate([[-np.inf], np.maximum.accumulate(ends[:, 1])])
        result: np.ndarray = reach[np.searchsorted(ends[:, 0], stop, "left")] > start
        return result


@dataclass(frozen=True)
class LeftOut:
    """All times left out, with the reasons.

    Attributes:
        reasons: In the order in which an event names them.
    """

    reasons: tuple[Reason, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the windows: parts of a search must have left out the same times."""
        return hashlib.sha256(repr(self.reasons).encode()).hexdigest()

    def of_all(self) -> list[Window]:
        """Windows of all detectors [s]."""
        return [window for why in self.reasons if why.ifo is None for window in why.windows]

    def of_each(self) -> dict[int, list[Window]]:
        """Windows of single detectors [s], by the detector's place."""
        found: dict[int, list[Window]] = {}
        for why in self.reasons:
            if why.ifo is not None and why.windows:
                found.setdefault(why.ifo, []).extend(why.windows)
        return found

    def marks(self, start: np.ndarray, length: float) -> dict[str, object]:
        """Columns of an `EventSet` on events that the background would leave out.

        Args:
            start: GPS time at which what each event looks at begins in each detector, of shape
                (event, ifo) [s].
            length: How long that is [s].
        """
        rows: list[tuple[int, str, int]] = []
        for why in self.reasons:
            mine = start if why.ifo is None else start[:, [why.ifo]]
            hit = why.touches(mine, mine + length).any(axis=1)
            ifo = -1 if why.ifo is None else why.ifo
            rows += [(int(event), why.name, ifo) for event in np.flatnonzero(hit)]
        rows.sort(key=lambda row: row[0])
        return {
            "mark": np.array([row[0] for row in rows], dtype=np.int32),
            "mark_reason": [row[1] for row in rows],
            "mark_ifo": np.array([row[2] for row in rows], dtype=np.int8),
        }


def find_left_out(index: StrainIndex, experiment: Experiment, exclude: Path | None) -> LeftOut:
    """Known events of the index, vetoes of the experiment, and windows of a file.

    Args:
        index: The strain index.
        experiment: The experiment, which names files of vetoes for each detector.
        exclude: File of windows of all detectors, text; none if None.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file holds something else.
    """
    reasons: dict[tuple[str, int | None], Reason] = {}

    def add(name: str, ifo: int | None, windows: list[Window]) -> None:
        known = reasons.get((name, ifo), Reason(name, ifo, []))
        reasons[name, ifo] = replace(known, windows=known.windows + windows)

    for label, (start, stop) in zip(index.known_label, index.known_window, strict=True):
        add(label, None, [(float(start), float(stop))])
    if exclude is not None:
        for name, windows in read_windows(Path(exclude)).items():
            add(name, None, windows)
    folder = Path(experiment.source).parent
    for ifo, files in experiment.search.vetoes.items():
        for file in files:
            for name, windows in read_windows(folder / file, ifo).items():
                add(name, experiment.ifos.index(ifo), windows)
    return LeftOut(tuple(reasons.values()))
