"""Whitened strain and what the towers make of it, one folder on disk for each strain file."""

from __future__ import annotations

import itertools
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from ledger import ProductError, StrainFile, StrainSegment, staged
from ledger.product import product_id
from preprocessing.whitening import whiten_pieces
from runtime.provenance import SAME_MODEL, compare_settings

from infer.arrays import ArrayWriter, map_array, release
from infer.scorers.row import BLOCK_FRAMES, in_blocks
from infer.session import Session

log = logging.getLogger("infer")

DESCRIPTION = "stretch.yaml"
SCHEMA = 1
WHITENED, TAPS, FEATURES = "whitened.npy", "taps.npy", "features.npy"


@dataclass(frozen=True)
class PreparedStretch:
    """Whitened strain of one file, and the features of its frames.

    Attributes:
        label: What the file is called in reports.
        gps_start: GPS time of the first whitened sample [s].
        whitened: Whitened strain, of shape (ifo, time).
        taps: Whitening filters, of shape (block, ifo, filter_size).
        features: Outputs of the towers, of shape (block, ifo, feature, BLOCK_FRAMES); None for
            networks that have none.
        num_frames: Frames of the stretch.
        update_size: Samples whitened with one filter.
    """

    label: str
    gps_start: float
    whitened: np.ndarray
    taps: np.ndarray
    features: np.ndarray | None
    num_frames: int
    update_size: int

    @property
    def size(self) -> int:
        """Whitened samples."""
        return int(self.whitened.shape[-1])

    def block_of(self, sample: np.ndarray | int) -> np.ndarray:
        """Block to which each whitened sample belongs."""
        return np.clip(np.asarray(sample) // self.update_size, 0, len(self.taps) - 1)

    def release(self) -> None:
        """Let go of what was mapped into memory; it is there again when it is needed."""
        for values in (self.whitened, self.taps, self.features):
            if values is not None:
                release(values)


def write_stretch(
    folder: Path, file: StrainFile, strain: Path, session: Session, shortest: float
) -> None:
    """Whiten one strain file and pass it through the towers, in pieces.

    Args:
        folder: Folder to write, whole or not at all. That of a file that is too short holds no
            arrays.
        file: The strain file.
        strain: The index that it is from.
        session: Experiment, models and scorer.
        shortest: Shortest whitened stretch that is of use [s].
    """
    recipe = session.recipe
    strain_size = round((file.gps_stop - file.gps_start) * recipe.sample_rate)
    size = recipe.whitened_size(strain_size)
    if size < shortest * recipe.sample_rate:
        log.warning(
            "%s is %.1f s long, too short (%.1f s): left out",
            file.path.name,
            strain_size / recipe.sample_rate,
            shortest + recipe.psd_length + recipe.fduration,
        )
        size = 0
    content = _identity(strain, session) | {
        "label": file.label,
        "gps_start": file.gps_start + recipe.lead,
        "size": size,
    }
    with staged(folder) as partial:
        partial.mkdir()
        if size:
            _write_arrays(partial, file.path, strain_size, session)
        (partial / DESCRIPTION).write_text(yaml.safe_dump(content))


def _write_arrays(folder: Path, path: Path, strain_size: int, session: Session) -> None:
    recipe, scorer, ifos = session.recipe, session.scorer, session.experiment.ifos

    def read(start: int, stop: int) -> torch.Tensor:
        segment = StrainSegment.read(path, ifos, start, stop)
        return torch.from_numpy(np.stack([segment.strain[ifo] for ifo in ifos]))

    size = recipe.whitened_size(strain_size)
    shape = (recipe.num_blocks(strain_size), len(ifos), recipe.filter_size)
    with (
        ArrayWriter(folder / WHITENED, (len(ifos), size), axis=1) as whitened,
        ArrayWriter(folder / TAPS, shape, axis=0) as taps,
    ):
        for piece in whiten_pieces(read, strain_size, recipe):
            whitened.append(piece.values.numpy())
            taps.append(piece.taps.numpy())
    values = map_array(folder / WHITENED)
    blocks = in_blocks(scorer.features(values))
    first = next(blocks, None)
    if first is None:
        return
    count = math.ceil(scorer.num_frames(size) / BLOCK_FRAMES)
    with ArrayWriter(folder / FEATURES, (count, *first.shape), axis=0) as features:
        for block in itertools.chain([first], blocks):
            features.append(block[None])
            release(values)


def read_stretch(folder: Path, strain: Path, session: Session) -> PreparedStretch | None:
    """Open what `write_stretch` wrote, mapped into memory; None if the file was too short.

    Raises:
        FileNotFoundError: There is no such folder.
        ProductError: It is of other strain, another network or other settings.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        raise FileNotFoundError(
            f"no {path}: make it by `infer frames` for all files that are searched"
        )
    content = yaml.safe_load(path.read_text())
    for name, expected in _identity(strain, session).items():
        found = content.get(name)
        if name != "settings" and found != expected:
            raise ProductError(
                f"{path} has {name} {found}, expected {expected}: make it by `infer frames` again"
            )
    compare_settings(content["settings"], str(path), session.experiment, SAME_MODEL)
    if not content["size"]:
        return None
    features = folder / FEATURES
    return PreparedStretch(
        label=content["label"],
        gps_start=content["gps_start"],
        whitened=map_array(folder / WHITENED),
        taps=map_array(folder / TAPS),
        features=map_array(features) if features.exists() else None,
        num_frames=session.scorer.num_frames(content["size"]),
        update_size=session.recipe.update_size,
    )


def _identity(strain: Path, session: Session) -> dict[str, object]:
    """What a stretch is of."""
    settings = session.experiment.settings()
    return {
        "schema": SCHEMA,
        "strain": product_id(strain),
        "network": session.models.network["sha256"],
        "settings": {key: settings[key] for key in SAME_MODEL},
    }
