"""The times to analyse, and why other times are left out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ledger.files import ProductError
from ledger.product import Product, column, scalar
from ledger.strain import ROLES, Role


@dataclass(kw_only=True)
class SegmentList(Product):
    """Times at which all detectors take science data and no veto holds.

    Beside them lies what they were made of: each detector's science segments, the vetoes, the
    known events. All segments are half open.
    """

    product: ClassVar[str] = "segments"
    ifos: tuple[str, ...] = scalar("", "detectors")
    flags: tuple[str, ...] = scalar("", "data-quality flag of each detector")
    start: np.ndarray = column("segment", "s", "GPS start of a coincident segment")
    stop: np.ndarray = column("segment", "s", "GPS stop of a coincident segment")
    role: np.ndarray = column("segment", "", "0 training, 1 validation, 2 search", "int8")
    science_ifo: np.ndarray = column("science", "", "index of the detector in `ifos`", "int8")
    science_start: np.ndarray = column("science", "s", "GPS start of a detector's segment")
    science_stop: np.ndarray = column("science", "s", "GPS stop of a detector's segment")
    veto_name: list[str] = column("veto", "", "category, gate or catalogue of a veto", "str")
    veto_ifo: np.ndarray = column("veto", "", "index of the detector; -1 for all", "int8")
    veto_start: np.ndarray = column("veto", "s", "GPS start of a veto")
    veto_stop: np.ndarray = column("veto", "s", "GPS stop of a veto")
    event_label: list[str] = column("event", "", "name of a known event", "str")
    event_time: np.ndarray = column("event", "s", "GPS time of a known event")

    def validate(self) -> None:
        """Check the declarations, and that segments are in order and apart.

        Raises:
            ProductError: A segment is empty, or begins before the one before it ends.
        """
        super().validate()
        for i, (start, stop) in enumerate(zip(self.start, self.stop, strict=True)):
            if not start < stop or (i and start < self.stop[i - 1]):
                raise ProductError(
                    f"segments: number {i}, [{start}, {stop}), is empty or begins before the end "
                    "of the one before it"
                )

    def livetime(self, role: Role) -> float:
        """Length of all segments of a role [s]."""
        chosen = self.role == ROLES.index(role)
        return float(np.sum(self.stop[chosen] - self.start[chosen]))

    def pieces(self, longest: float) -> list[tuple[Role, float, float]]:
        """Role and GPS span of each strain file: segments cut at `longest` seconds.

        A last piece shorter than a tenth of that shares its time with the one before it, so that
        none is too short to be of use.
        """
        pieces: list[tuple[Role, float, float]] = []
        for start, stop, code in zip(self.start, self.stop, self.role, strict=True):
            role, edges = ROLES[code], [float(start)]
            while stop - edges[-1] > longest:
                rest = stop - edges[-1] - longest
                step = longest if rest >= longest / 10 else (stop - edges[-1]) // 2
                edges.append(edges[-1] + step)
            edges.append(float(stop))
            pieces += [(role, a, b) for a, b in itertools.pairwise(edges)]
        return pieces
