"""From a run to a repository."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import torch
import yaml
from hermes.quiver import ModelRepository, Platform
from ledger import ProductError, staged
from preprocessing import WhiteningRecipe
from runtime import load_experiment
from runtime.provenance import code_version

from export.checkpoint import open_run
from export.layout import Layout

PLATFORMS = {
    "onnx": Platform.ONNX,
    "torchscript": Platform.TORCHSCRIPT,
    "tensorrt": Platform.TENSORRT,
}


def build_repository(
    experiment: Path,
    run_dir: Path,
    output: Path,
    platform: Literal["onnx", "torchscript", "tensorrt"] = "onnx",
) -> None:
    """Export a trained network with its preprocessing to a model repository.

    Args:
        experiment: Experiment file or its folder.
        run_dir: Folder of the training, with model.pt and model.yaml.
        output: Folder of the repository; put in place only after all models were checked.
        platform: What runs the networks. Whitening needs Fourier transforms, which TensorRT has
            not: it runs on onnxruntime then. A network with such transforms is TorchScript.

    Raises:
        FileNotFoundError: The training's files are missing.
        ProductError: They do not belong together or were made with other settings, or the network
            gives the same score whatever it sees.
        RepositoryError: An exported model does not give what the network gives, or the platform
            is not installed.
    """
    settings = load_experiment(experiment)
    network, description = open_run(Path(run_dir), settings)
    recipe = WhiteningRecipe.from_settings(settings.settings())
    require_alive(network, description, recipe, settings.seed)
    score_hop = round(settings.sample_rate / settings.search.scores_per_second)
    with staged(output) as folder:
        folder.mkdir()
        layout = Layout(
            ModelRepository(folder), network, description, recipe, PLATFORMS[platform], score_hop
        )
        layout.add_windows()
        if description["streaming"]:
            layout.add_frames()
        # networks published before there were others say nothing
        elif description.get("fused", False):
            layout.add_evidence()
        streams = layout.add_streams()
        content = {
            "schema": 2,
            "code_version": code_version(),
            "network": description,
            "models": entries(layout.repository),
            "streams": streams,
        }
        (folder / "repository.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def require_alive(
    network: torch.nn.Module, description: dict[str, Any], recipe: WhiteningRecipe, seed: int
) -> None:
    """Stop if a network's score does not depend on what it sees.

    Raises:
        ProductError: It does not.
    """
    generator = torch.Generator().manual_seed(seed)
    kernels = torch.randn(
        16, len(description["ifos"]), description["kernel_size"], generator=generator
    )
    # half of them with something loud, so that scores spread as they will
    kernels[8:] *= torch.linspace(1, 4, 8)[:, None, None]
    inputs = [kernels]
    if description["needs_taps"]:
        inputs.append(torch.randn(*kernels.shape[:2], recipe.filter_size, generator=generator))
    with torch.no_grad():
        scores = network(*inputs)
    if not float(scores.std()) >= 1e-5 * max(1.0, float(scores.abs().max())):
        raise ProductError(
            f"the network gives {float(scores.mean()):.4g} whatever it sees: training has failed, "
            "train again with another seed or a lower learning rate; nothing was exported"
        )


def entries(repository: ModelRepository) -> dict[str, dict[str, Any]]:
    """File, digest, version and platform of each model, for `repository.yaml`."""
    found = {}
    for name, model in sorted(repository.models.items()):
        version = model.resolve()
        entry: dict[str, Any] = {"platform": model.platform.name.lower(), "version": version}
        if model.platform is not Platform.ENSEMBLE:
            entry["file"] = f"{name}/{version}/{model.file_name}"
            entry["sha256"] = hashlib.sha256(model.file(version).read_bytes()).hexdigest()
        found[name] = entry
    return found
