"""What a model takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes import dtypes
from hermes.errors import InvalidRequest
from hermes.quiver.platform import Platform
from hermes.quiver.tensor import plain_name

Tensors = dict[str, tuple[np.dtype, tuple[int | None, ...]]]


def is_stateful(config: ModelConfig, find: Callable[[str, int], ModelConfig]) -> bool:
    """Whether a model, or any step of an ensemble, keeps state between requests.

    Args:
        config: The model's configuration.
        find: Gives the configuration of another model of the repository by name and version.
    """
    if config.HasField("sequence_batching"):
        return True
    return any(
        is_stateful(find(step.model_name, step.model_version), find)
        for step in config.ensemble_scheduling.step
    )


class Signature:
    """Names, types and shapes of a model's inputs and outputs.

    Those of TorchScript are known by their plain names, without the number that Triton asks for.

    Args:
        config: The model's configuration.

    Attributes:
        inputs: Type and shape by name, with the batch axis; None for any length.
        outputs: The same of the outputs.
    """

    def __init__(self, config: ModelConfig) -> None:
        batched = config.max_batch_size > 0
        # a server may run platforms that are unknown here
        numbered = config.platform == Platform.TORCHSCRIPT.value or config.backend == "pytorch"
        ports = (*config.input, *config.output)
        # plain name of each, and back
        self._plain = {p.name: plain_name(p.name) if numbered else p.name for p in ports}
        self._full = {self._plain[port.name]: port.name for port in config.input}
        self.inputs = _tensors(config.input, self._plain, batched)
        self.outputs = _tensors(config.output, self._plain, batched)
        self._max_batch_size = config.max_batch_size
        self._optional = {self._plain[port.name] for port in config.input if port.optional}

    def check(self, x: Any) -> dict[str, np.ndarray]:
        """The arrays of a request by name.

        Args:
            x: An array for a model with one input, or arrays by name. Lists and numbers take the
                type of the input; an array must have it.

        Returns:
            The arrays by the names of the configuration.

        Raises:
            InvalidRequest: A name, type or shape is wrong.
        """
        given: Mapping[str, Any]
        if isinstance(x, Mapping):
            given = {self._plain.get(str(name), str(name)): value for name, value in x.items()}
        elif len(self.inputs) == 1:
            given = dict.fromkeys(self.inputs, x)
        else:
            raise InvalidRequest(
                f"one array for {len(self.inputs)} inputs: give a dict by name, "
                f"{', '.join(self.inputs)}"
            )
        arrays = {name: self._check_one(name, value) for name, value in given.items()}
        missing = self.inputs.keys() - arrays.keys() - self._optional
        if missing:
            raise InvalidRequest(
                f"no input {', '.join(sorted(missing))}: the model takes {', '.join(self.inputs)}"
            )
        if self._max_batch_size and len({len(array) for array in arrays.values()}) > 1:
            sizes = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
            raise InvalidRequest(f"inputs differ in batch size: {sizes}")
        return {self._full[name]: array for name, array in arrays.items()}

    def unwrap(self, outputs: dict[str, np.ndarray]) -> Any:
        """The array of a model with one output, otherwise arrays by name."""
        if len(self.outputs) == 1 and len(outputs) == 1:
            return next(iter(outputs.values()))
        return {self._plain.get(name, name): array for name, array in outputs.items()}

    def _check_one(self, name: str, value: Any) -> np.ndarray:
        if name not in self.inputs:
            raise InvalidRequest(f"no input {name}: the model takes {', '.join(self.inputs)}")
        dtype, shape = self.inputs[name]
        try:
            array = np.asarray(value, dtype=None if hasattr(value, "dtype") else dtype)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"input {name} is no array of {dtype}: {error}") from error
        if array.dtype != dtype:
            raise InvalidRequest(
                f"input {name} is {array.dtype}, the model takes {dtype}: convert it with astype"
            )
        fits = array.ndim == len(shape) and all(
            length is None or length == size
            for length, size in zip(shape, array.shape, strict=True)
        )
        if not fits:
            expected = ", ".join("any" if length is None else str(length) for length in shape)
            raise InvalidRequest(
                f"input {name} has shape {array.shape}, the model takes ({expected})"
            )
        if self._max_batch_size and not 0 < len(array) <= self._max_batch_size:
            raise InvalidRequest(
                f"input {name} has batch size {len(array)}, the model takes 1 to "
                f"{self._max_batch_size}"
            )
        return array


def _tensors(declared: Any, plain: Mapping[str, str], batched: bool) -> Tensors:
    return {
        plain[tensor.name]: (
            dtypes.from_config(tensor.data_type),
            (None,) * batched + tuple(None if size == -1 else int(size) for size in tensor.dims),
        )
        for tensor in declared
    }
