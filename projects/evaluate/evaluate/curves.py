"""Training curves, as the CSV logger of Lightning leaves them."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Columns that count rather than measure.
COUNTERS = ("epoch", "step")


@dataclass(frozen=True)
class TrainingCurves:
    """What was logged during one training.

    Attributes:
        name: Name of the run's folder.
        curves: For each logged quantity the epochs (or steps) and the values; gaps and values
            that are not finite are left out.
        axis: `epoch` or `step`, what the first arrays hold.
    """

    name: str
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
    axis: str


def read_curves(folder: Path) -> TrainingCurves:
    """Read `metrics.csv` of a run.

    Args:
        folder: Folder of the run.

    Raises:
        FileNotFoundError: There is no `metrics.csv` in the folder.
        ValueError: It has neither an `epoch` nor a `step` column.
    """
    path = folder / "metrics.csv"
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: expected the log of `train fit` there")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        columns = [name for name in reader.fieldnames or () if name]
        rows = list(reader)
    axis = next((name for name in COUNTERS if name in columns), None)
    if axis is None:
        raise ValueError(
            f"{path} has columns {columns}: expected one of {list(COUNTERS)} among them"
        )
    curves = {}
    for name in columns:
        if name in COUNTERS:
            continue
        points = [
            (at, value)
            for row in rows
            if (at := _number(row[axis])) is not None and (value := _number(row[name])) is not None
        ]
        if points:
            where, values = zip(*points, strict=True)
            curves[name] = (np.array(where), np.array(values))
    return TrainingCurves(folder.name, curves, axis)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
