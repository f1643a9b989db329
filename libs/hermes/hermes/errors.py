"""What can go wrong between a caller and a model."""

# Named by what happened, which is how a caller thinks of it.
# ruff: noqa: N818

from __future__ import annotations


class RepositoryError(ValueError):
    """A model repository, or what is to be put into it, is wrong; names the file and the field."""


class ServerError(RuntimeError):
    """A server cannot be started, or ended while it was needed; carries the end of its log."""


class InferenceError(RuntimeError):
    """A request has no answer.

    Attributes:
        request_id: The request's name, as the caller gave it or as the client numbered it.
        sequence_id: The sequence that it belongs to; None for a request by itself.
        model: Name of the model.
    """

    def __init__(
        self, message: str, request_id: str = "", sequence_id: int | None = None, model: str = ""
    ) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.sequence_id = sequence_id
        self.model = model


class InvalidRequest(InferenceError):
    """The model cannot take this request: a name, shape, type, version or flag is wrong."""


class ServerUnavailable(InferenceError):
    """No server answers at the address, or it went away."""


class DeadlineExceeded(InferenceError):
    """No answer came in the time that the caller allowed."""


class SequenceLost(InferenceError):
    """The server no longer holds the state of a sequence: it died, or the sequence idled out.

    Attributes:
        last_answered: Number of the last update whose answer the caller has, counted from 0 at
            the start of the sequence; -1 if there is none. What follows it was not answered, and
            will not be.
    """

    def __init__(
        self,
        message: str,
        request_id: str = "",
        sequence_id: int | None = None,
        model: str = "",
        last_answered: int = -1,
    ) -> None:
        super().__init__(message, request_id, sequence_id, model)
        self.last_answered = last_answered
