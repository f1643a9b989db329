"""Inputs and outputs of models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hermes.quiver.model import Model

Shape = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class ExposedTensor:
    """An input or output of a model.

    Attributes:
        model: The model.
        name: Its name; for TorchScript without the number that Triton asks for.
        shape: Whole shape with the batch axis; None where any length goes.
        dtype: Type of its numbers.
        config_name: Its name in the configuration and in requests.
        step: The step of an ensemble that it is of; None for the model's only one.
    """

    model: Model
    name: str
    shape: Shape
    dtype: np.dtype
    config_name: str
    step: int | None = None

    def __str__(self) -> str:
        return f"{self.model.name}/{self.name} {show(self.shape)} {self.dtype}"


def show(shape: Shape) -> str:
    """A shape as people read it, with `any` where any length goes."""
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"


def fits(first: Shape, second: Shape) -> bool:
    """Whether arrays exist that have both shapes."""
    return len(first) == len(second) and all(
        a == b or a is None or b is None for a, b in zip(first, second, strict=True)
    )


_NUMBERED = re.compile(r"(.+)__(\d+)")


def plain_name(name: str) -> str:
    """Name of a tensor without the number, as in `strain__0`, that Triton asks of TorchScript."""
    match = _NUMBERED.fullmatch(name)
    return match[1] if match else name


def number_of(name: str) -> int | None:
    """The number in a name such as `strain__0`; None if there is none."""
    match = _NUMBERED.fullmatch(name)
    return int(match[2]) if match else None
