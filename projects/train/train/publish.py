"""What training hands on: the network as TorchScript, and its description."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from architectures import StreamingNetwork, WindowedNetwork
from ledger import staged
from ledger.product import product_id
from runtime.provenance import code_version

from train.model import Detector


@torch.no_grad()
def script(network: WindowedNetwork) -> torch.jit.ScriptModule:
    """TorchScript of a network with, if it streams, its parts as methods of their own."""
    network = network.eval().cpu()
    kernel = torch.zeros(2, network.num_ifos, network.kernel_size)
    if not isinstance(network, StreamingNetwork):
        return torch.jit.trace(network, kernel)
    features = network.towers(kernel)
    evidence = network.head(features)
    return torch.jit.trace_module(
        network, {"forward": kernel, "towers": kernel, "head": features, "pool": evidence}
    )


def describe(detector: Detector, measures: dict[str, float]) -> dict[str, Any]:
    """Description of a network: what it is, what it needs, how good it was found."""
    network = detector.network
    streaming = isinstance(network, StreamingNetwork)
    description: dict[str, Any] = {
        "schema": 1,
        "name": "aframe",
        "architecture": detector.architecture,
        "streaming": streaming,
        "num_parameters": sum(p.numel() for p in network.parameters()),
        "ifos": list(detector.settings.ifos),
        "sample_rate": network.sample_rate,
        "kernel_size": network.kernel_size,
        "delay": measures["valid_delay_s"],
        "measures": measures,
        "settings": detector.settings.settings(),
    }
    if streaming:
        for name in ("hop_size", "receptive_size", "head_size", "pool_size"):
            description[name] = int(getattr(network, name))
    return description


class Publish(L.Callback):
    """Writes `model.pt` and `model.yaml` from the best checkpoint when training ends.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the best checkpoint and publish it."""
        if not trainer.is_global_zero:
            return
        best = trainer.checkpoint_callback.best_model_path
        state = torch.load(best, map_location="cpu", weights_only=True)
        detector = pl_module.cpu()
        detector.load_state_dict(state["state_dict"])
        detector.eval()
        found = trainer.datamodule.validation.measure(
            detector.network.to(trainer.datamodule.validation.stretches.device)
        )
        measures = {
            "valid_auroc": found.auroc,
            "valid_recall": found.recall,
            "valid_livetime_s": found.livetime,
            "valid_num_injections": found.num_injections,
            "valid_delay_s": found.delay,
        }
        publish(
            detector,
            self.folder,
            measures,
            {name: product_id(path) for name, path in trainer.datamodule.paths.items()},
        )


def publish(
    detector: Detector, folder: Path, measures: dict[str, float], parents: dict[str, str]
) -> None:
    """Write the network and its description.

    Args:
        detector: The trained detector.
        folder: Where to.
        measures: What validation found; must hold `valid_delay_s`.
        parents: Ids of the products it was trained on, by role.
    """
    module = script(detector.network)
    # through memory, since TorchScript writes the name of the file into the file
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    with staged(folder / "model.pt") as partial:
        partial.write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    description = describe(detector, measures) | {
        "sha256": digest,
        "code_version": code_version(),
        "parents": parents,
    }
    with staged(folder / "model.yaml") as partial:
        partial.write_text(yaml.safe_dump(description, sort_keys=False))
