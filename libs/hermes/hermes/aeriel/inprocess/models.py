"""Models by themselves, loaded to be run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.aeriel.client.transport import Request
from hermes.errors import InferenceError

from .checking import InputCheck, TensorSpec, reshaped, tensor_specs
from .controls import Control
from .states import State

# What a sequence keeps: arrays by name of the state's input, by name of the model.
States = dict[str, dict[str, np.ndarray]]


@dataclass(slots=True)
class Call:
    """What goes with a request's arrays through all models that it meets.

    Attributes:
        request: The request.
        states: What its sequence keeps; the models replace what is in it.
        moved: Whether the sequence is not where it was before: a model with states has run, or
            all of them have begun anew.
    """

    request: Request
    states: States = field(default_factory=dict)
    moved: bool = False


class Runner(Protocol):
    """Computes a model's outputs from its inputs."""

    def run(self, inputs: dict[str, np.ndarray], request: Request) -> dict[str, np.ndarray]:
        """Compute all outputs, states included.

        Args:
            inputs: Arrays by name, states and controls included.
            request: The request, for models that ask for its sequence.
        """
        ...


class Model:
    """One version of a model that is not an ensemble.

    Args:
        config: Its configuration.
        version: The version.
        runner: What computes.
        states: What it keeps between requests.
        controls: Inputs by which it is told about the sequence.
    """

    def __init__(
        self,
        config: ModelConfig,
        version: int,
        runner: Runner,
        states: tuple[State, ...],
        controls: tuple[Control, ...],
    ) -> None:
        self.config = config
        self.version = version
        self.check = InputCheck(config)
        self.is_stateful = config.HasField("sequence_batching")
        self._name = config.name
        self._runner = runner
        self._states = states
        self._controls = controls
        self._inner_inputs = _with_inner_shape(self.check.specs)
        self._outer_outputs = [
            TensorSpec(spec.name, spec.dtype, spec.shape, spec.shape)
            for spec in _with_inner_shape(tensor_specs(config.output, config.max_batch_size))
        ]

    @property
    def stateful_models(self) -> list[Model]:
        """Itself, if it keeps something between requests."""
        return [self] if self.is_stateful else []

    @property
    def models(self) -> list[Model]:
        """Itself."""
        return [self]

    def run(self, inputs: dict[str, np.ndarray], call: Call) -> dict[str, np.ndarray]:
        """Compute the outputs, by name.

        Args:
            inputs: Arrays by name, which have been checked.
            call: What goes with them.

        Raises:
            InferenceError: It failed.
        """
        request = call.request
        for spec in self._inner_inputs:
            if spec.name in inputs:
                inputs = inputs | {spec.name: _reshape(inputs[spec.name], spec)}
        if not self.is_stateful:
            outputs = self._compute(inputs, request)
        else:
            call.moved = True
            feeds = dict(inputs)
            for control in self._controls:
                feeds[control.name] = control.value(request)
            kept = call.states.get(self._name)
            if kept is None:
                kept = {state.input_name: state.initial() for state in self._states}
            feeds.update(kept)
            outputs = self._compute(feeds, request)
            call.states[self._name] = {
                state.input_name: outputs.pop(state.output_name) for state in self._states
            }
        for spec in self._outer_outputs:
            outputs[spec.name] = _reshape(outputs[spec.name], spec)
        return outputs

    def _compute(self, feeds: dict[str, np.ndarray], request: Request) -> dict[str, np.ndarray]:
        try:
            return self._runner.run(feeds, request)
        except InferenceError:
            raise
        # what the libraries, and users' own models, raise has no common parent but Exception
        except Exception as error:
            raise InferenceError(
                f"model {self._name}, version {self.version}, failed: "
                f"{type(error).__name__}: {error}"
            ) from error


def _with_inner_shape(specs: tuple[TensorSpec, ...]) -> list[TensorSpec]:
    return [spec for spec in specs if spec.inner_shape is not None]


def _reshape(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    return array if spec.inner_shape is None else reshaped(array, spec.inner_shape)
