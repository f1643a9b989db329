"""Order of requests on their way to a state.

Several requests of a sequence may be in an ensemble at once. A model of several instances answers
the one that is done first, and what follows with a state would take updates in the wrong order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tritonclient.grpc.model_config_pb2 import ModelConfig

if TYPE_CHECKING:
    from hermes.quiver.ensemble import EnsembleModel, Step
    from hermes.quiver.model import Model


def keeps_order(config: ModelConfig) -> bool:
    """Whether a model without states answers in the order of the requests.

    One copy of it does, on a machine with one GPU or none. Where nothing is said a server may
    run two.
    """
    if config.HasField("dynamic_batching"):
        return config.dynamic_batching.preserve_ordering
    groups = config.instance_group
    return len(groups) == 1 and groups[0].count == 1 and len(groups[0].gpus) <= 1


def find_unordered(ensemble: EnsembleModel) -> list[tuple[Model, int | None]]:
    """Models that feed a state and may answer in another order than asked.

    Returns:
        Each model, and the size of its batches where all are of one size.
    """
    steps = ensemble.steps
    protos = ensemble.config.ensemble_scheduling.step
    sources = {name: step for step in steps for name in protos[step.index].output_map.values()}
    found: dict[str, tuple[Model, int | None]] = {}
    seen: set[int] = set()
    left = [step for step in steps if step.model.stateful]
    while left:
        step = left.pop()
        for name in protos[step.index].input_map.values():
            source = sources.get(name)
            if source is None or source.model.stateful or source.index in seen:
                continue
            seen.add(source.index)
            left.append(source)
            for model in _leaves(source.model):
                if not keeps_order(model.config):
                    found[model.name] = (model, _batch_size(ensemble, source))
    return list(found.values())


def _leaves(model: Model) -> list[Model]:
    """The model, or the models that an ensemble is made of."""
    names = [step.model_name for step in model.config.ensemble_scheduling.step]
    if not names:
        return [model]
    return [leaf for name in names for leaf in _leaves(model.repository.models[name])]


def _batch_size(ensemble: EnsembleModel, step: Step) -> int | None:
    """Size of a step's batches, from those that it is joined to."""
    protos = ensemble.config.ensemble_scheduling.step
    proto = protos[step.index]
    joined = {*proto.input_map.values(), *proto.output_map.values()}
    sizes = set()
    for other in ensemble.steps:
        for tensors, names in (
            (other.inputs, protos[other.index].input_map),
            (other.outputs, protos[other.index].output_map),
        ):
            for tensor in tensors.values():
                if names.get(tensor.config_name) in joined and tensor.shape[0] is not None:
                    sizes.add(tensor.shape[0])
    return sizes.pop() if len(sizes) == 1 else None


@contextmanager
def keeping_order(ensemble: EnsembleModel) -> Iterator[None]:
    """Have the models that feed a state keep the order; undone if what follows fails.

    With batches, the server's batcher puts answers in order, for any number of instances and
    GPUs; told the size of a request it joins none, so that rounding is as in each by itself.
    Without batches there is no such batcher, and one instance is asked for.
    """
    changed: list[tuple[Model, ModelConfig]] = []
    try:
        for model, batch_size in find_unordered(ensemble):
            before = ModelConfig()
            before.CopyFrom(model.config)
            changed.append((model, before))
            if model.config.max_batch_size:
                batching = model.config.dynamic_batching
                batching.preserve_ordering = True
                if batch_size and not before.HasField("dynamic_batching"):
                    batching.preferred_batch_size[:] = [batch_size]
            else:
                del model.config.instance_group[1:]
                model.scale_instance_group(1)
                del model.config.instance_group[0].gpus[1:]
            model.write_config()
        yield
    except BaseException:
        for model, before in changed:
            model.config.CopyFrom(before)
            model.write_config()
        raise
