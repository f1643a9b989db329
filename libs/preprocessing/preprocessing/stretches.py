"""The strain of an experiment, whitened: what training and search both begin with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from ledger import StrainFile, StrainIndex, StrainSegment
from ledger.strain import Role
from runtime import Experiment, progress, require_same
from runtime.provenance import SAME_STRAIN

from preprocessing.recipe import WhiteningRecipe
from preprocessing.whitening import WhitenedStretch, whiten

log = logging.getLogger("preprocessing")


@dataclass(frozen=True)
class LoadedStretch:
    """Whitened strain of one file, or of a part of it.

    Attributes:
        file: Where it is from.
        gps_start: GPS time of the first whitened sample [s].
        stretch: The whitened strain and its filters.
    """

    file: StrainFile
    gps_start: float
    stretch: WhitenedStretch


def strain_files(
    index_path: Path, experiment: Experiment, role: Role, fold: int
) -> list[StrainFile]:
    """Files of a role in time order.

    Args:
        index_path: The strain index.
        experiment: The experiment.
        role: Which files.
        fold: Fold of the experiment.

    Raises:
        ProductError: The index was made with other settings.
        ValueError: No such fold.
    """
    require_same(index_path, experiment, SAME_STRAIN)
    index = StrainIndex.read(index_path)
    if not 0 <= fold < index.num_folds:
        raise ValueError(f"{index_path} has folds 0 to {index.num_folds - 1}, found fold {fold}")
    return index.files(index_path, role, fold)


def load_stretches(
    index_path: Path,
    experiment: Experiment,
    role: Role,
    fold: int,
    shortest: float,
    device: torch.device | None = None,
) -> Iterator[LoadedStretch]:
    """Read and whiten the files of a role, one after the other.

    Args:
        index_path: The strain index.
        experiment: The experiment.
        role: Which files.
        fold: Fold of the experiment.
        shortest: Shortest whitened stretch that is of use [s].
        device: Where to whiten and to leave the result; the CPU if None.

    Yields:
        The stretches in time order; files that are too short are left out and named in the log.

    Raises:
        ProductError: The index or a file was made with other settings, or a file lacks a detector.
        ValueError: No such fold, or all files are too short.
    """
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    needed = shortest + recipe.psd_length + recipe.fduration
    found = 0
    files = strain_files(index_path, experiment, role, fold)
    for file in progress(files, f"whiten {role}", unit="file"):
        segment = StrainSegment.read(file.path, experiment.ifos)
        if recipe.whitened_size(segment.size) < shortest * recipe.sample_rate:
            log.warning(
                "%s is %.1f s long, too short (%.1f s): left out",
                file.path.name,
                segment.duration,
                needed,
            )
            continue
        found += 1
        strain = torch.stack([torch.from_numpy(segment.strain[i]) for i in experiment.ifos])
        stretch = whiten(strain.to(device or "cpu"), recipe)
        yield LoadedStretch(file, segment.gps_start + recipe.lead, stretch)
    if not found:
        raise no_long_file(index_path, recipe, role, fold, shortest)


def no_long_file(
    index_path: Path, recipe: WhiteningRecipe, role: Role, fold: int, shortest: float
) -> ValueError:
    """The error where all files are too short.

    Args:
        index_path: The strain index.
        recipe: What whitening takes of a file.
        role: Which files.
        fold: Fold of the experiment.
        shortest: Shortest whitened stretch that is of use [s].
    """
    lost = recipe.psd_length + recipe.fduration
    return ValueError(
        f"{index_path} has no {role} file of fold {fold} that is long enough for a score: "
        f"{shortest + lost} s are needed, of which psd_length and fduration take {lost} s"
    )
