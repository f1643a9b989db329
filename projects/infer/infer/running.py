"""Windows that run over a series, in few steps."""

from __future__ import annotations

from typing import Any

import numpy as np

# Values worked on at once, which fit a processor's cache.
PIECE_SIZE = 2**15


def running(values: np.ndarray, size: int, combine: np.ufunc) -> np.ndarray:
    """Combine all values of each window.

    Windows of 1, 2, 4, ... values are joined to those of the size asked for, so that the cost
    grows with the logarithm of the size. What a window gives depends on its own values alone, to
    the last bit, wherever it lies in the series.

    Args:
        values: Of shape (..., value).
        size: Values in a window, at least 1.
        combine: An associative function of two values, such as `np.add` or `np.maximum`.

    Returns:
        Array of shape (..., value - size + 1), of the same type. Item i is of the values
        i to i + size - 1.
    """
    count = max(0, values.shape[-1] - size + 1)
    found = np.empty((*values.shape[:-1], count), dtype=values.dtype)
    for first in range(0, count, PIECE_SIZE):
        last = min(first + PIECE_SIZE, count)
        _combine(values[..., first : last + size - 1], size, combine, found[..., first:last])
    return found


def _combine(values: np.ndarray, size: int, combine: np.ufunc, out: np.ndarray) -> None:
    count, width, done = out.shape[-1], 1, 0
    joined: Any = None
    while True:
        if size & width:
            part = values[..., done : done + count]
            joined = part if joined is None else combine(joined, part, out=out)
            done += width
        width *= 2
        if width > size:
            break
        half = width // 2
        values = combine(values[..., :-half], values[..., half:])
    if joined is not out:
        out[...] = joined
