"""Runs an ONNX file with onnxruntime."""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path

import numpy as np
import onnxruntime

from hermes.errors import RepositoryError

from .checking import TensorSpec

_log = logging.getLogger(__name__)

_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
} | {
    f"tensor({sign}int{bits})": f"{sign}int{bits}"
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}


class OnnxRunner:
    """An onnxruntime session, on the GPU where there is one and onnxruntime can use it.

    Args:
        path: The file.
        inputs: What the configuration says that it takes, states and controls included.
        outputs: What the configuration says that it gives, states included.
        gpu: Whether it may run on a GPU.
        threads: Threads that compute one request; None for onnxruntime's choice.

    Raises:
        RepositoryError: The file cannot be loaded, or is not what the configuration says.
    """

    def __init__(
        self,
        path: Path,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        gpu: bool,
        threads: int | None,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # the exception says the same as the log's error
        # Idle threads sleep: spinning ones stall everything where cores are shared.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if threads is not None:
            options.intra_op_num_threads = threads
        providers = ["CPUExecutionProvider"]
        if gpu and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            if _has_device():
                providers.insert(0, "CUDAExecutionProvider")
            else:
                _log.debug("no CUDA device: %s runs on the CPU", path)
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers)
        # onnxruntime's exceptions have no common parent but Exception
        except Exception as error:
            raise RepositoryError(f"{path} is no ONNX file that can be run: {error}") from error
        _compare(path, "input", inputs, self._session.get_inputs())
        _compare(path, "output", outputs, self._session.get_outputs())
        self._outputs = [spec.name for spec in outputs]

    def run(self, inputs: dict[str, np.ndarray], _request: object = None) -> dict[str, np.ndarray]:
        """Compute the outputs, by name."""
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))


def _compare(path: Path, kind: str, specs: tuple[TensorSpec, ...], nodes: list) -> None:
    """Hold the configuration against the file."""
    found = {node.name: node for node in nodes}
    expected = {spec.name for spec in specs}
    surplus = set(found) - expected if kind == "input" else set()
    if surplus or expected - set(found):
        raise RepositoryError(
            f"{path} has the {kind}s {sorted(found)}, its config.pbtxt says {sorted(expected)}: "
            f"correct the names, or export the model again"
        )
    for spec in specs:
        node = found[spec.name]
        dtype = _DTYPES.get(node.type, node.type)
        if dtype != spec.dtype.name:
            raise RepositoryError(
                f"{kind} {spec.name} of {path} is of type {dtype}, its config.pbtxt says "
                f"{spec.dtype}: correct data_type, or export the model again"
            )
        shape = spec.shape if spec.inner_shape is None else spec.inner_shape
        if len(node.shape) != len(shape) or any(
            isinstance(size, int) and -1 != stated != size
            for size, stated in zip(node.shape, shape, strict=True)
        ):
            raise RepositoryError(
                f"{kind} {spec.name} of {path} has the shape {node.shape}, its config.pbtxt says "
                f"{list(shape)}: correct dims, or export the model again"
            )


def _has_device() -> bool:
    """Whether a CUDA device is there; onnxruntime itself only finds out by failing loudly."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return False
    return count.value > 0
