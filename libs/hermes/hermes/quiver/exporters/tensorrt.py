"""ONNX graphs to TensorRT, on a machine that has it and a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hermes.errors import RepositoryError
from hermes.quiver.signature import Port


def require() -> Any:
    """The package.

    Raises:
        RepositoryError: It is not installed, or there is no GPU.
    """
    try:
        import tensorrt
    except ImportError:
        raise RepositoryError(
            "platform TENSORRT needs the package tensorrt, which is not installed: install it, or "
            "export ONNX"
        ) from None
    if not torch.cuda.is_available():
        raise RepositoryError("platform TENSORRT needs a GPU, and there is none: export ONNX")
    return tensorrt


def write(graph: Path, ports: Sequence[Port], max_batch: int, path: Path) -> None:
    """Write the plan of a graph for the GPU of this machine.

    Numbers are computed in the graph's types, not in the shorter TF32.

    Args:
        graph: File of the graph.
        ports: Its inputs; only their batch axes may be free.
        max_batch: Largest batch.
        path: The file to write.

    Raises:
        RepositoryError: TensorRT cannot take the graph.
    """
    trt = require()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        raise RepositoryError(f"TensorRT cannot read the graph: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    for port in ports:
        if None in port.shape[1:]:
            raise RepositoryError(f"input {port}: with TENSORRT only the batch axis may vary")
        if None in port.shape:
            smallest, largest = (1, *port.shape[1:]), (max_batch, *port.shape[1:])
            profile.set_shape(port.name, smallest, largest, largest)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RepositoryError("TensorRT cannot build a plan of the graph")
    path.write_bytes(bytes(plan))


def load(
    path: Path, inputs: Sequence[Port], outputs: Sequence[Port]
) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """The model as TensorRT runs it."""
    trt = require()
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(path.read_bytes())
    context = engine.create_execution_context()

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        tensors = []
        for port, array in zip(inputs, arrays, strict=True):
            tensors.append(torch.from_numpy(array).cuda())
            context.set_input_shape(port.name, array.shape)
            context.set_tensor_address(port.name, tensors[-1].data_ptr())
        results = []
        for port in outputs:
            shape = tuple(context.get_tensor_shape(port.name))
            dtype = torch.from_numpy(np.empty(0, port.dtype)).dtype
            results.append(torch.empty(shape, dtype=dtype, device="cuda"))
            context.set_tensor_address(port.name, results[-1].data_ptr())
        stream = torch.cuda.current_stream()
        context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        return [result.cpu().numpy() for result in results]

    return run
