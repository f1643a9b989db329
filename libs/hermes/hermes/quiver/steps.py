"""Steps of an ensemble: what flows from where to where."""

from __future__ import annotations

from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.errors import RepositoryError
from hermes.quiver.platform import Platform


def check_steps(config: ModelConfig, platform: Platform) -> None:
    """Check that an ensemble's tensors come from somewhere, once, and not from themselves.

    Raises:
        RepositoryError: Names the step and the tensor.
    """
    steps = config.ensemble_scheduling.step
    if platform is not Platform.ENSEMBLE:
        if steps:
            raise RepositoryError("ensemble_scheduling is set, but platform is not ensemble")
        return
    if not steps:
        raise RepositoryError("ensemble_scheduling.step is missing: an ensemble has at least one")
    sources = {port.name: "an input of the ensemble" for port in config.input}
    for i, step in enumerate(steps):
        field = f"ensemble_scheduling.step[{i}]"
        if not step.model_name:
            raise RepositoryError(f"{field}.model_name is missing")
        for kind in ("input_map", "output_map"):
            if not getattr(step, kind):
                raise RepositoryError(f"{field}.{kind} is missing")
        if step.model_version == 0 or step.model_version < -1:
            raise RepositoryError(
                f"{field}.model_version is {step.model_version}: it is -1 for the one that the "
                "model serves by itself, or a number from 1"
            )
        for tensor in step.output_map.values():
            if tensor in sources:
                raise RepositoryError(
                    f'{field}.output_map: "{tensor}" comes from {sources[tensor]} too'
                )
            sources[tensor] = f"step[{i}]"
    for i, step in enumerate(steps):
        for tensor in step.input_map.values():
            if tensor not in sources:
                raise RepositoryError(
                    f'ensemble_scheduling.step[{i}].input_map: nothing gives "{tensor}"'
                )
    for port in config.output:
        if port.name not in sources:
            raise RepositoryError(f'output "{port.name}": no step gives it')
    order_steps(config)


def order_steps(config: ModelConfig) -> list[int]:
    """Numbers of an ensemble's steps, each after those that it needs.

    Raises:
        RepositoryError: They go in a circle.
    """
    known = {port.name for port in config.input}
    left = list(enumerate(config.ensemble_scheduling.step))
    order = []
    while left:
        ready = [(i, step) for i, step in left if set(step.input_map.values()) <= known]
        if not ready:
            names = ", ".join(f"step[{i}] ({step.model_name})" for i, step in left)
            raise RepositoryError(f"ensemble_scheduling: {names} wait for each other in a circle")
        for i, step in ready:
            known.update(step.output_map.values())
            order.append(i)
        left = [item for item in left if item not in ready]
    return order
