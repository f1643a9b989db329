"""What goes into a model and what comes out, states among them, in the order of its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.dtypes import from_config, to_config
from hermes.errors import RepositoryError
from hermes.quiver.parameters import INPUTS, OUTPUTS, get_text, set_text
from hermes.quiver.platform import Platform
from hermes.quiver.tensor import Shape, number_of, plain_name, show


@dataclass(frozen=True)
class Port:
    """One argument or result.

    Attributes:
        name: Its name.
        shape: Whole shape; None where any length goes, first for the batch axis.
        dtype: Type of its numbers.
    """

    name: str
    shape: Shape
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.name} {show(self.shape)} {self.dtype}"


@dataclass(frozen=True)
class Signature:
    """Arguments and results of a model.

    Attributes:
        inputs: Arguments in order, states among them.
        outputs: Results in order, states among them.
        states: Name of the result that is the next value of an argument, by the argument's name.
    """

    inputs: Sequence[Port]
    outputs: Sequence[Port]
    states: Mapping[str, str]

    def __str__(self) -> str:
        inputs, outputs = ", ".join(map(str, self.inputs)), ", ".join(map(str, self.outputs))
        return f"{inputs} -> {outputs}" + (f", states {dict(self.states)}" if self.states else "")


def check_states(signature: Signature) -> None:
    """Check that states are arguments and results that agree.

    Raises:
        RepositoryError: They are not or do not, or nothing is left beside them.
    """
    inputs = {port.name: port for port in signature.inputs}
    outputs = {port.name: port for port in signature.outputs}
    for source, target in signature.states.items():
        for kind, name, ports in (("input", source, inputs), ("output", target, outputs)):
            if name not in ports:
                raise RepositoryError(
                    f'state "{source}": there is no {kind} {name}, only {", ".join(ports)}'
                )
        before, after = inputs[source], outputs[target]
        if before.dtype != after.dtype or len(before.shape) != len(after.shape):
            raise RepositoryError(f"state {before} becomes {after}: type and shape must stay")
        if any(a != b and a is not None for a, b in zip(before.shape, after.shape, strict=True)):
            raise RepositoryError(f"state {before} becomes {after}: type and shape must stay")
        if None in before.shape[1:]:
            raise RepositoryError(f"state {before}: a state begins as zeros of one shape")
    if len(set(signature.states.values())) < len(signature.states):
        raise RepositoryError(f"states are {dict(signature.states)}: an output is there twice")
    if not set(inputs) - set(signature.states):
        raise RepositoryError("all inputs are states: a model has at least one that is not")
    if not set(outputs) - set(signature.states.values()):
        raise RepositoryError("all outputs are states: a model has at least one that is not")


def read_signature(config: ModelConfig) -> Signature:
    """Signature that a configuration tells."""
    numbered = Platform.of(config) is Platform.TORCHSCRIPT
    batch: Shape = (None,) if config.max_batch_size else ()

    def port(name: str, dims: Sequence[int], data_type: int) -> Port:
        shape = (*batch, *(None if n == -1 else n for n in dims))
        return Port(name, shape, from_config(data_type))

    states = config.sequence_batching.state
    inputs = [port(p.name, p.dims, p.data_type) for p in config.input]
    inputs += [port(s.input_name, s.dims, s.data_type) for s in states]
    outputs = [port(p.name, p.dims, p.data_type) for p in config.output]
    outputs += [port(s.output_name, s.dims, s.data_type) for s in states]
    plain = plain_name if numbered else str
    return Signature(
        _sort(inputs, get_text(config, INPUTS), numbered),
        _sort(outputs, get_text(config, OUTPUTS), numbered),
        {plain(s.input_name): plain(s.output_name) for s in states},
    )


def _sort(ports: list[Port], order: str | None, numbered: bool) -> list[Port]:
    if numbered:
        ports = sorted(ports, key=lambda port: number_of(port.name) or 0)
        return [Port(plain_name(port.name), port.shape, port.dtype) for port in ports]
    if order is not None:
        names = order.split(",")
        if sorted(names) != sorted(port.name for port in ports):
            raise RepositoryError(
                f"parameter {INPUTS} or {OUTPUTS} is {order}, but the names are "
                + ", ".join(port.name for port in ports)
            )
        return sorted(ports, key=lambda port: names.index(port.name))
    return ports


def write_signature(
    config: ModelConfig, signature: Signature, platform: Platform, batched: bool, max_batch: int
) -> None:
    """Put a signature into a configuration that has none yet.

    Args:
        config: The configuration; changed.
        signature: What goes in and out.
        platform: What will run the model.
        batched: Whether the first axis of all is the batch's.
        max_batch: Largest batch, where `batched`.
    """
    check_states(signature)
    config.max_batch_size = max_batch if batched else 0
    names: list[dict[str, str]] = []
    for ports in (signature.inputs, signature.outputs):
        numbered = platform is Platform.TORCHSCRIPT
        names.append(
            {p.name: f"{p.name}__{i}" if numbered else p.name for i, p in enumerate(ports)}
        )
    inputs = {port.name: port for port in signature.inputs}
    for port in signature.inputs:
        if port.name not in signature.states:
            config.input.add(
                name=names[0][port.name],
                data_type=to_config(port.dtype),
                dims=_dims(port, batched),
            )
    for port in signature.outputs:
        if port.name not in signature.states.values():
            config.output.add(
                name=names[1][port.name],
                data_type=to_config(port.dtype),
                dims=_dims(port, batched),
            )
    for source, target in signature.states.items():
        port = inputs[source]
        state = config.sequence_batching.state.add(
            input_name=names[0][source],
            output_name=names[1][target],
            data_type=to_config(port.dtype),
            dims=_dims(port, batched),
        )
        # without it a server may begin with whatever is in memory
        state.initial_state.add(
            name=f"zeros of {source}",
            data_type=state.data_type,
            dims=state.dims,
            zero_data=True,
        )
    if platform is not Platform.TORCHSCRIPT:
        told = read_signature(config)
        for name, given, found in (
            (INPUTS, signature.inputs, told.inputs),
            (OUTPUTS, signature.outputs, told.outputs),
        ):
            order = [port.name for port in given]
            differs = order != [port.name for port in found]
            set_text(config, name, ",".join(order) if differs else None)


def _dims(port: Port, batched: bool) -> list[int]:
    return [-1 if n is None else n for n in port.shape[int(batched) :]]
