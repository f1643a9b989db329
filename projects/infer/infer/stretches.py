"""The strain of a search, whitened."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from ledger import StrainFile, StrainIndex, StrainSegment
from preprocessing import WhitenedStretch, WhiteningRecipe, whiten
from runtime import Experiment, progress, require_same
from runtime.provenance import SAME_STRAIN

log = logging.getLogger("infer")


@dataclass(frozen=True)
class SearchStretch:
    """One whitened stretch.

    Attributes:
        file: Where it is from.
        gps_start: GPS time of the first whitened sample [s].
        stretch: The whitened strain and its filters.
    """

    file: StrainFile
    gps_start: float
    stretch: WhitenedStretch


def search_stretches(
    index_path: Path, experiment: Experiment, fold: int, shortest: float
) -> Iterator[SearchStretch]:
    """Whiten the files to be searched, one after the other.

    Args:
        index_path: The strain index.
        experiment: The experiment.
        fold: Fold of the experiment.
        shortest: Shortest whitened stretch that gives a score [s].

    Yields:
        The stretches in time order; files that are too short are left out and named in the log.

    Raises:
        ProductError: The index or a file was made with other settings, or a file lacks a detector.
        ValueError: No such fold, or all files are too short.
    """
    require_same(index_path, experiment, SAME_STRAIN)
    index = StrainIndex.read(index_path)
    if not 0 <= fold < index.num_folds:
        raise ValueError(f"{index_path} has folds 0 to {index.num_folds - 1}, found fold {fold}")
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    found = 0
    for file in progress(index.files(index_path, "search", fold), "whiten", unit="file"):
        segment = StrainSegment.read(file.path, experiment.ifos)
        strain = torch.stack([torch.from_numpy(segment.strain[i]) for i in experiment.ifos])
        if recipe.whitened_size(strain.shape[-1]) < shortest * recipe.sample_rate:
            log.warning(
                "%s is %.1f s long, too short for a score (%.1f s): left out",
                file.path.name,
                segment.duration,
                shortest + recipe.psd_length + recipe.fduration,
            )
            continue
        found += 1
        yield SearchStretch(file, segment.gps_start + recipe.lead, whiten(strain, recipe))
    if not found:
        raise ValueError(
            f"{index_path} has no search file of fold {fold} that is long enough for a score: "
            f"{shortest + recipe.psd_length + recipe.fduration} s are needed (psd_length, "
            "fduration, kernel_length and integration_length together)"
        )
