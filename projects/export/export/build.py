"""From a run to a repository."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
import yaml
from ledger import staged
from preprocessing import WhiteningRecipe
from runtime import load_experiment
from runtime.provenance import code_version

from export.checkpoint import open_run
from export.modules import Head, Score, StrainToScore, Towers
from export.repository import (
    Port,
    add_onnx,
    add_torchscript,
    entries,
    join,
    needs_torch,
    require_equal,
    to_onnx,
    whitening_to_onnx,
)


def build_repository(experiment: Path, run_dir: Path, output: Path) -> None:
    """Export a trained network with its preprocessing to a model repository.

    Args:
        experiment: Experiment file or its folder.
        run_dir: Folder of the training, with model.pt and model.yaml.
        output: Folder of the repository; put in place only after all models were checked.

    Raises:
        FileNotFoundError: The training's files are missing.
        ProductError: They do not belong together, were made with other settings, or an exported
            model does not give what the network gives.
    """
    settings = load_experiment(experiment)
    network, description = open_run(Path(run_dir), settings)
    recipe = WhiteningRecipe.from_settings(settings.settings())
    ifos, kernel = len(settings.ifos), description["kernel_size"]
    generator = torch.Generator().manual_seed(settings.seed)
    # kernels of noise, half of them with something loud, so that scores spread as they will
    whitened = torch.randn(16, ifos, kernel, generator=generator)
    whitened[8:] *= torch.linspace(1, 4, 8)[:, None, None]
    window = recipe.psd_size + recipe.filter_size + kernel
    strain = torch.randn(16, ifos, window, generator=generator) * 1e-21
    strain[8:, :, recipe.psd_size :] *= torch.linspace(1, 4, 8)[:, None, None]
    score = Port("score", (-1, 1), ("batch", "one"))
    differences: dict[str, float] = {}
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)

    with staged(output) as folder, torch.no_grad():
        folder.mkdir()
        kernels = Port("kernel", (-1, ifos, kernel), ("batch", "ifo", "time"))
        scored = None
        if not needs_torch(network):
            scored = to_onnx(Score(network), whitened, kernels, score)
        if description["streaming"]:
            stretch = torch.randn(1, ifos, 3 * kernel + 17, generator=generator)
            features = network.towers(stretch)
            source = Port("strain", (-1, ifos, -1), ("batch", "ifo", "time"))
            frames = Port(
                "features",
                (-1, ifos, features.shape[2], -1),
                ("batch", "ifo", "feature", "frame"),
            )
            graph = to_onnx(Towers(network), whitened[:1], source, frames)
            run = add_onnx(folder, "towers", graph, source, frames)
            differences["towers"] = require_equal("towers", run(stretch), features)

            evidence = Port("evidence", (-1, -1), ("batch", "frame"))
            graph = to_onnx(Head(network), features[..., :32], frames, evidence)
            run = add_onnx(folder, "head", graph, frames, evidence)
            differences["head"] = require_equal("head", run(features), network.head(features))
        else:
            if scored is None:
                run = add_torchscript(folder, "network", Score(network), whitened, kernels, score)
            else:
                run = add_onnx(folder, "network", scored, kernels, score)
            differences["network"] = require_equal(
                "network", run(whitened), network(whitened)[:, None]
            )

        whole = StrainToScore(network, recipe)
        source = Port("strain", (-1, ifos, window), ("batch", "ifo", "time"))
        expected = whole(strain)
        name = "aframe-torchscript"
        run = add_torchscript(folder, name, whole, strain, source, score)
        differences[name] = require_equal(name, run(strain), expected)
        if scored is not None:
            whitening = whitening_to_onnx(whole.whiten, strain, source)
            graph = join(whitening, scored, ("whitened", kernels.name))
            run = add_onnx(folder, "aframe", graph, source, score)
            differences["aframe"] = require_equal("aframe", run(strain), expected)
        (folder / "repository.yaml").write_text(
            yaml.safe_dump(
                {
                    "schema": 1,
                    "code_version": code_version(),
                    "network": description,
                    "models": entries(folder, differences),
                },
                sort_keys=False,
            )
        )
