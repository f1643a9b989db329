"""Whether an exported model gives what its source gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hermes.errors import RepositoryError
from hermes.quiver.signature import Port

# Largest difference allowed, relative to the spread of the output: other kernels add up in other
# orders. Whole numbers and truth values must be equal.
TOLERANCES = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-9}


def require_equal(
    found: Sequence[Sequence[np.ndarray]],
    expected: Sequence[Sequence[np.ndarray]],
    ports: Sequence[Port],
    tolerance: float | None = None,
) -> None:
    """Compare outputs.

    Args:
        found: Outputs of the exported model, for each sample of inputs.
        expected: Outputs of the source, for each sample of inputs.
        ports: What the outputs are.
        tolerance: Largest difference between real numbers relative to their spread, by default
            that of `TOLERANCES`.

    Raises:
        RepositoryError: They differ.
    """
    for i, port in enumerate(ports):
        pairs = [(a[i], b[i]) for a, b in zip(found, expected, strict=True)]
        for a, b in pairs:
            if a.shape != b.shape or a.dtype != b.dtype:
                raise RepositoryError(
                    f"output {port.name} is {a.shape} {a.dtype}, but that of the source is "
                    f"{b.shape} {b.dtype}: the export took a length of the example for a constant"
                )
        limit = TOLERANCES.get(port.dtype.name, 0.0)
        if tolerance is not None and limit:
            limit = tolerance
        # all samples at once: a single number has no spread
        a, b = (
            np.concatenate([array.ravel() for array in side]) for side in zip(*pairs, strict=True)
        )
        difference = relative_difference(a, b)
        if not difference <= limit:
            raise RepositoryError(
                f"output {port.name} differs from that of the source by {difference:.2g} of its "
                f"spread, more than {limit:.2g}"
            )


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the spread of what is expected.

    The spread is the standard deviation, or a hundredth of the largest value where that is more:
    an output that hardly varies is not compared more finely than its numbers are. NaN and
    infinity must stand in the same places.
    """
    if expected.size == 0 or np.array_equal(found, expected, equal_nan=expected.dtype.kind == "f"):
        return 0.0
    a, b = found.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    a, b = a[finite], b[finite]
    scale = max(float(b.std()), 1e-2 * float(np.abs(b).max()))
    largest = float(np.abs(a - b).max())
    return largest / scale if scale else largest
