"""Numbers to run a model on while it is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hermes.quiver.signature import Port

BATCH = 2
LENGTH = 64


def draw(ports: Sequence[Port], given: Mapping[str, np.ndarray], seed: int) -> list[np.ndarray]:
    """One array per port: the given one, or standard normal numbers, or small whole ones.

    Args:
        ports: The inputs.
        given: Arrays to use, by name.
        seed: Other seeds, other numbers.
    """
    rng = np.random.default_rng(seed)
    arrays = []
    for port in ports:
        shape = [LENGTH if n is None else n for n in port.shape]
        if port.shape[:1] == (None,):
            shape[0] = BATCH
        if port.name in given:
            array = given[port.name]
        elif port.dtype.kind == "f":
            array = rng.standard_normal(shape)
        else:
            array = rng.integers(0, 2 if port.dtype.kind == "b" else 8, shape)
        arrays.append(np.ascontiguousarray(array.astype(port.dtype)))
    return arrays


def resize(
    arrays: Sequence[np.ndarray], ports: Sequence[Port], batch: int, factor: int
) -> list[np.ndarray]:
    """The arrays with other lengths where any length goes; what is missing is repeated.

    Args:
        arrays: One per port.
        ports: The inputs.
        batch: New length of the batch axes.
        factor: How many times as long other free axes become.
    """
    resized = []
    for array, port in zip(arrays, ports, strict=True):
        for axis, n in enumerate(port.shape):
            if n is None:
                length = batch if axis == 0 else factor * array.shape[axis]
                array = array.take(np.arange(length) % array.shape[axis], axis=axis)
        resized.append(np.ascontiguousarray(array))
    return resized
