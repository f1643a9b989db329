"""Open what training published."""

import hashlib
from pathlib import Path
from typing import Any

import torch
import yaml
from ledger import ProductError
from runtime import Experiment
from runtime.provenance import SAME_MODEL, compare_settings


def open_run(
    folder: Path, experiment: Experiment
) -> tuple[torch.jit.ScriptModule, dict[str, Any]]:
    """Open a run's network after checking that it is the described one, for this experiment.

    Args:
        folder: Folder of the run, with `model.pt` and `model.yaml`.
        experiment: The experiment.

    Returns:
        The network, in evaluation mode, and its description.

    Raises:
        FileNotFoundError: A file is missing.
        ProductError: The two files do not belong together, or other settings were used.
    """
    description_path, model_path = folder / "model.yaml", folder / "model.pt"
    for path in (description_path, model_path):
        if not path.exists():
            raise FileNotFoundError(f"no file {path}: give the folder of a finished training")
    description = yaml.safe_load(description_path.read_text())
    found = hashlib.sha256(model_path.read_bytes()).hexdigest()
    if found != description["sha256"]:
        raise ProductError(
            f"{model_path} has sha256 {found[:12]}, {description_path} describes "
            f"{description['sha256'][:12]}: the two are not of one training, train again"
        )
    compare_settings(description["settings"], str(description_path), experiment, SAME_MODEL)
    return torch.jit.load(str(model_path), map_location="cpu").eval(), description
