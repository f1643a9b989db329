"""How the work of a search is cut into branches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def require_branch(branch: int, branches: int) -> None:
    """Stop if there is no such branch.

    Raises:
        ValueError: There is none.
    """
    if not 0 <= branch < branches:
        raise ValueError(
            f"--branch {branch} of --branches {branches}: expected branches from 0 to "
            f"{branches - 1}"
        )


def share(lengths: Sequence[float], branch: int, branches: int) -> slice:
    """Rows of a branch: consecutive ones, branches as equal in length as rows allow.

    A row belongs to the branch in whose share of the whole length its middle lies, so that each
    row belongs to one branch, for any number of branches.

    Args:
        lengths: Length of each row, for example its livetime; positive.
        branch: Which branch, from 0.
        branches: How many there are.
    """
    ends = np.cumsum(np.asarray(lengths, dtype=np.float64))
    if not len(ends):
        return slice(0, 0)
    middles = ends - np.asarray(lengths) / 2
    owner = np.minimum((middles / ends[-1] * branches).astype(np.int64), branches - 1)
    first, last = np.searchsorted(owner, [branch, branch + 1])
    return slice(int(first), int(last))
