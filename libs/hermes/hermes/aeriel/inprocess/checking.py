"""Whether a model can take what a request brings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInput, ModelOutput

from hermes.dtypes import from_config
from hermes.errors import InvalidRequest


@dataclass(frozen=True)
class TensorSpec:
    """What a configuration says about a tensor.

    Attributes:
        name: Its name.
        dtype: Its type.
        shape: Its whole shape, the batch axis included; -1 is any size.
        inner_shape: The shape that the model itself works with, where it differs (`reshape` in
            the configuration); else None.
        optional: Whether a request may leave it out.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    inner_shape: tuple[int, ...] | None = None
    optional: bool = False

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is one of these tensors."""
        return len(shape) == len(self.shape) and all(
            expected in (-1, found) for expected, found in zip(self.shape, shape, strict=True)
        )


def tensor_specs(
    tensors: Iterable[ModelInput | ModelOutput], max_batch_size: int
) -> tuple[TensorSpec, ...]:
    """Read what a configuration says about the inputs or the outputs.

    Args:
        tensors: `config.input` or `config.output`.
        max_batch_size: That of the configuration; above 0, the tensors have a batch axis in front.
    """
    batch = (-1,) if max_batch_size > 0 else ()
    specs = []
    for tensor in tensors:
        inner = (*batch, *tensor.reshape.shape) if tensor.HasField("reshape") else None
        specs.append(
            TensorSpec(
                tensor.name,
                from_config(tensor.data_type),
                (*batch, *tensor.dims),
                inner,
                isinstance(tensor, ModelInput) and tensor.optional,
            )
        )
    return tuple(specs)


class InputCheck:
    """Compares a request's arrays with a model's inputs, as Triton does before it runs anything.

    Args:
        config: The model's configuration.
    """

    def __init__(self, config: ModelConfig) -> None:
        self.specs = tensor_specs(config.input, config.max_batch_size)
        self._model = config.name
        self._names = frozenset(spec.name for spec in self.specs)
        self._max_batch_size = config.max_batch_size
        # Triton's sequence batcher fills the batch axis with sequences, one item of each.
        self._one_each = config.HasField("sequence_batching")

    def __call__(self, inputs: dict[str, np.ndarray]) -> None:
        """Check a request's arrays.

        Args:
            inputs: Arrays by name.

        Raises:
            InvalidRequest: A name, type, shape or batch size is wrong.
        """
        found = 0
        batch_size = None
        for spec in self.specs:
            array = inputs.get(spec.name)
            if array is None:
                if spec.optional:
                    continue
                raise InvalidRequest(
                    f"model {self._model} needs the input {spec.name}; the request has "
                    f"{_listed(inputs)}"
                )
            found += 1
            if array.dtype != spec.dtype:
                raise InvalidRequest(
                    f"input {spec.name} of model {self._model} is of type {array.dtype}, "
                    f"expected {spec.dtype}"
                )
            if array.shape != spec.shape and not spec.fits(array.shape):
                raise InvalidRequest(
                    f"input {spec.name} of model {self._model} has the shape "
                    f"{_shape(array.shape)}, expected {_shape(spec.shape)} (-1 is any size)"
                )
            if self._max_batch_size > 0:
                if batch_size is None:
                    batch_size = array.shape[0]
                self._check_batch(spec.name, array.shape[0], batch_size)
        if found != len(inputs):
            unknown = _listed(name for name in inputs if name not in self._names)
            raise InvalidRequest(
                f"model {self._model} has no input {unknown}: its inputs are "
                f"{_listed(self._names)}"
            )

    def _check_batch(self, name: str, found: int, expected: int) -> None:
        if found != expected:
            raise InvalidRequest(
                f"input {name} of model {self._model} has a batch of {found}, another input of "
                f"the same request has {expected}: make them equal"
            )
        if not 1 <= found <= self._max_batch_size:
            raise InvalidRequest(
                f"input {name} of model {self._model} has a batch of {found}, expected 1 to "
                f"{self._max_batch_size} (max_batch_size of its configuration)"
            )
        if self._one_each and found != 1:
            raise InvalidRequest(
                f"input {name} of model {self._model} has a batch of {found}: a model with "
                f"sequences takes one item per request, send the others one after the other"
            )


def reshaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Give an array another shape of as many elements; no copy is made.

    Args:
        array: The array.
        shape: New shape; an entry of -1 takes the size that is left, the first of several those
            of the array's own leading axes.
    """
    free = [place for place, size in enumerate(shape) if size == -1]
    sizes = list(shape)
    for place in free[:-1]:
        sizes[place] = array.shape[place]
    return array.reshape(sizes)


def writeable(array: np.ndarray) -> np.ndarray:
    """The array, or a copy if it cannot be written to: for models that write to their inputs."""
    return array if array.flags.writeable else array.copy()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
