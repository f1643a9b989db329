"""Who is under way, and what is known about the sequences that are open."""

from __future__ import annotations

import threading

from hermes.aeriel.client.pending import Pending
from hermes.aeriel.client.sequences import Sequence


class Register:
    """The requests without an answer, in the order in which they were sent, and the sequences.

    Whoever takes a request out of it is the one who tells of it, so that none is told of twice.
    Thread safe.

    Attributes:
        is_closed: Whether no request is let in any more.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[str, Pending] = {}
        self._sequences: dict[int, Sequence] = {}
        self.is_closed = False

    def find_sequence(self, sequence_id: int, start: bool) -> Sequence:
        """The open sequence of an id; a new one where it starts, or there is none.

        Args:
            sequence_id: The id.
            start: Whether it starts.
        """
        with self._lock:
            sequence = self._sequences.get(sequence_id)
            if start or sequence is None:
                sequence = self._sequences[sequence_id] = Sequence(sequence_id, start)
            return sequence

    def add(self, pending: Pending) -> bool:
        """Put a request in before it is sent, and close its sequence after the last update.

        Returns:
            False if it must not be sent: its sequence is lost, or the register closed.
        """
        sequence = pending.sequence
        with self._lock:
            if sequence is not None:
                if pending.request.sequence_end:
                    sequence.ended = True
                    self._forget(sequence)
                if sequence.lost is not None:
                    return False
            if self.is_closed:
                return False
            self._pending[pending.request.request_id] = pending
            return True

    def answer(self, pending: Pending) -> bool:
        """Take out a request that has its answer; returns False if it was not there any more."""
        with self._lock:
            if self._pending.pop(pending.request.request_id, None) is None:
                return False
            if pending.sequence is not None:
                pending.sequence.answer(pending.number)
            return True

    def remove(self, pending: Pending) -> bool:
        """Take out a request that gets no answer; returns False if it was not there any more."""
        with self._lock:
            return self._pending.pop(pending.request.request_id, None) is not None

    def rest(self, pending: Pending) -> bool:
        """Note that a request waits to be sent again; returns False if it was taken out."""
        with self._lock:
            if pending.request.request_id not in self._pending:
                return False
            pending.repetitions += 1
            pending.rests = True
            return True

    def wake(self, pending: Pending) -> bool:
        """Note that a request is sent again; returns False if it was taken out meanwhile."""
        with self._lock:
            pending.rests = False
            return pending.request.request_id in self._pending

    def take_overdue(self, now: float) -> tuple[list[Pending], float | None]:
        """Take out the requests whose deadline has passed.

        Args:
            now: The time [s of `time.monotonic`].

        Returns:
            The requests; when the next one is due, None if there is none [s of `time.monotonic`].
        """
        overdue = []
        with self._lock:
            # All have the same deadline, so the oldest is due first.
            for key, pending in self._pending.items():
                if pending.due > now:
                    break
                overdue.append(key)
            late = [self._pending.pop(key) for key in overdue]
            oldest = next(iter(self._pending.values()), None)
        return late, None if oldest is None else oldest.due

    def lose(self, sequence: Sequence, reason: Exception) -> tuple[bool, list[Pending]]:
        """Mark a sequence as lost.

        Args:
            sequence: The sequence.
            reason: Why the server's state is not what the caller thinks.

        Returns:
            Whether that is new; its requests without an answer, taken out.
        """
        with self._lock:
            return self._lose(sequence, reason)

    def give_up(
        self, sequence_id: int, reason: Exception
    ) -> tuple[Sequence, list[Pending]] | None:
        """Take a sequence out, and mark it as lost.

        Args:
            sequence_id: Its id.
            reason: Why.

        Returns:
            The sequence; its requests without an answer, taken out. None if it is not there, or
            was lost before.
        """
        with self._lock:
            sequence = self._sequences.pop(sequence_id, None)
            if sequence is None or sequence.lost is not None:
                return None
            return sequence, self._lose(sequence, reason)[1]

    def forget(self, sequence: Sequence) -> None:
        """Take out a sequence, unless a new one has its id by now."""
        with self._lock:
            self._forget(sequence)

    def is_idle(self) -> bool:
        """Whether a new connection cuts nobody off: none waits, and no state there is good."""
        with self._lock:
            return all(pending.rests for pending in self._pending.values()) and all(
                sequence.lost is not None for sequence in self._sequences.values()
            )

    def close(self) -> bool:
        """Let no request in any more; returns False if that was so already."""
        with self._lock:
            first, self.is_closed = not self.is_closed, True
        return first

    def clear(self) -> list[Pending]:
        """Take out all requests."""
        with self._lock:
            pendings, self._pending = list(self._pending.values()), {}
        return pendings

    # With the lock held.

    def _lose(self, sequence: Sequence, reason: Exception) -> tuple[bool, list[Pending]]:
        first = sequence.lost is None
        if first:
            sequence.lost = reason
        others = [pending for pending in self._pending.values() if pending.sequence is sequence]
        for pending in others:
            del self._pending[pending.request.request_id]
        return first, others

    def _forget(self, sequence: Sequence) -> None:
        if self._sequences.get(sequence.sequence_id) is sequence:
            del self._sequences[sequence.sequence_id]
