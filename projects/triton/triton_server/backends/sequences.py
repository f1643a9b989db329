"""States of the sequences that one instance of a model holds."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

State = Mapping[str, Any]

# The server frees a slot some time after the sequence has idled out, and a request may wait in its
# queue: only what is idle for much longer is certainly of no use.
IDLE_FACTOR = 2
IDLE_MARGIN = 5.0


class UnknownSequenceError(ValueError):
    """A request goes on with a sequence of which no state is held."""


class SequenceStates:
    """The state of each running sequence, by its id.

    The server sees to it that a sequence begins with START, idles out, and stays with its
    instance. The table is bounded all the same: a state is let go when its sequence ends, begins
    anew, or has been idle for longer than the server allows.

    Args:
        begin: Makes the state that a sequence begins with.
        idle_length: Time without a request after which the server forgets a sequence [s].
        clock: Time now [s].
    """

    def __init__(
        self,
        begin: Callable[[], State],
        idle_length: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._begin = begin
        self._idle_length = IDLE_FACTOR * idle_length + IDLE_MARGIN
        self._clock = clock
        self._states: OrderedDict[Hashable, tuple[float, State]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def read(self, sequence: Hashable, start: bool) -> State:
        """State that a request of a sequence meets.

        Args:
            sequence: The sequence's id.
            start: Whether the request is its first; what was held of it is forgotten.

        Raises:
            UnknownSequenceError: It is not the first and none is held.
        """
        self._forget_idle()
        if start:
            self.write(sequence, self._begin())
        if sequence not in self._states:
            raise UnknownSequenceError(
                f"inference request for sequence {sequence} must specify the START flag: "
                "no state of it is held"
            )
        return self._states[sequence][1]

    def write(self, sequence: Hashable, state: State) -> None:
        """Hold the state that a request left behind."""
        self._states[sequence] = (self._clock(), state)
        self._states.move_to_end(sequence)

    def end(self, sequence: Hashable) -> None:
        """Let go of a sequence."""
        self._states.pop(sequence, None)

    def _forget_idle(self) -> None:
        oldest = self._clock() - self._idle_length
        while self._states and next(iter(self._states.values()))[0] < oldest:
            self._states.popitem(last=False)
