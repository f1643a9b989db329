"""Inputs by which a model is told where in a sequence it is."""

from __future__ import annotations

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelSequenceBatching

from hermes.aeriel.client.transport import Request
from hermes.dtypes import from_config

_Kind = ModelSequenceBatching.Control


class Control:
    """One such input (`control_input` of a configuration).

    Args:
        config: Its entry.
        batched: Whether the model has a batch axis.

    Attributes:
        name: Name of the input.
        dtype: Its type.
        shape: Its shape.
    """

    def __init__(self, config: ModelSequenceBatching.ControlInput, batched: bool) -> None:
        self.name = config.name
        control = config.control[0]
        self._kind = control.kind
        self.shape = (1, 1) if batched else (1,)
        if self._kind == _Kind.CONTROL_SEQUENCE_CORRID:
            self.dtype = from_config(control.data_type)
            return
        values, self.dtype = next(
            (values, np.dtype(dtype))
            for values, dtype in (
                (control.int32_false_true, np.int32),
                (control.fp32_false_true, np.float32),
                (control.bool_false_true, np.bool_),
            )
            if values
        )
        self._no, self._yes = (np.full(self.shape, value, self.dtype) for value in values)

    def value(self, request: Request) -> np.ndarray:
        """What the model is told with a request of a sequence."""
        if self._kind == _Kind.CONTROL_SEQUENCE_CORRID:
            return np.full(self.shape, request.sequence_id, self.dtype)
        told = {
            _Kind.CONTROL_SEQUENCE_START: request.sequence_start,
            _Kind.CONTROL_SEQUENCE_END: request.sequence_end,
            _Kind.CONTROL_SEQUENCE_READY: True,
        }[self._kind]
        return self._yes if told else self._no


def model_controls(config: ModelConfig) -> tuple[Control, ...]:
    """All such inputs of a model."""
    return tuple(
        Control(control, config.max_batch_size > 0)
        for control in config.sequence_batching.control_input
    )
