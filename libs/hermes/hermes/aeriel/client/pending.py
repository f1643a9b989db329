"""A request under way, and the words for it when no answer comes."""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hermes.aeriel.client.sequences import Sequence
from hermes.aeriel.client.transport import Request
from hermes.errors import InferenceError, SequenceLost


@dataclass(eq=False, slots=True)
class Pending:
    """A request without an answer.

    Attributes:
        request: What is sent.
        request_id: The caller's name of it.
        sequence_id: The sequence that the caller named.
        quiet: Whether only the future tells of it.
        aside: Whether it is in the gate without being counted.
        future: What becomes the output or the error.
        sequence: The sequence whose loss is its own; None if it has none.
        number: Its number in that sequence.
        sent: When it was sent [s of `time.monotonic`].
        due: When its deadline passes [s of `time.monotonic`].
        repetitions: How often it was sent again.
        rests: Whether it waits to be sent again.
    """

    request: Request
    request_id: Hashable
    sequence_id: int | None
    quiet: bool = False
    aside: bool = False
    future: Future[Any] = field(default_factory=Future)
    sequence: Sequence | None = None
    number: int = 0
    sent: float = 0.0
    due: float = float("inf")
    repetitions: int = 0
    rests: bool = False

    def describe(self, error: Exception, model: str) -> InferenceError:
        """The error with what it is about; one object for each request.

        Args:
            error: What went wrong.
            model: Name of the model.
        """
        kind = type(error) if isinstance(error, InferenceError) else InferenceError
        place = "" if self.sequence_id is None else f" of sequence {self.sequence_id}"
        described = kind(
            f"request {self.request_id}{place} to {model}: {error}",
            str(self.request_id),
            self.sequence_id,
            model,
        )
        described.__cause__ = error
        return described

    def describe_loss(self, reason: Exception, model: str) -> SequenceLost:
        """The error of a request whose sequence is lost.

        Args:
            reason: Why it is lost.
            model: Name of the model.
        """
        assert self.sequence is not None
        last_answered = self.sequence.last_answered
        lost = SequenceLost(
            f"sequence {self.sequence_id} of {model} is lost, the last answered update is "
            f"number {last_answered}: {reason}",
            str(self.request_id),
            self.sequence_id,
            model,
            last_answered,
        )
        lost.__cause__ = reason
        return lost
