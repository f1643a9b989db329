"""Kinds of models."""

from __future__ import annotations

from enum import Enum

from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.errors import RepositoryError


class Platform(Enum):
    """What runs a model; the value is what `platform` is in its configuration."""

    ONNX = "onnxruntime_onnx"
    TORCHSCRIPT = "pytorch_libtorch"
    TENSORRT = "tensorrt_plan"
    PYTHON = "python"
    ENSEMBLE = "ensemble"

    @property
    def file_name(self) -> str:
        """Name of the file in a version's folder."""
        return _FILES[self]

    def write_to(self, config: ModelConfig) -> None:
        """Name this platform in a configuration; Triton knows Python as a backend only."""
        if self is Platform.PYTHON:
            config.backend = self.value
        else:
            config.platform = self.value

    @classmethod
    def of(cls, config: ModelConfig) -> Platform:
        """The platform that a configuration names by `platform` or `backend`.

        Raises:
            RepositoryError: It names none, or one that is unknown here.
        """
        for platform in cls:
            if config.platform == platform.value:
                return platform
        if not config.platform and config.backend in _BACKENDS:
            return _BACKENDS[config.backend]
        known = ", ".join(p.value for p in cls if p is not cls.PYTHON)
        found = (
            f'platform is "{config.platform}"'
            if config.platform
            else f'backend is "{config.backend}"'
            if config.backend
            else "neither platform nor backend is set"
        )
        raise RepositoryError(f"{found}: set platform to one of {known}, or backend to python")


_FILES = {
    Platform.ONNX: "model.onnx",
    Platform.TORCHSCRIPT: "model.pt",
    Platform.TENSORRT: "model.plan",
    Platform.PYTHON: "model.py",
    Platform.ENSEMBLE: "model.empty",
}
_BACKENDS = {
    "onnxruntime": Platform.ONNX,
    "pytorch": Platform.TORCHSCRIPT,
    "tensorrt": Platform.TENSORRT,
    "python": Platform.PYTHON,
}
