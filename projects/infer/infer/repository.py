"""The exported models, in this process or on a server."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import yaml
from hermes.aeriel.client import InferenceClient
from ledger import ProductError
from runtime import Experiment
from runtime.provenance import NETWORK_PARAMETER, SAME_MODEL, compare_settings


class Model:
    """One model of a repository, with one output.

    Args:
        client: Its client.

    Attributes:
        in_flight: Requests that may wait for their answers at the same time.
    """

    def __init__(self, client: InferenceClient) -> None:
        self.client = client
        self.in_flight = client.in_flight
        self.inputs = list(client.inputs)

    def submit(self, *arrays: np.ndarray) -> Future[np.ndarray]:
        """Ask for the output; the inputs in the order of the model's configuration."""
        return self.client.infer(dict(zip(self.inputs, arrays, strict=True)))

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        """The output."""
        return self.submit(*arrays).result()


class Repository:
    """A model repository made by `export`.

    Args:
        folder: The repository.
        experiment: The experiment.
        address: A Triton server that serves it, as HOST:PORT; None to run it in this process.

    Attributes:
        network: Description of the network.

    Raises:
        FileNotFoundError: No repository there, or a model is missing.
        ProductError: A file was changed, or made with other settings.
    """

    def __init__(self, folder: Path, experiment: Experiment, address: str | None = None) -> None:
        self.folder = Path(folder)
        self.address = address
        path = self.folder / "repository.yaml"
        if not path.exists():
            raise FileNotFoundError(f"no model repository {folder}: expected {path}")
        content = yaml.safe_load(path.read_text())
        self.network: dict[str, Any] = content["network"]
        self.models: dict[str, Any] = content["models"]
        self.clients: dict[str, InferenceClient] = {}
        # A server is kept busy while answers travel; here, what waits only takes memory.
        self.in_flight = 2 if address is None else 8
        compare_settings(self.network["settings"], str(path), experiment, SAME_MODEL)

    def model(self, name: str) -> Model:
        """Open a model after checking that it is the one that was exported.

        Raises:
            FileNotFoundError: Its file is missing.
            ProductError: Its file was changed, or the server has another network's.
        """
        entry = self.models[name]
        path = self.folder / entry["file"]
        if not path.exists():
            raise FileNotFoundError(f"no file {path}: export the network again")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != entry["sha256"]:
            raise ProductError(
                f"{path} has sha256 {found[:12]}, repository.yaml says {entry['sha256'][:12]}: "
                "the file was changed after its export, export again"
            )
        if name not in self.clients:
            place = str(self.folder) if self.address is None else self.address
            client = InferenceClient(
                place, name, version=entry["version"], in_flight=self.in_flight, deadline=None
            )
            self.clients[name] = client
            served = client.parameters.get(NETWORK_PARAMETER, "")
            if served != self.network["sha256"]:
                raise ProductError(
                    f"model {name} at {place} is of network {served[:12] or 'unknown'}, expected "
                    f"{self.network['sha256'][:12]} of {self.folder}: serve that repository"
                )
        return Model(self.clients[name])

    def close(self) -> None:
        """End all clients."""
        for client in self.clients.values():
            client.close()
        self.clients.clear()

    def __enter__(self) -> Repository:
        """Nothing is opened before it is asked for."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()
