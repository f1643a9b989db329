"""Times that the background must not look at."""

from pathlib import Path

import numpy as np
from ledger import StrainIndex


def left_out_windows(index: StrainIndex, exclude: Path | None) -> list[tuple[float, float]]:
    """Windows of known events of the index and of a file.

    Args:
        index: The strain index.
        exclude: File with two columns, start and stop of each window [GPS s]; none if None.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds something else.
    """
    windows = [(float(a), float(b)) for a, b in index.known_window]
    if exclude is None:
        return windows
    if not exclude.exists():
        raise FileNotFoundError(f"no file {exclude} with windows to exclude")
    try:
        rows = np.loadtxt(exclude, ndmin=2, delimiter="," if exclude.suffix == ".csv" else None)
    except ValueError as error:
        raise ValueError(f"{exclude} is no table of two columns of GPS times: {error}") from error
    if rows.size and (rows.shape[1] != 2 or (rows[:, 1] <= rows[:, 0]).any()):
        raise ValueError(f"{exclude} must hold a start and a later stop in each row")
    return windows + [(float(a), float(b)) for a, b in rows]
