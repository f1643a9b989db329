"""What the backends read from a model's configuration, as the server hands it over."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {
    "TYPE_BOOL": "bool",
    "TYPE_UINT8": "uint8",
    "TYPE_UINT16": "uint16",
    "TYPE_UINT32": "uint32",
    "TYPE_UINT64": "uint64",
    "TYPE_INT8": "int8",
    "TYPE_INT16": "int16",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_FP16": "float16",
    "TYPE_FP32": "float32",
    "TYPE_FP64": "float64",
}


class ConfigurationError(ValueError):
    """The configuration asks for what cannot be, or does not fit the model's file."""


@dataclass(frozen=True)
class ImplicitState:
    """A tensor that the server carries from one request of a sequence to the next.

    Attributes:
        input_name: Input by which the model takes it.
        output_name: Output by which the model gives it back.
        initial: What a sequence begins with, with a batch axis of 1 where the model has one.
    """

    input_name: str
    output_name: str
    initial: np.ndarray


@dataclass(frozen=True)
class Configuration:
    """A model as the server was told about it.

    Attributes:
        name: The model's name.
        file: The file to run.
        inputs: Type of each input that is not a state, in the order of the configuration.
        outputs: Likewise of the outputs.
        states: Its states.
        batched: Whether the tensors have a batch axis first.
        stateful: Whether its requests belong to sequences.
        idle_length: Time after which an idle sequence is forgotten [s].
        parameters: Settings of the backend.
        graph_level: Level of graph optimisation asked for; 0 for the default.
        device: Number of the GPU that the instance is to use; None for none.
    """

    name: str
    file: Path
    inputs: dict[str, np.dtype]
    outputs: dict[str, np.dtype]
    states: list[ImplicitState]
    batched: bool
    stateful: bool
    idle_length: float
    parameters: dict[str, str] = field(default_factory=dict)
    graph_level: int = 0
    device: int | None = None

    def read_count(self, parameter: str, default: int) -> int:
        """A number of threads from the parameters.

        Raises:
            ConfigurationError: It is no whole number of at least 1.
        """
        text = self.parameters.get(parameter, str(default))
        if not text.isdigit() or int(text) < 1:
            raise ConfigurationError(
                f'model {self.name}: parameter {parameter} is "{text}", it must be a whole number '
                "of at least 1"
            )
        return int(text)


def read_configuration(
    config: Mapping[str, Any], arguments: Mapping[str, str], default_file: str
) -> Configuration:
    """Read a model's configuration.

    Args:
        config: The configuration, from the server's JSON.
        arguments: The other arguments with which the server makes an instance.
        default_file: Name of the model's file where the configuration names none.

    Raises:
        ConfigurationError: A type or a shape in it cannot be used.
    """
    folder = Path(arguments["model_repository"])
    file = config.get("default_model_filename") or default_file
    batching = config.get("sequence_batching") or {}
    batched = int(config.get("max_batch_size", 0)) > 0
    device = None
    if arguments["model_instance_kind"] == "GPU":
        device = int(arguments["model_instance_device_id"])
    graph = (config.get("optimization") or {}).get("graph") or {}
    return Configuration(
        name=config["name"],
        file=folder / arguments["model_version"] / file,
        inputs=_types(config["name"], config.get("input", [])),
        outputs=_types(config["name"], config.get("output", [])),
        states=[
            read_state(config["name"], state, batched, folder)
            for state in batching.get("state", [])
        ],
        batched=batched,
        stateful=bool(batching),
        idle_length=int(batching.get("max_sequence_idle_microseconds", 0) or 1_000_000) / 1e6,
        parameters={
            name: value["string_value"] for name, value in config.get("parameters", {}).items()
        },
        graph_level=int(graph.get("level", 0)),
        device=device,
    )


def read_state(model: str, state: Mapping[str, Any], batched: bool, folder: Path) -> ImplicitState:
    """Read one state, with what it begins with.

    Args:
        model: Name of the model.
        state: Its entry in the configuration.
        batched: Whether the model has a batch axis.
        folder: The model's folder, which may hold the initial value in `initial_state`.

    Raises:
        ConfigurationError: The initial value has no definite shape, or its file does not fit.
    """
    name = state["input_name"]
    first = (state.get("initial_state") or [{}])[0]
    dtype = _dtype(model, first.get("data_type", state["data_type"]))
    dims = [int(size) for size in first.get("dims") or state["dims"]]
    if any(size < 0 for size in dims):
        raise ConfigurationError(
            f"model {model}: state {name} begins with shape {dims}: state fixed `dims` in its "
            "`initial_state`"
        )
    if batched:
        dims = [1, *dims]
    if first.get("data_file"):
        values = np.fromfile(folder / "initial_state" / first["data_file"], dtype)
        if values.size != np.prod(dims):
            raise ConfigurationError(
                f"model {model}: initial_state/{first['data_file']} holds {values.size} values, "
                f"the shape {dims} of state {name} has {np.prod(dims)}"
            )
        return ImplicitState(name, state["output_name"], values.reshape(dims))
    return ImplicitState(name, state["output_name"], np.zeros(dims, dtype))


def _types(model: str, tensors: Iterable[Mapping[str, Any]]) -> dict[str, np.dtype]:
    return {tensor["name"]: _dtype(model, tensor["data_type"]) for tensor in tensors}


def _dtype(model: str, name: str) -> np.dtype:
    if name not in _TYPES:
        raise ConfigurationError(
            f"model {model}: type {name} is not supported, types are {', '.join(_TYPES)}"
        )
    return np.dtype(_TYPES[name])
