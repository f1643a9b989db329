"""What carries a request to a model and its answer back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig

Answer = dict[str, np.ndarray] | Exception


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        request_id: Its name, unique within a client.
        inputs: Arrays by name of the input, with the types and shapes that the model takes. One
            that is fixed (`is_fixed`) stays as it is until the answer is there; any other may be
            changed as soon as it was sent.
        sequence_id: The sequence that it belongs to, 1 to 2**64 - 1; None if it stands alone.
        sequence_start: Whether it is the sequence's first.
        sequence_end: Whether it is the sequence's last.
        deadline: Time allowed from now to the answer [s]; None for any.
    """

    request_id: str
    inputs: dict[str, np.ndarray]
    sequence_id: int | None = None
    sequence_start: bool = False
    sequence_end: bool = False
    deadline: float | None = None


def is_fixed(array: np.ndarray) -> bool:
    """Whether nobody can write to an array, nor to an array that it is a view of."""
    part: object = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return False
        part = part.base
    return True


class Transport(Protocol):
    """Takes requests for one version of one model.

    Requests of one sequence are executed in the order in which they were sent; others in any.
    Thread safe. Knows nothing about retries, back pressure or what was answered before: the client
    does.

    Attributes:
        config: The model's configuration.
        version: The version that was asked for; for -1 the highest that is served when the
            transport is made.
        stateful: Whether the model, or any step of an ensemble, keeps state between the requests
            of a sequence.
    """

    config: ModelConfig
    version: int
    stateful: bool

    def send(self, request: Request, done: Callable[[Answer], None]) -> None:
        """Send a request; returns at once.

        Args:
            request: The request.
            done: Called once, from any thread, with the outputs by name, or with an
                `InferenceError` that says what became of it.
        """
        ...

    def reconnect(self) -> None:
        """Begin anew after the other side went away.

        Requests without an answer are answered with `ServerUnavailable` before.
        """
        ...

    def close(self) -> None:
        """Let go of everything; requests without an answer are answered with an error."""
        ...
