"""What a caller says of a version that is to be exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hermes.dtypes import to_config
from hermes.errors import RepositoryError
from hermes.quiver.signature import Port, Signature

MAX_BATCH = 128


@dataclass(frozen=True)
class Declaration:
    """Arguments of `Model.export_version`; what is None is taken from the configuration."""

    input_shapes: Mapping[str, Sequence[int | None]] | None = None
    output_names: Sequence[str] | None = None
    states: Mapping[str, str] | None = None
    input_dtypes: Mapping[str, object] = field(default_factory=dict)
    output_shapes: Mapping[str, Sequence[int | None]] | None = None
    output_dtypes: Mapping[str, object] = field(default_factory=dict)
    examples: Mapping[str, np.ndarray] = field(default_factory=dict)
    max_batch: int = MAX_BATCH
    tolerance: float | None = None
    memory: int | None = None
    warm_up: int | None = None

    def inputs(self, default: np.dtype | None) -> list[Port]:
        """The declared inputs.

        Args:
            default: Type of an input for which none is given; None if the caller must say.

        Raises:
            RepositoryError: They are missing or wrong.
        """
        if not self.input_shapes:
            raise RepositoryError(
                'input_shapes is missing: the first export says what goes in, such as {"x": '
                "[None, 2, 2048]} with None for the batch axis"
            )
        for what, names in (("input_dtypes", self.input_dtypes), ("examples", self.examples)):
            require_known(what, names, self.input_shapes)
        ports = []
        for name, shape in self.input_shapes.items():
            dtype = default
            if name in self.input_dtypes:
                dtype = to_dtype(self.input_dtypes[name])
            elif name in self.examples:
                dtype = self.examples[name].dtype
            if dtype is None:
                raise RepositoryError(f"input {name}: its type is missing, give input_dtypes")
            ports.append(make_port("input", name, shape, dtype))
        for port in ports:
            if port.name in self.examples:
                _require_example(port, self.examples[port.name])
        return ports

    def require_equal(self, signature: Signature) -> None:
        """Check that what was declared is what the configuration says already.

        Raises:
            RepositoryError: It is not.
        """
        inputs = {port.name: port for port in signature.inputs}
        advice = "versions of a model share its configuration, so add another model for it"
        require_known("examples", self.examples, inputs)
        if self.input_shapes is not None:
            require_same("input_shapes", self.input_shapes, inputs)
            for name, shape in self.input_shapes.items():
                if tuple(shape) != inputs[name].shape:
                    raise RepositoryError(
                        f"input {inputs[name]} exists, but input_shapes says {tuple(shape)}: "
                        + advice
                    )
        for name, dtype in self.input_dtypes.items():
            require_known("input_dtypes", [name], inputs)
            if to_dtype(dtype) != inputs[name].dtype:
                raise RepositoryError(
                    f"input {inputs[name]} exists, but input_dtypes says {dtype}: {advice}"
                )
        if self.output_names is not None:
            require_same("output_names", self.output_names, [p.name for p in signature.outputs])
        if self.states is not None and dict(self.states) != dict(signature.states):
            raise RepositoryError(
                f"states are {dict(signature.states)}, but {dict(self.states)} are given: {advice}"
            )
        for name, array in self.examples.items():
            _require_example(inputs[name], array)


def require_same(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that names are the known ones in their order.

    Raises:
        RepositoryError: They are not.
    """
    if list(given) != list(known):
        raise RepositoryError(
            f"{what} names {', '.join(given)}, but the configuration has {', '.join(known)}: "
            "versions of a model share its configuration, so add another model for it"
        )


def require_known(what: str, names: Iterable[str], known: Mapping) -> None:
    """Check that names are known.

    Raises:
        RepositoryError: One is not.
    """
    for name in names:
        if name not in known:
            raise RepositoryError(f"{what} names {name}, but the inputs are {', '.join(known)}")


def make_port(kind: str, name: str, shape: Sequence[int | None], dtype: np.dtype) -> Port:
    """A port of checked shape and type.

    Raises:
        RepositoryError: They cannot be.
    """
    if not name or "," in name:
        raise RepositoryError(f'{kind} "{name}": a name is not empty and has no comma')
    shape = tuple(shape)
    if not shape:
        raise RepositoryError(f"{kind} {name} has no axis: models take arrays, give it one")
    for n in shape:
        if n is not None and (not isinstance(n, int | np.integer) or n < 1):
            raise RepositoryError(
                f"{kind} {name}: shape {list(shape)} has {n}; a length is above 0, or None where "
                "any goes"
            )
    try:
        to_config(dtype)
    except ValueError as error:
        raise RepositoryError(f"{kind} {name}: {error}") from None
    return Port(name, tuple(None if n is None else int(n) for n in shape), np.dtype(dtype))


def to_dtype(given: Any) -> np.dtype:
    """The numpy type of what a caller gives: a numpy type, a name, or torch's.

    Raises:
        RepositoryError: It is none.
    """
    try:
        # torch's print as torch.float32
        return np.dtype(str(given).removeprefix("torch.") if _is_torch(given) else given)
    except TypeError:
        raise RepositoryError(f"{given} is no type of numbers, such as float32") from None


def _is_torch(given: object) -> bool:
    return type(given).__module__ == "torch"


def _require_example(port: Port, array: np.ndarray) -> None:
    if array.dtype != port.dtype or not (
        len(array.shape) == len(port.shape)
        and all(n is None or n == m for n, m in zip(port.shape, array.shape, strict=True))
    ):
        raise RepositoryError(
            f"the example of input {port} has shape {array.shape} and type {array.dtype}"
        )
