"""From a version in the store to models that a server takes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from cleaning import LayerEstimator
from hermes.quiver import ModelRepository, Platform

from deepclean.models import ModelError, load_version, read_manifest
from deepclean.models.versions import load_network, version_folder
from deepclean.served.naming import (
    DELAY_SIZE,
    INPUT,
    OUTPUT,
    PARTS,
    SHA256,
    is_part,
    model_name,
    part_name,
    version_of,
)
from deepclean.served.windows import ExactPart, WindowSizes, update_size

PlatformName = Literal["onnx", "torchscript"]
PLATFORMS = {"onnx": Platform.ONNX, "torchscript": Platform.TORCHSCRIPT}

NUM_STREAMS = 16
"""Sequences that a server holds at once: each cleaner has one per version and layer."""


@dataclass(frozen=True)
class Form:
    """How versions are served.

    Attributes:
        platform: What runs the networks.
        update_length: Length of an update [s]. Frames come by the second, so shorter updates
            arrive no earlier, and each is a request of its own that sees the network's past anew.
        num_updates: Windows that are averaged. The network is exact in each, so more than one
            changes nothing but the cost and the delay.
    """

    platform: PlatformName = "onnx"
    update_length: float = 1.0
    num_updates: int = 1


def layer_digests(store: Path, version: int) -> list[str]:
    """Digest of each layer's network, as the store has it.

    Raises:
        ModelError: There is no such version.
    """
    manifest = read_manifest(version_folder(store, version))
    return [manifest.sha256[name] for name in manifest.networks]


def is_served(store: Path, version: int, repository: Path) -> bool:
    """Whether a repository has a version, all of it.

    Raises:
        ModelError: It has one of that number with other networks.
    """
    models = ModelRepository(repository).models
    for layer, digest in enumerate(layer_digests(store, version)):
        model = models.get(model_name(version, layer))
        if model is None:
            return False
        found = model.config.parameters[SHA256].string_value
        if found != digest:
            raise ModelError(
                f"{repository} has a version {version} whose layer {layer} is {found[:12]}, in "
                f"{store} it is {digest[:12]}: take one repository for each store"
            )
    return True


def add_version(store: Path, version: int, repository: Path, form: Form) -> None:
    """Put a version into a repository.

    All of it is made elsewhere, run and compared with the networks; then its models are put in
    place one by one, each as a whole and the ensembles last, so that a server never sees an
    ensemble that lacks a part. What an earlier attempt has left is replaced. One process at a
    time may do this for a repository.

    Args:
        store: Folder of all versions.
        version: Its number.
        repository: Folder of the repository; made if it is not there.
        form: How it is to be served.

    Raises:
        ModelError: The version is missing or broken.
        RepositoryError: What was exported does not give what a network gives.
    """
    layers = load_version(store, version).estimator.layers
    folder = version_folder(store, version)
    files = [folder / name for name in read_manifest(folder).networks]
    repository.mkdir(parents=True, exist_ok=True)
    # beside the repository: a server takes each folder in it for a model
    workshop = repository.parent / f".{repository.name}-export"
    shutil.rmtree(workshop, ignore_errors=True)
    try:
        made = ModelRepository(workshop / "made")
        digests = layer_digests(store, version)
        for i, (layer, file, digest) in enumerate(zip(layers, files, digests, strict=True)):
            _build(made, version, i, layer, load_network(file), digest, form)
        made.check()
        remove_version(version, repository)
        for name in sorted(made.models, key=is_part, reverse=True):
            (workshop / "made" / name).rename(repository / name)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def remove_version(version: int, repository: Path) -> None:
    """Take a version out of a repository, the ensembles first; nothing if it is not there."""
    store = ModelRepository(repository).store
    mine = [name for name in store.folders() if version_of(name) == version]
    for name in sorted(mine, key=is_part):
        store.remove(name)


def served_versions(repository: Path) -> set[int]:
    """Versions that a repository has anything of."""
    found = {version_of(name) for name in ModelRepository(repository).store.folders()}
    return {version for version in found if version is not None}


def _build(
    repository: ModelRepository,
    version: int,
    index: int,
    layer: LayerEstimator,
    network: torch.jit.ScriptModule,
    digest: str,
    form: Form,
) -> None:
    """Add the ensemble of a layer, and its parts."""
    predictor, rate = layer.predictor, layer.layer.sample_rate
    past, future = predictor.past_size, predictor.future_size
    size = update_size(form.update_length, rate, predictor.hop_size)
    sizes = WindowSizes(past, future, size, form.num_updates)
    shape = (None, len(layer.channels), sizes.window_size)
    snapshotter, name, aggregator = (part_name(version, index, part) for part in PARTS)
    model = repository.add(name, PLATFORMS[form.platform])
    model.export_version(
        ExactPart(network, past, future),
        version,
        {INPUT: shape},
        [OUTPUT],
        examples={INPUT: _examples(network, (2, *shape[1:]))},
    )
    ensemble = repository.add(model_name(version, index), Platform.ENSEMBLE)
    held = {"streams_per_gpu": NUM_STREAMS, "strategy": "oldest"}
    ensemble.add_streaming_inputs(model.inputs[INPUT], size, name=snapshotter, key=INPUT, **held)
    ensemble.add_streaming_output(
        model.outputs[OUTPUT], size, form.num_updates, name=aggregator, key=OUTPUT, **held
    )
    said = {
        SHA256: digest,
        DELAY_SIZE: sizes.delay_size,
        "deepclean.sample_rate": rate,
        "deepclean.hop_size": predictor.hop_size,
        "deepclean.past_size": past,
        "deepclean.future_size": future,
        "deepclean.channels": ",".join(layer.channels),
    }
    for key, value in said.items():
        ensemble.config.parameters[key].string_value = str(value)
    ensemble.export_version(None, version)


def _examples(network: torch.nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    """Noise of the size of the witnesses, to compare the exported network on.

    The sizes are those that training has left in the network, or one.
    """
    noise = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    if not (hasattr(network, "mean") and hasattr(network, "scale")):
        return noise
    return noise * network.scale.numpy() + network.mean.numpy()
