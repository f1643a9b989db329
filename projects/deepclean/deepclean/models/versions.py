"""Publish versions, and load them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from cleaning import Model, NoiseEstimator, Problem, TorchPredictor, load_problem
from runtime.provenance import code_version

from deepclean.models.manifest import (
    NAME,
    Manifest,
    ModelError,
    State,
    network_file,
    read_manifest,
)
from deepclean.models.roles import Roles, locked, read_roles, set_roles

PROBLEM = "problem.yaml"
SIZES = ("hop_size", "past_size", "future_size")
"""What a network says of itself; see `cleaning.Network`."""


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def version_folder(store: Path, version: int) -> Path:
    """Folder of a version."""
    return store / f"{version:04d}"


def list_versions(store: Path) -> list[Manifest]:
    """Manifests of all complete versions, in order."""
    if not store.is_dir():
        return []
    folders = sorted(path.parent for path in store.glob(f"[0-9]*/{NAME}"))
    return [read_manifest(folder) for folder in folders]


def publish(
    store: Path,
    problem_file: Path,
    networks: Sequence[Path],
    span: tuple[int, int],
    measures: Mapping[str, float] | None = None,
    parent: int = 0,
) -> int:
    """Add a version; it becomes the canary.

    Args:
        store: Folder of all versions.
        problem_file: The problem that the networks were trained for.
        networks: TorchScript file of each layer.
        span: First second, and second after the last, that they were trained on [GPS s].
        measures: What was found when they were trained.
        parent: Version that they were fine-tuned from; 0 for none.

    Returns:
        Its number.

    Raises:
        ModelError: A network does not fit its layer.
    """
    problem = load_problem(problem_file)
    with locked(store):
        version = max([0, *(int(p.name) for p in store.glob("[0-9][0-9][0-9][0-9]"))]) + 1
        folder = version_folder(store, version)
        folder.mkdir()
        names = [network_file(layer) for layer in range(len(networks))]
        for name, path in zip(names, networks, strict=True):
            shutil.copyfile(path, folder / name)
        shutil.copyfile(problem_file, folder / PROBLEM)
        estimator(problem, [folder / name for name in names])
        layers = problem.layers
        Manifest(
            version=version,
            state="canary",
            span=span,
            problem=problem.digest,
            channels=tuple(problem.layer_witnesses(layer) for layer in layers),
            bands=tuple(layer.bands for layer in layers),
            rates=tuple(layer.sample_rate for layer in layers),
            measures=dict(measures or {}),
            sha256={name: _sha256(folder / name) for name in [*names, PROBLEM]},
            code=code_version(),
            parent=parent,
        ).write(folder)
        roles = read_roles(store)
        if roles.canary:
            _retire(store, roles.canary, f"version {version} took its place on trial")
        set_roles(store, roles.model_copy(update={"canary": version}))
    return version


def load_network(path: Path, device: str | torch.device = "cpu") -> torch.jit.ScriptModule:
    """A network as it was published.

    Args:
        path: Its TorchScript file.
        device: Where it is to run.

    Raises:
        ModelError: The file is no network.
    """
    try:
        network = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"{path} is no TorchScript file: {first}") from None
    for name in SIZES:
        if not hasattr(network, name):
            raise ModelError(f"{path} lacks {name}: expected a network made by `train`")
    return network


def estimator(
    problem: Problem, networks: Sequence[Path], device: str | torch.device = "cpu"
) -> NoiseEstimator:
    """Networks from their files, put to a problem, in double precision.

    Args:
        problem: What is cleaned.
        networks: TorchScript file of each layer.
        device: Where they run.

    Raises:
        ModelError: A file is no network, or one that does not fit.
    """
    predictors = []
    for path in networks:
        network = load_network(path, device).to(torch.float64)
        # what depends on weights alone is computed once
        network = torch.jit.freeze(network, preserved_attrs=list(SIZES))
        predictors.append(TorchPredictor(network, device, torch.float64))
    try:
        return NoiseEstimator.of(problem, predictors)
    except ValueError as error:
        raise ModelError(str(error)) from None


def load_version(store: Path, version: int, device: str | torch.device = "cpu") -> Model:
    """Load a version, its files checked.

    Args:
        store: Folder of all versions.
        version: Its number.
        device: Where its networks run.

    Raises:
        ModelError: It is missing or broken.
    """
    folder = version_folder(store, version)
    manifest = read_manifest(folder)
    for name, digest in manifest.sha256.items():
        path = folder / name
        if not path.is_file() or _sha256(path) != digest:
            raise ModelError(f"{path} is missing or is not what the manifest says: publish again")
    problem = load_problem(folder / PROBLEM)
    networks = [folder / name for name in manifest.networks]
    return Model(version, estimator(problem, networks, device))


def set_state(store: Path, version: int, state: State, reason: str) -> Roles:
    """Judge a version: promote it, reject it, retire it.

    Promoting retires what was in production; rejecting or retiring what is in production leaves
    nothing in production, until a version is promoted.

    Args:
        store: Folder of all versions.
        version: Its number.
        state: What it is from now on.
        reason: Why, in words.

    Returns:
        The versions to be used now.

    Raises:
        ModelError: There is no such version.
    """
    with locked(store):
        folder = version_folder(store, version)
        manifest = read_manifest(folder)
        roles = read_roles(store)
        changes = {}
        if state == "production":
            changes["production"] = version
            if roles.production not in (0, version):
                _retire(store, roles.production, f"version {version} took over")
        elif roles.production == version:
            changes["production"] = 0
        if roles.canary == version and state != "canary":
            changes["canary"] = 0
        manifest.model_copy(update={"state": state, "reason": reason}).write(folder)
        roles = roles.model_copy(update=changes)
        set_roles(store, roles)
    return roles


def _retire(store: Path, version: int, reason: str) -> None:
    folder = version_folder(store, version)
    changes = {"state": "retired", "reason": reason}
    read_manifest(folder).model_copy(update=changes).write(folder)
