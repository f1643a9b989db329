"""ONNX files, run by onnxruntime."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnxruntime

from triton_server.backends.configuration import Configuration, ConfigurationError
from triton_server.backends.execution import Arrays, FileModel
from triton_server.backends.tensors import from_numpy, to_numpy

# The server's names of levels, and what they mean to onnxruntime.
GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
}
_TYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}


class OnnxModel(FileModel):
    """One instance of an ONNX model.

    Threads: 1, or the parameters `intra_op_thread_count` and `inter_op_thread_count` of the
    configuration.
    """

    default_file = "model.onnx"

    def load(self, config: Configuration) -> None:
        """Open a session, on the GPU where the instance has one and onnxruntime can."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config.read_count("intra_op_thread_count", 1)
        options.inter_op_num_threads = config.read_count("inter_op_thread_count", 1)
        options.graph_optimization_level = GRAPH_LEVELS.get(config.graph_level, GRAPH_LEVELS[0])
        providers: list[Any] = ["CPUExecutionProvider"]
        if (
            config.device is not None
            and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        ):
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": config.device}))
        self.session = onnxruntime.InferenceSession(config.file, options, providers=providers)
        states = config.states
        inputs = config.inputs | {state.input_name: state.initial.dtype for state in states}
        outputs = config.outputs | {state.output_name: state.initial.dtype for state in states}
        _compare(config, "input", inputs, self.session.get_inputs())
        _compare(config, "output", outputs, self.session.get_outputs())
        self.input_names = {node.name for node in self.session.get_inputs()}
        self.run_names = list(outputs)

    def run(self, inputs: Arrays) -> Arrays:
        """Run the session; inputs that the file does not have, such as flags, are left out."""
        known = {name: array for name, array in inputs.items() if name in self.input_names}
        return dict(zip(self.run_names, self.session.run(self.run_names, known), strict=True))

    def read(self, tensor: Any) -> np.ndarray:
        """See `FileModel`."""
        return to_numpy(tensor)

    def write(self, name: str, array: np.ndarray) -> Any:
        """See `FileModel`."""
        return from_numpy(name, array)

    def convert(self, array: np.ndarray) -> np.ndarray:
        """See `FileModel`."""
        return array

    def join(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """See `FileModel`."""
        return np.concatenate(arrays)

    def keep(self, array: np.ndarray) -> np.ndarray:
        """See `FileModel`; the session's outputs are arrays of their own."""
        return array


def _compare(
    config: Configuration, what: str, expected: dict[str, np.dtype], nodes: Iterable[Any]
) -> None:
    found = {node.name: node.type for node in nodes}
    for name, dtype in expected.items():
        if name not in found:
            raise ConfigurationError(
                f"model {config.name}: {config.file} has no {what} {name}, it has "
                f"{', '.join(found)}"
            )
        kind = _TYPES.get(found[name], found[name].removeprefix("tensor(").removesuffix(")"))
        if kind != dtype.name:
            raise ConfigurationError(
                f"model {config.name}: {what} {name} is {dtype.name} in the configuration and "
                f"{kind} in {config.file}"
            )
