"""What a model keeps between the requests of a sequence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelSequenceBatching

from hermes.dtypes import from_config
from hermes.errors import RepositoryError


class State:
    """A tensor that a model gets back from its request before.

    Args:
        config: Its entry in the model's `sequence_batching`.
        model: Name of the model, for errors.
        batched: Whether the model has a batch axis; the state of one sequence is 1 along it.
        read: Gives the bytes of a file of the model's folder, by its path in there.

    Raises:
        RepositoryError: The initial value does not have the shape or size that is stated.
    """

    def __init__(
        self,
        config: ModelSequenceBatching.State,
        model: str,
        batched: bool,
        read: Callable[[str], bytes],
    ) -> None:
        self.input_name = config.input_name
        self.output_name = config.output_name
        self.dtype = from_config(config.data_type)
        # Where dims leaves a size open, the initial value has one.
        dims = tuple(config.initial_state[0].dims if config.initial_state else config.dims)
        self.shape = (1, *dims) if batched else dims
        value = np.zeros(self.shape, self.dtype)
        file = config.initial_state[0].data_file if config.initial_state else ""
        if file:
            path = f"initial_state/{file}"
            data = read(path)
            if len(data) != value.nbytes:
                raise RepositoryError(
                    f"{model}/{path} has {len(data)} bytes, expected {value.nbytes} for the "
                    f"initial value of {self.input_name}, {self.dtype} of shape {self.shape}: "
                    f"write the array's bytes, row by row"
                )
            value = np.frombuffer(data, self.dtype).reshape(self.shape)
        self._value = value

    def initial(self) -> np.ndarray:
        """A new array of the value that a sequence starts with."""
        return self._value.copy()


def model_states(config: ModelConfig, read: Callable[[str], bytes]) -> tuple[State, ...]:
    """All states of a model.

    Args:
        config: The model's configuration.
        read: Gives the bytes of a file of the model's folder, by its path in there.
    """
    return tuple(
        State(state, config.name, config.max_batch_size > 0, read)
        for state in config.sequence_batching.state
    )
