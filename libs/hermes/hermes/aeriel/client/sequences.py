"""What a client knows about a sequence whose state a server holds."""

from __future__ import annotations

import secrets
import threading

from hermes.errors import InvalidRequest


def new_sequence_id() -> int:
    """A sequence's id that no other client will draw: 63 random bits, never 0."""
    return secrets.randbelow(2**63 - 1) + 1


def check_sequence_id(sequence_id: int | None) -> None:
    """Refuse what cannot be the id of a sequence.

    Raises:
        InvalidRequest: It is missing, or out of range.
    """
    if sequence_id is None:
        raise InvalidRequest("the model keeps state: give a sequence_id (client.new_sequence())")
    if not 0 < sequence_id < 2**64:
        raise InvalidRequest(f"sequence id is {sequence_id}: must be 1 to 2**64 - 1")


class Sequence:
    """One sequence from its start on.

    Args:
        sequence_id: Its id.
        started: Whether this client sent its start.

    Attributes:
        order: Held while an update gets its number and is sent, so that both orders are one.
        sent: Number of updates sent.
        ended: Whether its last update was sent.
        last_answered: Number of the last update such that it and all before it were answered;
            -1 if there is none.
        lost: Why the server's state is not what the caller thinks; None as long as it is.
    """

    def __init__(self, sequence_id: int, started: bool) -> None:
        self.sequence_id = sequence_id
        self.started = started
        self.order = threading.RLock()
        self.sent = 0
        self.ended = False
        self.last_answered = -1
        self.lost: Exception | None = None
        self._ahead: set[int] = set()

    def answer(self, number: int) -> None:
        """Note that the caller has an update's answer."""
        self._ahead.add(number)
        while self.last_answered + 1 in self._ahead:
            self.last_answered += 1
            self._ahead.remove(self.last_answered)
