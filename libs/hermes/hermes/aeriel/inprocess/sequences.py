"""Sequences: who holds a slot, who waits for one, and whose time is over."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from hermes.aeriel.client.transport import Answer, Request
from hermes.errors import InvalidRequest

from .loading import Graph
from .models import States

_LARGEST_ID = 2**64 - 1


@dataclass(slots=True, eq=False)
class Job:
    """A request that waits for its turn.

    Attributes:
        request: The request.
        inputs: Its arrays, which nobody else changes.
        done: Takes the answer.
        arrival: When it was sent [s], of `time.monotonic`.
        due: When its answer is too late [s]; infinite if never.
    """

    request: Request
    inputs: dict[str, np.ndarray]
    done: Callable[[Answer], None]
    arrival: float
    due: float = math.inf


@dataclass(slots=True, eq=False)
class Sequence:
    """A sequence that holds a slot.

    Attributes:
        sequence_id: Its number.
        slots: Where its slot is.
        last_used: When it was last answered, or got its slot [s].
        has_started: Whether its first request, for which it may have waited, was run.
        states: What the models keep for it.
    """

    sequence_id: int
    slots: Slots
    last_used: float
    has_started: bool = False
    states: States = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The models that it began with, and stays with."""
        return self.slots.graph


class Slots:
    """Slots of one graph.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        # The one that was used least recently is the first.
        self.held: OrderedDict[int, Sequence] = OrderedDict()

    @property
    def has_room(self) -> bool:
        """Whether one is free."""
        return len(self.held) < self.graph.slots


class Sequences:
    """All sequences of a transport, on the newest graph and on those that it replaced.

    A sequence that finds no free slot waits, in the order of their beginnings. Only the newest
    graph's slots are given away. Used from one thread.

    Args:
        graph: The graph.

    Attributes:
        next_change: No later than when `advance` will have something to do [s].
    """

    def __init__(self, graph: Graph) -> None:
        self.next_change = math.inf
        self._slots = [Slots(graph)]
        self._running: dict[int, Sequence] = {}
        self._waiting: OrderedDict[int, deque[Job]] = OrderedDict()
        self._queued: Counter[int] = Counter()

    def replace_graph(self, graph: Graph) -> list[Job]:
        """Let what begins from now on run on another graph.

        Returns:
            Jobs that waited for a slot, to be placed again.
        """
        self._slots = [*(slots for slots in self._slots if slots.held), Slots(graph)]
        return self._take_waiting()

    def clear(self) -> list[Job]:
        """Forget all sequences.

        Returns:
            Jobs that waited for a slot.
        """
        self._running.clear()
        self._queued.clear()
        self._slots = [Slots(self._slots[-1].graph)]
        return self._take_waiting()

    def find(self, request: Request) -> Sequence | None:
        """The running sequence that a request belongs to, whatever its flags say."""
        return self._running.get(request.sequence_id) if request.sequence_id else None

    def expect(self, job: Job) -> None:
        """Note that a job has come whose turn is later: till then its sequence does not idle."""
        if job.request.sequence_id:
            self._queued[job.request.sequence_id] += 1

    def note_turn(self, job: Job) -> None:
        """Note that the turn of a job has come."""
        sequence_id = job.request.sequence_id
        if sequence_id:
            self._queued[sequence_id] -= 1
            if self._queued[sequence_id] <= 0:
                del self._queued[sequence_id]

    def hold_back(self, job: Job) -> bool:
        """Let a job wait if its sequence does; tells whether it does."""
        waiting = self._waiting.get(job.request.sequence_id or 0)
        if waiting is None:
            return False
        waiting.append(job)
        return True

    def place(self, job: Job, now: float) -> Sequence | None:
        """Find out where a job runs.

        Args:
            job: The job, for a graph with states.
            now: The time [s].

        Returns:
            Its sequence; None if it waits for a slot.

        Raises:
            InvalidRequest: It has no sequence, or one that has not begun.
        """
        request = job.request
        sequence_id = _checked_id(request)
        sequence = self._running.get(sequence_id)
        if sequence and job.arrival - sequence.last_used > sequence.graph.idle_length:
            self.end(sequence)
            sequence = None
        if not request.sequence_start:
            if sequence is None or not sequence.has_started:
                raise InvalidRequest(
                    f"sequence {sequence_id} is not running: its first request must specify the "
                    f"START flag; a sequence ends with END, when a request of it failed or was "
                    f"too late, or after {self._slots[-1].graph.idle_length:g} s without a request"
                )
            return sequence
        if sequence and sequence.slots is not self._slots[-1]:
            self.end(sequence)
            sequence = None
        if sequence is None:
            if self._waiting or not self._slots[-1].has_room:
                self._waiting[sequence_id] = deque([job])
                self.next_change = min(self.next_change, job.due)
                return None
            sequence = self._begin(sequence_id, now)
        sequence.has_started = True
        sequence.states = {}
        return sequence

    def touch(self, sequence: Sequence, now: float) -> None:
        """Note that a sequence was used."""
        sequence.last_used = now
        sequence.slots.held.move_to_end(sequence.sequence_id)

    def end(self, sequence: Sequence) -> None:
        """Free a sequence's slot."""
        if self._running.get(sequence.sequence_id) is not sequence:
            return
        del self._running[sequence.sequence_id]
        del sequence.slots.held[sequence.sequence_id]
        if not sequence.slots.held and sequence.slots is not self._slots[-1]:
            self._slots.remove(sequence.slots)
        if self._waiting:
            self.next_change = -math.inf

    def advance(self, now: float) -> list[Job]:
        """End what has idled for too long, and give free slots to those that wait.

        Returns:
            Jobs of those that have a slot now, and those that waited too long, to be placed again.
        """
        for slots in list(self._slots):
            for sequence in self._idle(slots, now):
                self.end(sequence)
        jobs: list[Job] = []
        for sequence_id, waiting in list(self._waiting.items()):
            if waiting[0].due < now:
                jobs.extend(self._waiting.pop(sequence_id))
        while self._waiting and self._slots[-1].has_room:
            sequence_id, waiting = self._waiting.popitem(last=False)
            self._begin(sequence_id, now)
            jobs.extend(waiting)
        times = [waiting[0].due for waiting in self._waiting.values()]
        times += [
            next(iter(slots.held.values())).last_used + slots.graph.idle_length
            for slots in self._slots
            if slots.held
        ]
        self.next_change = min(times, default=math.inf)
        return jobs

    def _idle(self, slots: Slots, now: float) -> Iterator[Sequence]:
        for sequence in list(slots.held.values()):
            if now - sequence.last_used <= slots.graph.idle_length:
                return
            if sequence.sequence_id not in self._queued:
                yield sequence

    def _begin(self, sequence_id: int, now: float) -> Sequence:
        slots = self._slots[-1]
        sequence = Sequence(sequence_id, slots, now)
        slots.held[sequence_id] = self._running[sequence_id] = sequence
        self.next_change = min(self.next_change, now + slots.graph.idle_length)
        return sequence

    def _take_waiting(self) -> list[Job]:
        jobs = [job for waiting in self._waiting.values() for job in waiting]
        self._waiting.clear()
        return jobs


def _checked_id(request: Request) -> int:
    sequence_id = request.sequence_id
    if sequence_id is None:
        raise InvalidRequest(
            "the model keeps a state: its requests need a sequence_id, 1 to 2**64 - 1"
        )
    if not 1 <= sequence_id <= _LARGEST_ID:
        raise InvalidRequest(f"sequence_id is {sequence_id}, expected 1 to 2**64 - 1")
    return sequence_id
