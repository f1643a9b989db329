"""What a training leaves: its files, and what they say of each other."""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from ledger import ProductError

RUN_FILES = ("model.pt", "model.yaml", "metrics.csv", "config.yaml", "best.ckpt")
"""Names of the files without which a training is not done."""


def read_description(folder: Path) -> dict[str, Any]:
    """The description of the network in a run's folder.

    Raises:
        ProductError: It is that of another network.
    """
    description: dict[str, Any] = yaml.safe_load((folder / "model.yaml").read_text())
    found = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    if found != description["sha256"]:
        raise ProductError(
            f"{folder / 'model.pt'} has sha256 {found}, model.yaml beside it says "
            f"{description['sha256']}: train again"
        )
    return description
