"""What training hands on: the network as TorchScript, and its description."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from architectures import EvidenceNetwork, StreamingNetwork, WindowedNetwork
from ledger import staged
from ledger.product import product_id
from lightning.pytorch.callbacks import ModelCheckpoint
from preprocessing import WhiteningRecipe
from runtime import Experiment
from runtime.provenance import code_version

from train.families.detection import Detection
from train.monitored import require_measures
from train.torchscript import torchscript_bytes


@torch.no_grad()
def script(network: WindowedNetwork, filter_size: int = 0) -> torch.jit.ScriptModule:
    """TorchScript of a network with, if it streams, its parts as methods of their own.

    Args:
        network: The network.
        filter_size: Taps of a whitening filter, for a network that looks at them, too.
    """
    network = network.eval().cpu()
    kernel = torch.zeros(2, network.num_ifos, network.kernel_size)
    if network.needs_taps:
        taps = torch.zeros(2, network.num_ifos, filter_size)
        taps[..., filter_size // 2] = 1.0  # a filter that leaves all as it is
        return torch.jit.trace(network, (kernel, taps))
    if not isinstance(network, EvidenceNetwork):
        return torch.jit.trace(network, kernel)
    parts = {"forward": kernel, "pool": network.evidence_of(kernel)}
    if isinstance(network, StreamingNetwork):
        parts |= {"towers": kernel, "head": network.towers(kernel)}
    else:
        parts["evidence_of"] = kernel
    return torch.jit.trace_module(network, parts)


def describe(
    module: Detection, measures: dict[str, float], training: dict[str, Any]
) -> dict[str, Any]:
    """Description of a network: what it is, what it needs, how good it was found.

    Args:
        module: The trained family.
        measures: What validation found; must hold `valid_delay_s`.
        training: How it was trained, for the record.
    """
    network = module.network
    streaming = isinstance(network, StreamingNetwork)
    description: dict[str, Any] = {
        "schema": 1,
        "name": "aframe",
        "family": type(module).__name__,
        "architecture": module.architecture,
        "options": module.options or {},
        "streaming": streaming,
        "fused": not streaming and isinstance(network, EvidenceNetwork),
        "needs_taps": network.needs_taps,
        "num_parameters": sum(p.numel() for p in network.parameters()),
        "ifos": list(module.settings.ifos),
        "sample_rate": network.sample_rate,
        "kernel_size": network.kernel_size,
        "delay": measures["valid_delay_s"],
        "measures": measures,
        "training": training,
        "settings": module.settings.settings(),
    }
    if isinstance(network, EvidenceNetwork):
        for name in ("hop_size", "receptive_size", "head_size", "pool_size"):
            description[name] = int(getattr(network, name))
    return description


class Publish(L.Callback):
    """Writes `model.pt` and `model.yaml` from the best checkpoint when training ends.

    Args:
        folder: Folder of the run.
        best: What keeps the best checkpoint.
    """

    def __init__(self, folder: Path, best: ModelCheckpoint) -> None:
        self.folder = Path(folder)
        self.best = best

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """See, before the first step, that there will be a best checkpoint."""
        if isinstance(pl_module, Detection):
            require_measures(trainer, trainer.datamodule.validation, pl_module.network)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the best checkpoint and publish it."""
        if not trainer.is_global_zero or not isinstance(pl_module, Detection):
            return
        path = self.best.best_model_path
        state = torch.load(path, map_location="cpu", weights_only=True)
        module = pl_module.cpu()
        module.load_state_dict(state["state_dict"])
        module.eval()
        validation = trainer.datamodule.validation
        # measured once more in the precision of the search, in which it has been chosen, too
        outcome = validation.measure(module.network.to(validation.stretches.device))
        training = {
            "monitor": self.best.monitor,
            "epoch": int(state["epoch"]),
            "steps": int(state["global_step"]),
            "batch_size": trainer.datamodule.batch_size,
            "precision": str(trainer.precision),
            "compile": module.compile_loss,
            "num_processes": trainer.world_size,
            "seed_offset": module.seed_offset,
        }
        parents = {name: product_id(path) for name, path in trainer.datamodule.paths.items()}
        publish(module, self.folder, outcome.measures, parents, training)


def publish(
    module: Detection,
    folder: Path,
    measures: dict[str, float],
    parents: dict[str, str],
    training: dict[str, Any],
) -> None:
    """Write the network and its description.

    Args:
        module: The trained family.
        folder: Where to.
        measures: What validation found; must hold `valid_delay_s`.
        parents: Ids of the products it was trained on, by role.
        training: How it was trained, for the record.
    """
    traced = script(module.network, filter_size(module.settings))
    content = torchscript_bytes(traced)
    with staged(folder / "model.pt") as partial:
        partial.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    description = describe(module, measures, training) | {
        "sha256": digest,
        "code_version": code_version(),
        "parents": parents,
    }
    with staged(folder / "model.yaml") as partial:
        partial.write_text(yaml.safe_dump(description, sort_keys=False))


def filter_size(experiment: Experiment) -> int:
    """Taps of the experiment's whitening filters."""
    return WhiteningRecipe.from_settings(experiment.settings()).filter_size
