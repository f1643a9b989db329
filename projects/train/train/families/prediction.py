"""What the training of a regression hands on: the network as TorchScript, and its description."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from ledger import staged
from ledger.product import product_id
from lightning.pytorch.callbacks import ModelCheckpoint
from runtime.provenance import code_version

from train.families.regression import Regression
from train.torchscript import torchscript_bytes

MEASURED = {"validate": "measures.yaml", "test": "measures-test.yaml"}
"""File for what each verb measures."""


class PublishPrediction(L.Callback):
    """Writes `model.pt` and `model.yaml` of the best checkpoint of a regression, and its measures.

    Families whose networks give scores are left alone: `Publish` and `WriteOutcome` do that.

    Args:
        folder: Folder of the run.
        best: What keeps the best checkpoint.
        checkpoint: The checkpoint that `validate` and `test` measure, for the record.
    """

    def __init__(self, folder: Path, best: ModelCheckpoint, checkpoint: str) -> None:
        self.folder = Path(folder)
        self.best = best
        self.checkpoint = checkpoint
        self.written: Path | None = None

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the best checkpoint and publish it."""
        if not trainer.is_global_zero or not isinstance(pl_module, Regression):
            return
        state = torch.load(self.best.best_model_path, map_location="cpu", weights_only=True)
        module = pl_module.cpu()
        module.load_state_dict(state["state_dict"])
        module.eval()
        with torch.no_grad():
            content = torchscript_bytes(module.published())
        training = {
            "monitor": self.best.monitor,
            "epoch": int(state["epoch"]),
            "steps": int(state["global_step"]),
            "precision": str(trainer.precision),
            "compile": module.compile_loss,
            "num_processes": trainer.world_size,
            "seed_offset": module.seed_offset,
        }
        paths = getattr(trainer.datamodule, "paths", {})
        description = describe(module, state["measures"], training) | {
            "sha256": hashlib.sha256(content).hexdigest(),
            "code_version": code_version(),
            "parents": {name: product_id(path) for name, path in paths.items()},
        }
        with staged(self.folder / "model.pt") as partial:
            partial.write_bytes(content)
        with staged(self.folder / "model.yaml") as partial:
            partial.write_text(yaml.safe_dump(description, sort_keys=False))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write what `validate` finds."""
        self._write_measures(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write what `test` finds."""
        self._write_measures(trainer, pl_module)

    def _write_measures(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        name = MEASURED.get(str(trainer.state.fn.value))
        if name is None or not trainer.is_global_zero or not isinstance(module, Regression):
            return
        self.written = self.folder / name
        content = {"checkpoint": self.checkpoint, "measures": module.measures()}
        with staged(self.written) as partial:
            partial.write_text(yaml.safe_dump(content, sort_keys=False))


def describe(
    module: Regression, measures: dict[str, float], training: dict[str, Any]
) -> dict[str, Any]:
    """Description of a network: what it is, what it needs, how good it was found.

    Args:
        module: The trained family.
        measures: What validation found.
        training: How it was trained, for the record.
    """
    network = module.network
    return {
        "schema": 1,
        "name": "aframe",
        "family": type(module).__name__,
        "architecture": module.architecture,
        "num_channels": network.num_channels,
        "num_parameters": sum(p.numel() for p in network.parameters()),
        "sample_rate": network.sample_rate,
        "kernel_size": network.kernel_size,
        "hop_size": network.hop_size,
        "past_size": network.past_size,
        "future_size": network.future_size,
        "measures": measures,
        "training": training,
        "settings": module.settings.settings(),
    }
