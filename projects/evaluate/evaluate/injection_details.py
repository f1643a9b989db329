"""Strain and scores of injections that the search kept to be looked at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ledger import ProductError
from ledger.injections import InjectionDetails
from runtime import Experiment, require_same

from evaluate.inputs import SAME_SEARCH, FoldResult

FILE = "injection-details.hdf5"


def read_injection_details(
    folders: Sequence[Path], experiment: Experiment, folds: Sequence[FoldResult]
) -> dict[int, InjectionDetails]:
    """Read what was kept of injections, where anything was.

    Args:
        folders: Results of each fold, in any order.
        experiment: The experiment.
        folds: The folds, in order.

    Returns:
        What was kept, by fold.

    Raises:
        ProductError: It is of other injections than those that were recovered.
    """
    details = {}
    for folder in folders:
        path = folder / FILE
        if not path.exists():
            continue
        kept = InjectionDetails.read(path)
        require_same(path, experiment, SAME_SEARCH)
        times = np.asarray(folds[kept.fold].injections.injection_time)
        rows = np.asarray(kept.injection)
        if len(rows) and (rows.max() >= len(times) or np.any(times[rows] != kept.time)):
            raise ProductError(
                f"{path} is of other injections than foreground.hdf5 of fold {kept.fold}: search "
                "again"
            )
        details[kept.fold] = kept
    return details
