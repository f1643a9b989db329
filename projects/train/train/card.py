"""`python -m train card` and `restore`: a trained network to keep, and back again.

A folder of `models/` holds the weights in half precision, the description of the network, and a
model card that says what it was trained on and how good it was found.
"""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import Any

import torch
import yaml
from architectures import WindowedNetwork, build
from ledger import staged
from preprocessing import WhiteningRecipe
from runtime.cli import command_line

from train.card_text import write_text
from train.families import FAMILIES
from train.publish import script
from train.torchscript import torchscript_bytes

WEIGHTS, DESCRIPTION, CARD = "weights.pt", "model.yaml", "README.md"

LARGEST = 16_000_000
"""Most bytes of weights that a folder of models may hold."""

TOLERANCE = 0.05
"""Largest difference of a score (a logarithm of odds) that half precision may make."""

NUM_CHECKED = 64
"""Kernels of white noise on which the difference is taken."""


def card(run_dir: Path, output: Path) -> None:
    """Keep the network of a finished training, in half precision, with its model card.

    Args:
        run_dir: Folder of the training.
        output: Folder to write: weights.pt, model.yaml, README.md.

    Raises:
        FileNotFoundError: The training is not finished.
        ValueError: The weights are too many, do not fit into half precision, or give other scores
            in it.
    """
    run_dir, output = Path(run_dir), Path(output)
    for name in ("model.pt", DESCRIPTION, "config.yaml"):
        if not (run_dir / name).is_file():
            raise FileNotFoundError(
                f"{run_dir} has no {name}: --run_dir is the folder of a finished `train fit`"
            )
    description = yaml.safe_load((run_dir / DESCRIPTION).read_text())
    trained = torch.jit.load(str(run_dir / "model.pt"), map_location="cpu").eval()
    halved = {
        name: value.half() if value.is_floating_point() else value
        for name, value in trained.state_dict().items()
    }
    lost = [name for name, value in halved.items() if not torch.isfinite(value).all()]
    if lost:
        raise ValueError(
            f"{run_dir / 'model.pt'}: {', '.join(lost)} holds numbers beyond 65504, the largest "
            "of half precision: train with a larger model.init_args.weight_decay"
        )
    buffer = io.BytesIO()
    torch.save(halved, buffer)
    content = buffer.getvalue()
    if len(content) > LARGEST:
        raise ValueError(
            f"the weights of {run_dir / 'model.pt'} are {len(content)} bytes in half precision, "
            f"expected at most {LARGEST}: keep a smaller network"
        )
    network = _network(description)
    network.load_state_dict({name: value.float() for name, value in halved.items()})
    difference = largest_difference(trained, network, description)
    # also where it is no number
    if not difference <= TOLERANCE:
        raise ValueError(
            f"half precision changes scores of {run_dir / 'model.pt'} by up to {difference:.3g}, "
            f"expected at most {TOLERANCE}: keep the run's own folder instead"
        )
    description["weights"] = {
        "file": WEIGHTS,
        "precision": "float16",
        "sha256": hashlib.sha256(content).hexdigest(),
        "largest_difference": float(difference),
    }
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    resources = run_dir / "resources.yaml"
    took = yaml.safe_load(resources.read_text()) if resources.is_file() else {}
    text = write_text(output.name, description, config, took)
    for name, written in (
        (WEIGHTS, content),
        (DESCRIPTION, yaml.safe_dump(description, sort_keys=False).encode()),
        (CARD, text.encode()),
    ):
        with staged(output / name) as partial:
            partial.write_bytes(written)


def load(folder: Path) -> WindowedNetwork:
    """The network of a folder that `card` wrote, in single precision, ready to score.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The weights are not those of the description.
    """
    folder = Path(folder)
    for name in (WEIGHTS, DESCRIPTION):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}: `train card` writes such a folder")
    description = yaml.safe_load((folder / DESCRIPTION).read_text())
    content = (folder / WEIGHTS).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != description["weights"]["sha256"]:
        raise ValueError(
            f"{folder / WEIGHTS} has sha256 {found}, {DESCRIPTION} beside it says "
            f"{description['weights']['sha256']}: one of the two was changed"
        )
    network = _network(description)
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network.load_state_dict({name: value.float() for name, value in state.items()})
    return network


def restore(model: Path, run_dir: Path) -> None:
    """Make of a kept network what a training leaves for the export and the search.

    Args:
        model: Folder that `card` wrote.
        run_dir: Folder to write: model.pt, model.yaml.
    """
    model, run_dir = Path(model), Path(run_dir)
    network = load(model)
    description = yaml.safe_load((model / DESCRIPTION).read_text())
    content = torchscript_bytes(script(network, _filter_size(description)))
    description["sha256"] = hashlib.sha256(content).hexdigest()
    del description["weights"]
    with staged(run_dir / "model.pt") as partial:
        partial.write_bytes(content)
    with staged(run_dir / DESCRIPTION) as partial:
        partial.write_text(yaml.safe_dump(description, sort_keys=False))


def largest_difference(
    first: torch.nn.Module, second: torch.nn.Module, description: dict[str, Any]
) -> float:
    """Largest difference of two networks' scores of the same kernels.

    Half of the kernels are white noise, half hold a loud sweep in it, so that scores of either
    kind are compared.

    Args:
        first: A network.
        second: Another one.
        description: What `model.yaml` says of both.
    """
    size, rate, num_ifos = (
        description["kernel_size"], description["sample_rate"], len(description["ifos"]),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    kernels = torch.randn(NUM_CHECKED, num_ifos, size, generator=generator)
    time = torch.arange(size) / rate
    sweep = torch.sin(2 * math.pi * (40 + 60 * time) * time)
    kernels[NUM_CHECKED // 2 :] += 5 * sweep * torch.exp(-(((time - 1.0) / 0.05) ** 2))
    inputs = [kernels]
    if description["needs_taps"]:
        taps = torch.zeros(NUM_CHECKED, num_ifos, _filter_size(description))
        taps[..., taps.shape[-1] // 2] = 1.0
        inputs.append(taps)
    with torch.no_grad():
        return float((first(*inputs) - second(*inputs)).abs().max())


def _filter_size(description: dict[str, Any]) -> int:
    return WhiteningRecipe.from_settings(description["settings"]).filter_size


def _network(description: dict[str, Any]) -> WindowedNetwork:
    """The network of a description, with the weights of its seed."""
    settings = description["settings"]
    network = build(
        description["architecture"],
        len(description["ifos"]),
        settings["sample_rate"],
        settings["kernel_length"],
        description.get("options"),
        FAMILIES[description["family"]].family,
        settings,
    )
    return network.eval()


def main() -> None:
    """Entry point of the two verbs."""
    command_line("train", {"card": card, "restore": restore})
