"""Models in the layout of a Triton model repository."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnxruntime
import torch
from ledger import ProductError
from preprocessing import WhitenBlock
from torch import Tensor

log = logging.getLogger("export")


@dataclass(frozen=True)
class Port:
    """An input or output of a model.

    Attributes:
        name: Name.
        dims: Length of each axis; -1 where any length goes.
        axes: Names of the axes.
    """

    name: str
    dims: Sequence[int]
    axes: Sequence[str]


def config(name: str, platform: str, source: Port, target: Port) -> str:
    """Text of a `config.pbtxt`: one input, one output, float32, the batch among the dimensions."""

    def port(kind: str, item: Port) -> str:
        dims = ", ".join(str(d) for d in item.dims)
        return (
            f'{kind} [\n  {{\n    name: "{item.name}"\n    data_type: TYPE_FP32\n'
            f"    dims: [ {dims} ]\n  }}\n]\n"
        )

    return (
        f'name: "{name}"\nplatform: "{platform}"\nmax_batch_size: 0\n'
        f"{port('input', source)}{port('output', target)}"
    )


OPSET = 20


def to_onnx(
    module: torch.nn.Module, example: Tensor, source: Port, target: Port
) -> onnx.ModelProto:
    """ONNX graph of a module that is, or holds, TorchScript."""
    free = {
        port.name: {
            i: f"{port.name}_{axis}" for i, axis in enumerate(port.axes) if port.dims[i] < 0
        }
        for port in (source, target)
    }
    stream = io.BytesIO()
    torch.onnx.export(
        torch.jit.trace(module, example, check_trace=False),
        (example,),
        stream,
        input_names=[source.name],
        output_names=[target.name],
        dynamic_axes=free,
        opset_version=OPSET,
        dynamo=False,
    )
    return onnx.load_from_string(stream.getvalue())


def needs_torch(network: torch.jit.ScriptModule) -> bool:
    """Whether a network takes Fourier transforms, for which a trace has no ONNX operators."""
    return any("fft" in node.kind() for node in network.inlined_graph.nodes())


def whitening_to_onnx(block: WhitenBlock, example: Tensor, source: Port) -> onnx.ModelProto:
    """ONNX graph of the whitening, output `whitened`; its transforms need the newer exporter."""
    program = torch.onnx.export(
        block,
        (example,),
        input_names=[source.name],
        output_names=["whitened"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    return program.model_proto


def join(
    first: onnx.ModelProto, second: onnx.ModelProto, link: tuple[str, str]
) -> onnx.ModelProto:
    """One graph of two, the output of the first being the input of the second.

    Args:
        first: The first graph.
        second: The second graph.
        link: Name of the first's output and of the second's input.
    """
    version = max(first.ir_version, second.ir_version)
    first.ir_version = second.ir_version = version
    return onnx.compose.merge_models(
        onnx.compose.add_prefix(first, "whiten/", rename_inputs=False, rename_outputs=False),
        onnx.compose.add_prefix(second, "network/", rename_inputs=False, rename_outputs=False),
        io_map=[link],
    )


def add_onnx(
    folder: Path, name: str, graph: onnx.ModelProto, source: Port, target: Port
) -> Callable[[Tensor], Tensor]:
    """Add a model as ONNX.

    Args:
        folder: The repository.
        name: Name of the model.
        graph: The model.
        source: The input.
        target: The output.

    Returns:
        The model as onnxruntime runs it.
    """
    place = folder / name / "1"
    place.mkdir(parents=True)
    # names of files and lines of this machine are nobody's business, and would change the bytes
    for node in graph.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    onnx.save(graph, str(place / "model.onnx"))
    (folder / name / "config.pbtxt").write_text(config(name, "onnxruntime_onnx", source, target))
    session = onnxruntime.InferenceSession(
        str(place / "model.onnx"), providers=["CPUExecutionProvider"]
    )

    def run(values: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {source.name: values.numpy()})[0])

    return run


def add_torchscript(
    folder: Path, name: str, module: torch.nn.Module, example: Tensor, source: Port, target: Port
) -> Callable[[Tensor], Tensor]:
    """Add a module as TorchScript, traced on an example; see `add_onnx`."""
    place = folder / name / "1"
    place.mkdir(parents=True)
    traced = torch.jit.trace(module, example, check_trace=False)
    traced.save(str(place / "model.pt"))
    # libtorch has no names: Triton numbers the ports
    ports = (
        Port("INPUT__0", source.dims, source.axes),
        Port("OUTPUT__0", target.dims, target.axes),
    )
    (folder / name / "config.pbtxt").write_text(config(name, "pytorch_libtorch", *ports))
    return torch.jit.load(str(place / "model.pt"))


def require_equal(name: str, found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> float:
    """Stop if a model's output is not the network's.

    Args:
        name: Name of the model.
        found: Output of the exported model.
        expected: Output of the network.
        tolerance: Largest difference, relative to the spread of the output.

    Returns:
        The largest difference relative to the spread.

    Raises:
        ProductError: It exceeds the tolerance or is not finite, or the network gives the same
            value for every input.
    """
    spread = float(expected.std())
    if spread < 1e-5 * max(1.0, float(expected.abs().max())):
        raise ProductError(
            f"model {name} gives {float(expected.mean()):.4g} whatever it sees: training has "
            "failed (dead units), lower model.learning_rate and train again"
        )
    largest = float(np.abs((found - expected).numpy()).max()) / spread
    if not largest <= tolerance:
        raise ProductError(
            f"exported model {name} differs from the trained network by {largest:.2g} of the "
            f"output's spread, more than {tolerance:.2g}: not published"
        )
    log.info("%s: differs from the network by at most %.2g of the spread", name, largest)
    return largest


def digest(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entries(folder: Path, differences: dict[str, float]) -> dict[str, Any]:
    """What `repository.yaml` says of each model."""
    found = {}
    for name, difference in differences.items():
        (file,) = (folder / name / "1").iterdir()
        found[name] = {
            "file": str(file.relative_to(folder)),
            "sha256": digest(file),
            "difference": difference,
        }
    return found
