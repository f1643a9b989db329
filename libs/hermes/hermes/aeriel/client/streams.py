"""The course of a sequence from its first update to its last, over losses and new beginnings."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from hermes.aeriel.client.backoff import draw_pause
from hermes.aeriel.client.intake import Intake
from hermes.aeriel.client.sequences import new_sequence_id
from hermes.errors import DeadlineExceeded, InferenceError, SequenceLost, ServerUnavailable


@dataclass(frozen=True)
class Plan:
    """How a sequence is to be followed.

    Attributes:
        sequence_id: Id of the first sequence; None to draw it.
        window: Largest number of updates under way.
        memory: Number of updates that the model remembers; None for all.
        replays: How often in a row, without a new output, to begin again.
        patience: How long to wait for a server that went away [s].
    """

    sequence_id: int | None
    window: int
    memory: int | None
    replays: int
    patience: float


@dataclass(frozen=True)
class Send:
    """Send an update."""

    x: Any
    sequence_id: int
    start: bool
    end: bool


@dataclass(frozen=True)
class Take:
    """Wait for the answer of the oldest update under way."""

    future: Future[Any]


class Pull:
    """Ask the source for the next update."""


@dataclass(frozen=True)
class Abandon:
    """Give up what is left of a sequence.

    Attributes:
        sequence_id: The sequence.
        x: Any update, to end it with.
        silent: Whether the server did not answer, and may be behind a dead connection.
    """

    sequence_id: int
    x: Any
    silent: bool = False


@dataclass(frozen=True)
class Rest:
    """Wait for the server [s]."""

    duration: float


Step = Send | Take | Pull | Abandon | Rest


def is_indexable(updates: object) -> bool:
    """Whether updates can be read again by number."""
    return (
        hasattr(updates, "__getitem__")
        and hasattr(updates, "__len__")
        and not isinstance(updates, Mapping)
    )


class History:
    """Updates by number, of which those that may be asked for again are kept.

    Args:
        updates: Where they come from.

    Attributes:
        source: What `Pull` asks; None for what has an index.
        exhausted: Whether `len` is the final number of updates.
    """

    def __init__(self, updates: Any) -> None:
        self._indexed = updates if is_indexable(updates) else None
        self.source = None if self._indexed is not None else updates
        self.exhausted = self._indexed is not None
        self._kept: deque[Any] = deque()
        self._first = 0

    def __len__(self) -> int:
        if self._indexed is not None:
            return len(self._indexed)
        return self._first + len(self._kept)

    def __getitem__(self, number: int) -> Any:
        if self._indexed is not None:
            return self._indexed[number]
        return self._kept[number - self._first]

    def append(self, x: Any) -> None:
        """Add what the source gave; a copy, for a source may fill one array again and again."""
        self._kept.append(copy.deepcopy(x))

    def forget(self, before: int) -> None:
        """Let go of the updates before a number; the last one is always kept."""
        while self._first < before and len(self._kept) > 1:
            self._kept.popleft()
            self._first += 1


class Course:
    """Says step by step what is to be done, so that threads and asyncio share the decisions.

    Args:
        updates: The updates from the start of the sequence.
        plan: How to follow them.
        first: Number of the update whose output is handed out first.
    """

    def __init__(self, updates: Any, plan: Plan, first: int) -> None:
        self.history = History(updates)
        self._plan = plan
        self._wanted = first
        self._window: deque[tuple[int, Future[Any]]] = deque()
        self._abandoned: Abandon | None = None
        self._rest = 0.0
        self._losses = 0
        self._absences = 0
        self._away_since: float | None = None
        self._begin(plan.sequence_id or new_sequence_id())

    def __iter__(self) -> Iterator[Step]:
        """The steps; each is to be done, and its outcome told, before the next."""
        while True:
            step = self._step()
            if step is None:
                return
            yield step

    def sent(self, future: Future[Any]) -> None:
        """Tell that an update was sent."""
        self._window.append((self._next, future))
        self._next += 1

    def taken(self) -> bool:
        """Tell that the oldest update has an answer; returns whether the caller wants it."""
        number, _ = self._window.popleft()
        self._answered = True
        if number < self._wanted:
            return False
        self._wanted += 1
        self._losses, self._absences, self._away_since = 0, 0, None
        self._forget()
        return True

    def failed(self, error: InferenceError) -> None:
        """Tell that the oldest update has no answer.

        Raises:
            InferenceError: That is the end.
        """
        if not isinstance(error, SequenceLost | DeadlineExceeded):
            raise error
        # Until the first answer it is the same server that is still away.
        still_away = isinstance(error.__cause__, ServerUnavailable) and not self._answered
        now = time.monotonic()
        if still_away and self._away_since is not None:
            self._rest = draw_pause(self._absences)
            if now - self._away_since + self._rest > self._plan.patience:
                raise error
            self._absences += 1
        else:
            self._losses += 1
            self._away_since, self._absences = now, 0
            if self._losses > self._plan.replays:
                raise error
        self._abandoned = self._give_up(silent=isinstance(error, DeadlineExceeded))
        self._window.clear()
        self._begin(new_sequence_id())

    def leave(self) -> Abandon | None:
        """What is still to be done when the caller goes away."""
        return self._give_up() if self._open else None

    def _begin(self, sequence_id: int) -> None:
        self._sequence_id = sequence_id
        memory = self._plan.memory
        self._base = self._next = 0 if memory is None else max(0, self._wanted - memory)
        self._open = False
        self._answered = False

    def _give_up(self, silent: bool = False) -> Abandon:
        self._open = False
        return Abandon(self._sequence_id, self.history[self._next - 1], silent)

    def _forget(self) -> None:
        if not self._plan.replays:
            self.history.forget(self._next)
        elif self._plan.memory is not None:
            self.history.forget(self._wanted - self._plan.memory)

    @property
    def _all_answered(self) -> bool:
        return self.history.exhausted and self._wanted >= len(self.history)

    def _step(self) -> Step | None:
        if self._abandoned is not None:
            step, self._abandoned = self._abandoned, None
            return step
        if self._rest:
            duration, self._rest = self._rest, 0.0
            return Rest(duration)
        if self._window:
            future = self._window[0][1]
            # Until the first answer the sequence may wait for a place on the server; its updates
            # would keep those from ending that hold the places.
            window = self._plan.window if self._answered else 1
            if future.done() or len(self._window) >= window:
                return Take(future)
        if self._next < len(self.history) and not self._all_answered:
            number = self._next
            last = self.history.exhausted and number == len(self.history) - 1
            start = number == self._base
            self._open = not last
            return Send(self.history[number], self._sequence_id, start, last)
        if not self.history.exhausted:
            return Pull()
        if self._window:
            return Take(self._window[0][1])
        # The source ended without saying before which update was the last.
        return self._give_up() if self._open else None


def _arguments(step: Send) -> dict[str, Any]:
    """How an update is sent: only its future tells of it, and the first takes no place."""
    return {
        "x": step.x,
        "request_id": None,
        "sequence_id": step.sequence_id,
        "start": step.start,
        "end": step.end,
        "quiet": True,
        "aside": step.start,
    }


def follow(intake: Intake, course: Course) -> Iterator[Any]:
    """Do a course's steps, and hand out the answers."""
    source = None if course.history.source is None else iter(course.history.source)
    try:
        for step in course:
            if isinstance(step, Take):
                try:
                    answer = step.future.result()
                except InferenceError as error:
                    course.failed(error)
                else:
                    if course.taken():
                        yield answer
            elif isinstance(step, Send):
                course.sent(intake.submit(**_arguments(step)))
            elif isinstance(step, Pull):
                assert source is not None
                try:
                    course.history.append(next(source))
                except StopIteration:
                    course.history.exhausted = True
            elif isinstance(step, Abandon):
                intake.dispatch.abandon(step.sequence_id, step.x, step.silent)
            else:
                time.sleep(step.duration)
                intake.dispatch.reconnect_if_idle()
    finally:
        if (left := course.leave()) is not None:
            intake.dispatch.abandon(left.sequence_id, left.x)


