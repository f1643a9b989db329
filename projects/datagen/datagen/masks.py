"""Where a mask is true."""

import numpy as np


def true_spans(mask: np.ndarray) -> list[tuple[int, int]]:
    """Half-open index ranges in which a mask is true."""
    if not mask.any():
        return []
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    # each edge begins or ends a range, and so do the ends of a mask that is true there
    bounds = [0] * bool(mask[0]) + edges.tolist() + [len(mask)] * bool(mask[-1])
    return list(zip(bounds[::2], bounds[1::2], strict=True))
