"""Streaming models put into a repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hermes.errors import RepositoryError
from hermes.quiver.parameters import MEMORY, REACH, WARM_UP, WINDOWS, set_text
from hermes.quiver.platform import Platform
from hermes.quiver.streaming.averager import OnlineAverager
from hermes.quiver.streaming.snapshotter import Snapshotter
from hermes.quiver.tensor import ExposedTensor

if TYPE_CHECKING:
    from hermes.quiver.model import Model
    from hermes.quiver.repository import ModelRepository


def require_batch(tensor: ExposedTensor, batch_size: int) -> None:
    """Check that a model takes or gives batches of a size.

    Raises:
        RepositoryError: It does not.
    """
    largest = tensor.model.config.max_batch_size
    first = tensor.shape[0]
    if largest and batch_size > largest:
        raise RepositoryError(
            f"batch_size is {batch_size}, but {tensor.model.name} takes batches up to "
            f"max_batch_size {largest}: export it with a larger max_batch"
        )
    if first not in (None, batch_size):
        raise RepositoryError(f"batch_size is {batch_size}, but {tensor} has batches of {first}")


def fixed(tensor: ExposedTensor) -> list[int]:
    """Shape of windows without the batch axis: (channel, time) or (time,).

    Raises:
        RepositoryError: It is another.
    """
    rest = [n for n in tensor.shape[1:] if n is not None]
    if not 1 <= len(rest) <= 2 or len(rest) < len(tensor.shape) - 1:
        raise RepositoryError(
            f"{tensor} is not windows of a stream: those have shape (batch, channel, time) or "
            "(batch, time), with all but the batch fixed"
        )
    return rest


def build_snapshotter(
    repository: ModelRepository,
    inputs: Sequence[ExposedTensor],
    stream_size: int,
    batch_size: int,
    name: str,
    hold: Callable[[Model], None],
) -> Model:
    """Add a snapshotter for some inputs; `hold` says how its sequences are held.

    Raises:
        RepositoryError: The inputs cannot be windows of one stream.
    """
    lengths: set[int] = set()
    types: set[np.dtype] = set()
    channels: list[int] = []
    for tensor in inputs:
        require_batch(tensor, batch_size)
        rest = fixed(tensor)
        lengths.add(rest[-1])
        types.add(tensor.dtype)
        channels.append(rest[0] if len(rest) == 2 else 0)
    if len(lengths) > 1 or len(types) > 1:
        raise RepositoryError(
            "these cannot take windows of one stream, their lengths or types differ: "
            + "; ".join(map(str, inputs))
        )
    try:
        snapshotter = Snapshotter(lengths.pop(), stream_size, batch_size, channels)
    except ValueError as error:
        raise RepositoryError(f"{name}: {error}") from None
    count = snapshotter.num_channels
    names = [tensor.name for tensor in inputs]
    if len(set(names)) < len(names):
        names = [f"{tensor.model.name}.{tensor.name}" for tensor in inputs]
    if len(set(names)) < len(names):
        names = [f"{name}.{i}" for i, name in enumerate(names)]
    return _export(
        repository,
        snapshotter,
        name,
        hold,
        input_shapes={
            "stream": [1, count, snapshotter.update_size],
            "snapshot": [1, count, snapshotter.snapshot_size],
        },
        output_names=[*names, "next_snapshot"],
        states={"snapshot": "next_snapshot"},
        input_dtypes=dict.fromkeys(("stream", "snapshot"), types.pop()),
    )


def build_averager(
    repository: ModelRepository,
    output: ExposedTensor,
    update_size: int,
    num_updates: int,
    batch_size: int,
    name: str,
    hold: Callable[[Model], None],
) -> Model:
    """Add an averager of an output; `hold` says how its sequences are held.

    Raises:
        RepositoryError: The output is not windows of real numbers of that length.
    """
    require_batch(output, batch_size)
    rest = fixed(output)
    if output.dtype.kind != "f":
        raise RepositoryError(f"{output} cannot be averaged: averages are of real numbers")
    if rest[-1] < num_updates * update_size:
        raise RepositoryError(
            f"{output} has {rest[-1]} samples, fewer than num_updates * update_size = "
            f"{num_updates * update_size}"
        )
    channels = rest[0] if len(rest) == 2 else None
    try:
        averager = OnlineAverager(update_size, num_updates, batch_size, channels)
    except ValueError as error:
        raise RepositoryError(f"{name}: {error}") from None
    state = [1, *rest[:-1], averager.state_size]
    return _export(
        repository,
        averager,
        name,
        hold,
        input_shapes={"windows": [batch_size, *rest], "sums": state},
        output_names=["stream", "next_sums"],
        states={"sums": "next_sums"},
        input_dtypes=dict.fromkeys(("windows", "sums"), output.dtype),
    )


def _export(
    repository: ModelRepository,
    module: Snapshotter | OnlineAverager,
    name: str,
    hold: Callable[[Model], None],
    **declaration: object,
) -> Model:
    updates = -(-module.reach // module.batch_size)
    model = repository.add(name, Platform.ONNX)
    try:
        hold(model)
        for parameter, value in (
            (MEMORY, updates),
            (WARM_UP, updates),
            (REACH, module.reach),
            (WINDOWS, module.batch_size),
        ):
            set_text(model.config, parameter, str(value))
        model.export_version(module, **declaration)  # type: ignore[arg-type]
    except BaseException:
        del repository.models[name]
        raise
    return model
