"""What both backends do with requests: states, batches, errors."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import triton_python_backend_utils as pb_utils

from triton_server.backends.configuration import Configuration, read_configuration
from triton_server.backends.sequences import SequenceStates

Arrays = dict[str, Any]


class FileModel(ABC):
    """A model in a file, as the Python backend calls it.

    Subclasses say how the file is run and how arrays are read and written: they have arrays of
    their own kind, which this class only hands through.
    """

    default_file: ClassVar[str]

    def initialize(self, arguments: Mapping[str, str]) -> None:
        """Load the model; an exception here is the server's reason why it is not ready."""
        config = json.loads(arguments["model_config"])
        self.config = read_configuration(config, arguments, self.default_file)
        self.output_names = list(self.config.outputs)
        self.sequences = SequenceStates(self._begin, self.config.idle_length)
        self.load(self.config)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, with an error where it fails."""
        if self.config.batched and not self.config.stateful and len(requests) > 1:
            together = self._execute_together(requests)
            if together is not None:
                return together
        return [self._execute_one(request) for request in requests]

    @abstractmethod
    def load(self, config: Configuration) -> None:
        """Load the file.

        Raises:
            ValueError: It does not fit the configuration.
        """

    @abstractmethod
    def run(self, inputs: Arrays) -> Arrays:
        """Outputs by name, those of the states among them."""

    @abstractmethod
    def read(self, tensor: Any) -> Any:
        """An array that holds what a tensor of a request holds; may share its memory."""

    @abstractmethod
    def write(self, name: str, array: Any) -> Any:
        """A tensor of a response."""

    @abstractmethod
    def convert(self, array: np.ndarray) -> Any:
        """An array of the subclass's own kind."""

    @abstractmethod
    def join(self, arrays: Sequence[Any]) -> Any:
        """Arrays one after the other along the batch axis."""

    @abstractmethod
    def keep(self, array: Any) -> Any:
        """An array that stays valid after the request is answered."""

    def _begin(self) -> Arrays:
        return {state.input_name: self.convert(state.initial) for state in self.config.states}

    def _execute_one(self, request: Any) -> Any:
        try:
            inputs = self._read_inputs(request)
            outputs = self._run_in_sequence(request, inputs) if self.config.stateful else None
            if outputs is None:
                outputs = self.run(inputs)
            return self._respond(request, outputs)
        except Exception as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(_explain(error)))

    def _run_in_sequence(self, request: Any, inputs: Arrays) -> Arrays:
        sequence, flags = request.correlation_id(), request.flags()
        start = bool(flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START)
        state = self.sequences.read(sequence, start)
        # Until the new state is there none is held: after a request that fails, what follows
        # would lack its update, and look like answers all the same.
        self.sequences.end(sequence)
        outputs = self.run({**inputs, **state})
        if not flags & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END:
            self.sequences.write(
                sequence,
                {
                    entry.input_name: self.keep(outputs[entry.output_name])
                    for entry in self.config.states
                },
            )
        return outputs

    def _execute_together(self, requests: Sequence[Any]) -> list[Any] | None:
        # One run for all; None where their shapes differ or the run fails, so that each request
        # meets its own fate.
        try:
            inputs = [self._read_inputs(request) for request in requests]
            shapes = [{name: array.shape[1:] for name, array in one.items()} for one in inputs]
            if any(shape != shapes[0] for shape in shapes):
                return None
            joined = {name: self.join([one[name] for one in inputs]) for name in inputs[0]}
            outputs = self.run(joined)
            sizes = [next(iter(one.values())).shape[0] for one in inputs]
            if any(array.shape[0] != sum(sizes) for array in outputs.values()):
                return None
        except Exception:
            return None
        bounds = np.cumsum([0, *sizes])
        return [
            self._respond(request, {name: array[begin:end] for name, array in outputs.items()})
            for request, begin, end in zip(requests, bounds[:-1], bounds[1:], strict=True)
        ]

    def _read_inputs(self, request: Any) -> Arrays:
        return {tensor.name(): self.read(tensor) for tensor in request.inputs()}

    def _respond(self, request: Any, outputs: Arrays) -> Any:
        asked = set(request.requested_output_names())
        return pb_utils.InferenceResponse(
            output_tensors=[
                self.write(name, outputs[name]) for name in self.output_names if name in asked
            ]
        )


def _explain(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