async def afollow(intake: Intake, course: Course) -> AsyncIterator[Any]:
    """Do a course's steps in asyncio, and hand out the answers."""
    source = course.history.source
    asynchronous = aiter(source) if isinstance(source, AsyncIterable) else None
    synchronous = iter(source) if isinstance(source, Iterable) else None
    try:
        for step in course:
            if isinstance(step, Take):
                try:
                    answer = await asyncio.wrap_future(step.future)
                except InferenceError as error:
                    course.failed(error)
                else:
                    if course.taken():
                        yield answer
            elif isinstance(step, Send):
                course.sent(await intake.asubmit(**_arguments(step)))
            elif isinstance(step, Pull):
                try:
                    if asynchronous is not None:
                        course.history.append(await anext(asynchronous))
                    else:
                        assert synchronous is not None
                        course.history.append(next(synchronous))
                except (StopIteration, StopAsyncIteration):
                    course.history.exhausted = True
            elif isinstance(step, Abandon):
                intake.dispatch.abandon(step.sequence_id, step.x, step.silent)
            else:
                await asyncio.sleep(step.duration)
                # It may wait for the other side; the event loop must not.
                await asyncio.to_thread(intake.dispatch.reconnect_if_idle)
    finally:
        if (left := course.leave()) is not None:
            intake.dispatch.abandon(left.sequence_id, left.x)
