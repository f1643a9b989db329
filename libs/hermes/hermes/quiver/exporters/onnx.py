"""Networks to ONNX."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import EncodeError, Message

from hermes.errors import RepositoryError
from hermes.quiver.exporters.network import Network
from hermes.quiver.signature import Port, Signature

OPSET = 20


def converters(network: Network) -> list[Callable[..., onnx.ModelProto]]:
    """Ways to make a graph of a network, the ones to prefer first.

    The older exporter takes TorchScript and is quick; it has no Fourier transforms, and may take
    a length of the example for a constant. The newer one takes no TorchScript.
    """
    return [trace] if network.scripted else [trace, capture]


def trace(network: Network, arrays: Sequence[np.ndarray], signature: Signature) -> onnx.ModelProto:
    """Graph by torch's exporter of TorchScript."""
    arguments = network.tensors(arrays)
    traced = torch.jit.trace(network.module, arguments, check_trace=False)
    if any("fft" in node.kind() for node in traced.inlined_graph.nodes()):
        raise RepositoryError("the network takes Fourier transforms: a trace has no ONNX of them")
    free = {
        port.name: {i: f"{port.name}_{i}" for i, n in enumerate(port.shape) if n is None}
        for port in (*signature.inputs, *signature.outputs)
    }
    stream = io.BytesIO()
    torch.onnx.export(
        traced,
        arguments,
        stream,
        input_names=[port.name for port in signature.inputs],
        output_names=[port.name for port in signature.outputs],
        dynamic_axes={name: axes for name, axes in free.items() if axes},
        opset_version=OPSET,
        dynamo=False,
    )
    return onnx.load_from_string(stream.getvalue())


def capture(
    network: Network, arrays: Sequence[np.ndarray], signature: Signature
) -> onnx.ModelProto:
    """Graph by torch's exporter of captured programs."""
    free = tuple(
        {i: torch.export.Dim.AUTO for i, n in enumerate(port.shape) if n is None}
        for port in signature.inputs
    )
    program = torch.onnx.export(
        network.module,
        network.tensors(arrays),
        input_names=[port.name for port in signature.inputs],
        output_names=[port.name for port in signature.outputs],
        dynamic_shapes=free if any(free) else None,
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    return program.model_proto


def write(graph: onnx.ModelProto, path: Path) -> None:
    """Write a graph, without what tells of the machine that made it.

    Raises:
        RepositoryError: It is larger than a file of ONNX can be.
    """
    strip(graph)
    try:
        data = graph.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise RepositoryError(
            f"the graph does not fit the 2 GiB of a file of ONNX, export TORCHSCRIPT: {error}"
        ) from None
    path.write_bytes(data)


def strip(message: Message) -> None:
    """Clear descriptions and metadata, which hold paths and lines of source files."""
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props"):
            message.ClearField(field.name)
        elif field.type == field.TYPE_MESSAGE and field.message_type.name != "TensorProto":
            for part in [value] if isinstance(value, Message) else value:
                strip(part)


def load(path: Path, ports: Sequence[Port]) -> Callable[[Sequence[np.ndarray]], list[np.ndarray]]:
    """The model as onnxruntime runs it.

    Args:
        path: The file.
        ports: Inputs in order.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # arguments that change nothing are not in the graph
    known = {value.name for value in session.get_inputs()}
    missing = [port.name for port in ports if port.name not in known]
    if missing:
        raise RepositoryError(
            f"input {', '.join(missing)} is not in the graph: the outputs do not depend on it"
        )

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        feed = {port.name: array for port, array in zip(ports, arrays, strict=True)}
        return session.run(None, feed)

    return run
