"""The exported models, run in process."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import yaml
from ledger import ProductError
from runtime import Experiment
from runtime.provenance import SAME_MODEL, compare_settings


class Model:
    """One ONNX model of a repository.

    Args:
        path: The file.

    Raises:
        ProductError: onnxruntime cannot open it.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        # idle threads sleep: spinning ones stall everything where cores are shared
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = [
            p
            for p in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if p in onnxruntime.get_available_providers()
        ]
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime's own exception types are not public
            raise ProductError(f"{path} is no model that onnxruntime opens: {error}") from error
        self.input = self.session.get_inputs()[0].name

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Output for an input, both float32."""
        return self.session.run(None, {self.input: np.ascontiguousarray(values)})[0]


class TorchModel:
    """One TorchScript model of a repository: networks that ONNX has no operators for.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.module = torch.jit.load(str(path), map_location="cpu").eval()

    @torch.inference_mode()
    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Output for an input, both float32."""
        return self.module(torch.from_numpy(np.ascontiguousarray(values))).numpy()


class Repository:
    """A model repository made by `export`.

    Args:
        folder: The repository.
        experiment: The experiment.

    Attributes:
        network: Description of the network.

    Raises:
        FileNotFoundError: No repository there, or a model is missing.
        ProductError: A file was changed, or made with other settings.
    """

    def __init__(self, folder: Path, experiment: Experiment) -> None:
        self.folder = Path(folder)
        path = self.folder / "repository.yaml"
        if not path.exists():
            raise FileNotFoundError(f"no model repository {folder}: expected {path}")
        content = yaml.safe_load(path.read_text())
        self.network: dict[str, Any] = content["network"]
        self.models: dict[str, Any] = content["models"]
        compare_settings(self.network["settings"], str(path), experiment, SAME_MODEL)

    def model(self, name: str) -> Model | TorchModel:
        """Open a model after checking that it is the one that was exported."""
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
        return TorchModel(path) if path.suffix == ".pt" else Model(path)
