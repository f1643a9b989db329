"""Ensembles: models that feed each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.errors import InferenceError, RepositoryError

from .checking import InputCheck
from .models import Call, Model


@dataclass(frozen=True)
class Step:
    """A model in an ensemble.

    Attributes:
        model: The model, which may be an ensemble itself.
        inputs: Name of the model's input and of the ensemble's tensor that it takes, for each.
        outputs: Name of the model's output and of the ensemble's tensor that it gives, for each.
    """

    model: Model | Ensemble
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


class Ensemble:
    """One version of an ensemble; its steps pass arrays to each other without copies.

    Args:
        config: Its configuration.
        version: The version.
        steps: Its models, each after those that it needs.

    Raises:
        RepositoryError: A model with states is there twice: both would share one state.
    """

    def __init__(self, config: ModelConfig, version: int, steps: list[Step]) -> None:
        self.config = config
        self.version = version
        self.check = InputCheck(config)
        self._steps = steps
        self._outputs = [output.name for output in config.output]
        names = [model.config.name for model in self.stateful_models]
        for name in names:
            if names.count(name) > 1:
                raise RepositoryError(
                    f"the ensemble {config.name} runs {name} more than once, which has one state "
                    f"per sequence: copy the model under another name"
                )

    @property
    def stateful_models(self) -> list[Model]:
        """All models in it that keep something between requests."""
        return [model for model in self.models if model.is_stateful]

    @property
    def models(self) -> list[Model]:
        """All models in it, those of ensembles in it too."""
        return [model for step in self._steps for model in step.model.models]

    def run(self, inputs: dict[str, np.ndarray], call: Call) -> dict[str, np.ndarray]:
        """Compute the outputs, by name.

        Args:
            inputs: Arrays by name, which have been checked.
            call: What goes with them through all steps.

        Raises:
            InferenceError: A step failed; the message says which.
        """
        tensors = dict(inputs)
        for step in self._steps:
            feeds = {name: tensors[tensor] for name, tensor in step.inputs}
            try:
                step.model.check(feeds)
                outputs = step.model.run(feeds, call)
            except InferenceError as error:
                error.args = (f"in the ensemble {self.config.name}: {error}",)
                raise
            for name, tensor in step.outputs:
                tensors[tensor] = outputs[name]
        return {name: tensors[name] for name in self._outputs}
