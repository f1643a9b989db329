"""Client of one model."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hermes.aeriel.client import streams
from hermes.aeriel.client.admission import Gate, Pace
from hermes.aeriel.client.backoff import draw_pause
from hermes.aeriel.client.connect import connect
from hermes.aeriel.client.latencies import Latencies
from hermes.aeriel.client.sequences import Sequence, new_sequence_id
from hermes.aeriel.client.signature import Signature, Tensors
from hermes.aeriel.client.timetable import Timetable
from hermes.aeriel.client.transport import Answer, Request, Transport
from hermes.errors import (
    DeadlineExceeded,
    InferenceError,
    InvalidRequest,
    SequenceLost,
    ServerUnavailable,
)

_log = logging.getLogger("hermes.client")


@dataclass(eq=False, slots=True)
class _Pending:
    """A request without an answer."""

    request: Request
    request_id: Hashable
    sequence_id: int | None
    sequence: Sequence | None
    number: int
    quiet: bool
    sent: float
    due: float
    future: Future[Any]
    repetitions: int = 0
    rests: bool = False
    aside: bool = False


class InferenceClient:
    """Sends requests to one model, in this process or of a Triton server, and keeps their order.

    Safe to use from several threads. Leaving its `with` block waits for all answers, or, after an
    exception, fails those that are missing.

    Args:
        address: Folder or URL of a model repository, which is then run in this process;
            `HOST:PORT` or `grpc://HOST:PORT` of a Triton server; or a `Transport`.
        model: Name of the model.
        version: Version of it; -1 for the highest that is served, which may change meanwhile.
        callback: Called with output, request id and sequence id of each answer, in a thread of the
            client. It may call `infer`, but must not wait for an answer.
        on_error: Called with what became of a request without an answer. Where there is a
            `callback` and not this, errors (the callback's own too) are raised by the next `infer`
            or at `close`. Futures carry them in any case.
        in_flight: Largest number of requests under way, callbacks included: `infer` waits for a
            place. Called within a callback it does not wait, or it might wait for itself; only
            `rate` holds for it too. A callback must not wait for the answer of another request.
            The first update of a stream is not counted: it may wait for a place on the server that
            others leave only when their updates find places here.
        rate: Largest number of requests per second [Hz]; None for any.
        deadline: Time from sending to answer, repetitions included, after which a request fails
            [s]; None for any. An answer that comes later is dropped.
        retries: How often a request is sent again when the server went away. Only of models
            without state: an update sent twice would shift all that follows.
        name: Name in the ids that the server logs.

    Attributes:
        version: The version, of -1 the one that was highest at the beginning.
        stateful: Whether requests belong to sequences.
        memory: Number of updates after which the model has forgotten all before them; None if it
            never does.
        warm_up: Number of first answers of a sequence that depend on its initial state.
        latencies: Times from sending to answer, readable at any time.

    Raises:
        InvalidRequest: There is no such model or version.
        ServerUnavailable: No server answers.
    """

    def __init__(
        self,
        address: str | Path | Transport,
        model: str,
        version: int = -1,
        *,
        callback: Callable[[Any, Any, int | None], object] | None = None,
        on_error: Callable[[Exception], object] | None = None,
        in_flight: int = 32,
        rate: float | None = None,
        deadline: float | None = 60.0,
        retries: int = 3,
        name: str = "",
    ) -> None:
        for what, value in (("in_flight", in_flight), ("rate", rate), ("deadline", deadline)):
            if value is not None and value <= 0:
                raise ValueError(f"{what} is {value}: must be above 0")
        self._transport = (
            connect(address, model, version) if isinstance(address, str | Path) else address
        )
        config = self._transport.config
        self._signature = Signature(config)
        self.model = model
        self.version = self._transport.version
        self.stateful = self._transport.stateful
        self.memory = _parameter(config, "hermes.memory")
        self.warm_up = _parameter(config, "hermes.warm_up") or 0
        self.latencies = Latencies()
        self.in_flight = in_flight
        self._callback = callback
        self._on_error = on_error
        self._deadline = deadline
        self._retries = retries
        self._prefix = f"{name or 'hermes'}-{secrets.token_hex(4)}-"
        self._number = itertools.count()
        self._gate = Gate(in_flight)
        self._pace = Pace(rate)
        self._lock = threading.Lock()
        self._pending: dict[str, _Pending] = {}
        self._reconnecting = threading.Lock()
        self._sequences: dict[int, Sequence] = {}
        self._errors: list[Exception] = []
        self._here = threading.local()
        self._closed = False
        self._timetable = Timetable(f"{self._prefix}timetable", self._sweep)

    @property
    def inputs(self) -> Tensors:
        """Type and shape of each input by name; None for any length, first the batch axis."""
        return self._signature.inputs

    @property
    def outputs(self) -> Tensors:
        """Type and shape of each output by name."""
        return self._signature.outputs

    @property
    def parameters(self) -> dict[str, str]:
        """Parameters of the model's configuration, what the repository's owner noted there."""
        found = self._transport.config.parameters
        return {name: value.string_value for name, value in found.items()}

    @staticmethod
    def new_sequence() -> int:
        """A sequence's id that no other client will draw: 63 random bits, never 0."""
        return new_sequence_id()

    def infer(
        self,
        x: Any,
        *,
        request_id: Hashable = None,
        sequence_id: int | None = None,
        sequence_start: bool = False,
        sequence_end: bool = False,
    ) -> Future[Any]:
        """Send one request; waits while too many are under way, or come too fast.

        Updates of one sequence are executed in the order of the calls.

        Args:
            x: Array for a model with one input, otherwise arrays by name.
            request_id: The caller's name of it, handed back with the answer; numbered if None.
            sequence_id: The sequence that it belongs to, for models with state.
            sequence_start: Whether it is the first of its sequence.
            sequence_end: Whether it is the last.

        Returns:
            What becomes the output: an array of a model with one output, otherwise arrays by name;
            or one of the `InferenceError`s.

        Raises:
            InvalidRequest: The client is closed.
            InferenceError: A request before failed, and only a `callback` was there to be told.
                This one was not sent.
        """
        self._raise_errors()
        self._enter(waits=not self._depth)
        return self._send(x, request_id, sequence_id, sequence_start, sequence_end)

    async def ainfer(
        self,
        x: Any,
        *,
        request_id: Hashable = None,
        sequence_id: int | None = None,
        sequence_start: bool = False,
        sequence_end: bool = False,
    ) -> Any:
        """Like `infer`, in asyncio: gives the output itself.

        Await the updates of one sequence one after the other, or use `astream`: tasks that run
        side by side have no order.

        Raises:
            InferenceError: There is no answer.
        """
        self._raise_errors()
        await self._aenter()
        return await asyncio.wrap_future(
            self._send(x, request_id, sequence_id, sequence_start, sequence_end)
        )

    def stream(
        self,
        updates: Iterable[Any],
        sequence_id: int | None = None,
        in_flight: int | None = None,
        *,
        replays: int = 3,
        patience: float = 300.0,
    ) -> Iterator[Any]:
        """Outputs of the updates of one sequence, in their order, whatever becomes of the server.

        When the sequence is lost, or an answer does not come in time, a new sequence begins with
        as many earlier updates as the model remembers (`memory`; with all if it never forgets),
        whose outputs are dropped: what the caller sees has no gap, no repetition and no shift.

        Args:
            updates: What has a length and an index (array, list, data set) is read when it is
                needed, and again in a replay. From anything else the updates that a replay may
                need are kept: all of them for a model that never forgets. An answer is handed out
                before the next update is asked for, if it is there by then; for the least delay
                behind a live source use `in_flight=1`.
            sequence_id: Id of the first sequence; drawn if None.
            in_flight: Largest number of updates under way; the client's if None.
            replays: How often in a row, without a new output, to begin again.
            patience: How long to wait for a server that went away [s].

        Yields:
            The output of each update.

        Raises:
            SequenceLost: The server did not come back in time, or the sequence was lost too often.
            InferenceError: An update failed by itself, as it would again.
        """
        course = streams.Course(
            updates, self._plan(sequence_id, in_flight, replays, patience), first=0
        )
        return streams.follow(self, course)

    def replay(
        self,
        lost: SequenceLost,
        updates: Iterable[Any],
        in_flight: int | None = None,
        *,
        replays: int = 3,
        patience: float = 300.0,
    ) -> Iterator[Any]:
        """Go on after a lost sequence: outputs of all updates after the last answered one.

        Args:
            lost: What its requests failed with.
            updates: All updates of the sequence from its start, what follows included; with length
                and index.
            in_flight: As in `stream`.
            replays: As in `stream`.
            patience: As in `stream`.

        Yields:
            The outputs from number `lost.last_answered + 1` on.

        Raises:
            ValueError: `updates` has no index.
            SequenceLost: As in `stream`.
            InferenceError: As in `stream`.
        """
        if not streams.is_indexable(updates):
            raise ValueError(
                f"updates are {type(updates).__name__}: replay needs what has a length and an "
                f"index, from the start of the sequence"
            )
        course = streams.Course(
            updates,
            self._plan(None, in_flight, replays, patience),
            first=lost.last_answered + 1,
        )
        return streams.follow(self, course)

    def astream(
        self,
        updates: Iterable[Any] | AsyncIterable[Any],
        sequence_id: int | None = None,
        in_flight: int | None = None,
        *,
        replays: int = 3,
        patience: float = 300.0,
    ) -> AsyncIterator[Any]:
        """Like `stream`, in asyncio; updates may come from an asynchronous source."""
        course = streams.Course(
            updates, self._plan(sequence_id, in_flight, replays, patience), first=0
        )
        return streams.afollow(self, course)

    def close(self, wait: bool = True) -> None:
        """Let go of everything; no thread stays. Open sequences stay open on the server.

        Args:
            wait: Whether to wait for the answers that are missing; otherwise they fail.

        Raises:
            InferenceError: Requests failed, and only a `callback` was there to be told.
        """
        reason = InvalidRequest(f"the client of {self.model} is closed", model=self.model)
        self._gate.close(reason)
        with self._lock:
            first, self._closed = not self._closed, True
        if not first:
            return
        try:
            if wait:
                self._gate.drain(but=self._depth)
        finally:
            with self._lock:
                given_up, self._pending = list(self._pending.values()), {}
            for pending in given_up:
                closed = InferenceError("the client was closed before the answer")
                self._settle(pending, error=self._describe(pending, closed))
            self._timetable.stop()
            self._transport.close()
        self._raise_errors()

    def __enter__(self) -> InferenceClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close(wait=False)
        except Exception as late:
            error.add_note(f"besides: {late}")

    # What a stream needs of a client; not for others.

    def _plan(
        self, sequence_id: int | None, in_flight: int | None, replays: int, patience: float
    ) -> streams.Plan:
        if not self.stateful:
            raise InvalidRequest(
                f"{self.model} keeps no state: stream is for models that do, use infer",
                model=self.model,
            )
        if in_flight is not None and in_flight < 1:
            raise ValueError(f"in_flight is {in_flight}: must be above 0")
        window = min(in_flight or self.in_flight, self.in_flight)
        return streams.Plan(sequence_id, window, self.memory, replays, patience)

    def _submit(self, x: Any, sequence_id: int, start: bool, end: bool) -> Future[Any]:
        """Send an update that only its future tells of; waits for a place, but for the first."""
        self._enter(waits=not self._depth, aside=start)
        return self._send(x, None, sequence_id, start, end, quiet=True, aside=start)

    async def _asubmit(self, x: Any, sequence_id: int, start: bool, end: bool) -> Future[Any]:
        await self._aenter(aside=start)
        return self._send(x, None, sequence_id, start, end, quiet=True, aside=start)

    def _abandon(self, sequence_id: int, x: Any, silent: bool = False) -> None:
        """Fail a sequence's requests without an answer, and free its place on the server.

        Args:
            sequence_id: The sequence; nobody will use it again.
            x: Any update: the server takes an end only with one. Nobody sees its answer.
            silent: Whether the server did not answer; then a new connection is tried.
        """
        with self._lock:
            sequence = self._sequences.pop(sequence_id, None)
            if sequence is None or sequence.lost is not None:
                return
            others = self._lose(sequence, InferenceError("it was given up"))
        self._settle_lost(others)
        if silent:
            self._reconnect_if_idle()
        self._release(sequence, self._signature.check(x))

    def _reconnect_if_idle(self) -> None:
        """Begin anew with the other side where nobody waits for it, and no state is lost."""
        with self._reconnecting:
            with self._lock:
                idle = all(pending.rests for pending in self._pending.values()) and all(
                    sequence.lost is not None for sequence in self._sequences.values()
                )
            if idle and not self._closed:
                try:
                    self._transport.reconnect()
                except ServerUnavailable as error:
                    _log.warning("no new connection for %s: %s", self.model, error)

    # Sending.

    @property
    def _depth(self) -> int:
        """How many callbacks of this client this thread is in."""
        return getattr(self._here, "depth", 0)

    def _enter(self, waits: bool, aside: bool = False) -> None:
        place = self._gate.enter(waits, aside)
        if place is not None:
            try:
                place.result()
            except BaseException:
                self._give_back(place)
                raise
        delay = self._pace.reserve()
        if delay:
            try:
                time.sleep(delay)
            except BaseException:
                self._gate.leave(aside)
                raise

    async def _aenter(self, aside: bool = False) -> None:
        place = self._gate.enter(aside=aside)
        if place is not None:
            try:
                await asyncio.wrap_future(place)
            except BaseException:
                self._give_back(place)
                raise
        delay = self._pace.reserve()
        if delay:
            try:
                await asyncio.sleep(delay)
            except BaseException:
                self._gate.leave(aside)
                raise

    def _give_back(self, place: Future[None]) -> None:
        if not place.cancel() and not place.cancelled() and place.exception() is None:
            self._gate.leave()

    def _send(
        self,
        x: Any,
        request_id: Hashable,
        sequence_id: int | None,
        start: bool,
        end: bool,
        quiet: bool = False,
        aside: bool = False,
    ) -> Future[Any]:
        """Send from a place within the gate, which is left when all is done."""
        key = f"{self._prefix}{next(self._number)}"
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # a request under way cannot be called back
        pending = _Pending(
            request=Request(key, {}),
            request_id=key if request_id is None else request_id,
            sequence_id=sequence_id,
            sequence=None,
            number=0,
            quiet=quiet,
            sent=0.0,
            due=float("inf"),
            future=future,
            aside=aside,
        )
        try:
            inputs = self._signature.check(x)
            if self.stateful:
                _check_sequence_id(sequence_id)
        except InvalidRequest as error:
            self._settle(pending, error=self._describe(pending, error))
            return future
        if not self.stateful or sequence_id is None:
            if self._retries:
                # It may be sent again when the caller has long put other numbers into its array.
                inputs = {name: array.copy() for name, array in inputs.items()}
            pending.request = Request(key, inputs, deadline=self._deadline)
            self._register_and_send(pending)
            return future
        request = Request(key, inputs, sequence_id, start, end, self._deadline)
        pending.request = request
        sequence = pending.sequence = self._sequence(sequence_id, start)
        with sequence.order:
            pending.number = sequence.sent
            sequence.sent += 1
            self._register_and_send(pending)
        return future

    def _sequence(self, sequence_id: int, start: bool) -> Sequence:
        with self._lock:
            sequence = self._sequences.get(sequence_id)
            if start or sequence is None:
                sequence = self._sequences[sequence_id] = Sequence(sequence_id, start)
            return sequence

    def _register_and_send(self, pending: _Pending) -> None:
        sequence = pending.sequence
        pending.sent = time.monotonic()
        if self._deadline is not None:
            pending.due = pending.sent + self._deadline
        with self._lock:
            if sequence is not None and pending.request.sequence_end:
                sequence.ended = True
                if self._sequences.get(sequence.sequence_id) is sequence:
                    del self._sequences[sequence.sequence_id]
            lost = sequence is not None and sequence.lost is not None
            closed = self._closed
            if not lost and not closed:
                self._pending[pending.request.request_id] = pending
        if lost:
            self._settle_lost([pending])
        elif closed:
            error = InvalidRequest("the client was closed before it was sent")
            self._settle(pending, error=self._describe(pending, error))
        else:
            self._hand_over(pending)

    def _hand_over(self, pending: _Pending) -> None:
        try:
            self._transport.send(pending.request, partial(self._take, pending))
        except Exception as error:
            self._take(pending, error)

    def _release(self, sequence: Sequence, inputs: dict[str, np.ndarray]) -> None:
        """End a sequence on a server that still holds a place for it; nobody sees the answer."""
        try:
            self._gate.enter(aside=True)
        except InvalidRequest:
            return  # closed: the server frees the place when the sequence has idled out
        key = f"{self._prefix}{next(self._number)}"
        pending = _Pending(
            request=Request(key, inputs, sequence.sequence_id, False, True, self._deadline),
            request_id=key,
            sequence_id=sequence.sequence_id,
            sequence=None,
            number=0,
            quiet=True,
            sent=0.0,
            due=float("inf"),
            future=Future(),
            aside=True,
        )
        with sequence.order:
            self._register_and_send(pending)

    # Answers.

    def _take(self, pending: _Pending, answer: Answer) -> None:
        """Take an answer of the transport; from any of its threads."""
        now = time.monotonic()
        if isinstance(answer, Exception):
            self._take_error(pending, answer, now)
            return
        with self._lock:
            if self._pending.pop(pending.request.request_id, None) is None:
                return  # too late
            if pending.sequence is not None:
                pending.sequence.answer(pending.number)
        self.latencies.add(now - pending.sent)
        self._settle(pending, output=self._signature.unwrap(answer))

    def _take_error(self, pending: _Pending, error: Exception, now: float) -> None:
        key = pending.request.request_id
        pause = draw_pause(pending.repetitions)
        with self._lock:
            waits = key in self._pending
            if (
                waits
                and pending.request.sequence_id is None
                and isinstance(error, ServerUnavailable)
                and pending.repetitions < self._retries
                and now + pause < pending.due
            ):
                pending.repetitions += 1
                pending.rests = True
                self._timetable.do(pause, partial(self._send_again, pending))
                return
            self._pending.pop(key, None)
        others = self._note_loss(pending, error)
        if waits:
            self._settle(pending, error=self._judge(pending, error))
        self._settle_lost(others)

    def _note_loss(self, pending: _Pending, error: Exception) -> list[_Pending]:
        """After an error of an update: the state on the server lacks it, so all after it is off.

        Returns:
            The requests that get no answer because of this, taken out.
        """
        sequence = pending.sequence
        if sequence is None:
            return []
        gone = _says_gone(error)
        with self._lock:
            if gone and not sequence.started and not isinstance(error, ServerUnavailable):
                # It was never there: the next request of it is told the same.
                if self._sequences.get(sequence.sequence_id) is sequence:
                    del self._sequences[sequence.sequence_id]
                return []
            known = sequence.lost is not None
            others = self._lose(sequence, error)
        if not known and not gone and not sequence.ended:
            self._release(sequence, pending.request.inputs)
        return others

    def _send_again(self, pending: _Pending) -> None:
        self._reconnect_if_idle()
        with self._lock:
            if pending.request.request_id not in self._pending:
                return
            pending.rests = False
        if self._deadline is not None:
            left = max(pending.due - time.monotonic(), 1e-3)
            pending.request = replace(pending.request, deadline=left)
        self._hand_over(pending)

    def _sweep(self, now: float) -> float | None:
        """Fail what is overdue; returns when to look again.

        All requests have the same deadline, so the oldest is due first, and one sent while
        nothing is under way is due after the next look.
        """
        if self._deadline is None:
            return None
        overdue = []
        with self._lock:
            for key, pending in self._pending.items():
                if pending.due > now:
                    break
                overdue.append(key)
            late = [self._pending.pop(key) for key in overdue]
            oldest = next(iter(self._pending.values()), None)
        for pending in late:
            error = DeadlineExceeded(f"no answer within {self._deadline:g} s")
            self._settle(pending, error=self._describe(pending, error))
        return now + self._deadline if oldest is None else oldest.due

    def _lose(self, sequence: Sequence, reason: Exception) -> list[_Pending]:
        """Mark a sequence as lost; returns its requests without an answer, taken out.

        Called with the lock held.
        """
        if sequence.lost is None:
            sequence.lost = reason
        others = [pending for pending in self._pending.values() if pending.sequence is sequence]
        for pending in others:
            del self._pending[pending.request.request_id]
        return others

    def _settle_lost(self, pendings: list[_Pending]) -> None:
        for pending in pendings:
            assert pending.sequence is not None
            assert pending.sequence.lost is not None
            self._settle(pending, error=self._lost(pending, pending.sequence.lost))

    def _judge(self, pending: _Pending, error: Exception) -> InferenceError:
        """The error of a request of which the transport says what became."""
        sequence = pending.sequence
        if sequence is not None and sequence.started and _says_gone(error):
            return self._lost(pending, error)
        return self._describe(pending, error)

    def _lost(self, pending: _Pending, reason: Exception) -> SequenceLost:
        assert pending.sequence is not None
        last_answered = pending.sequence.last_answered
        lost = SequenceLost(
            f"sequence {pending.sequence_id} of {self.model} is lost, the last answered update is "
            f"number {last_answered}: {reason}",
            str(pending.request_id),
            pending.sequence_id,
            self.model,
            last_answered,
        )
        lost.__cause__ = reason
        return lost

    def _describe(self, pending: _Pending, error: Exception) -> InferenceError:
        """The error with what it is about; one object for each request."""
        kind = type(error) if isinstance(error, InferenceError) else InferenceError
        place = "" if pending.sequence_id is None else f" of sequence {pending.sequence_id}"
        described = kind(
            f"request {pending.request_id}{place} to {self.model}: {error}",
            str(pending.request_id),
            pending.sequence_id,
            self.model,
        )
        described.__cause__ = error
        return described

    def _settle(
        self, pending: _Pending, output: Any = None, error: InferenceError | None = None
    ) -> None:
        """Tell the caller, and leave the gate."""
        self._here.depth = self._depth + 1
        try:
            if error is not None:
                pending.future.set_exception(error)
                if not pending.quiet:
                    self._report(error)
                return
            pending.future.set_result(output)
            if self._callback is not None and not pending.quiet:
                self._callback(output, pending.request_id, pending.sequence_id)
        except Exception as failure:
            failure.add_note(
                f"in the callback of request {pending.request_id}, sequence {pending.sequence_id}"
            )
            self._report(failure)
        finally:
            self._here.depth -= 1
            self._gate.leave(pending.aside)

    def _report(self, error: Exception) -> None:
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:
                _log.exception("on_error failed to take: %s", error)
        elif self._callback is not None:
            with self._lock:
                self._errors.append(error)

    def _raise_errors(self) -> None:
        if not self._errors:
            return
        with self._lock:
            errors, self._errors = self._errors, []
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"besides: {other}")
            raise errors[0]


def _says_gone(error: Exception) -> bool:
    """Whether an error says that the server does not hold a sequence."""
    return isinstance(error, ServerUnavailable) or (
        isinstance(error, InvalidRequest) and "START" in str(error)
    )


def _parameter(config: Any, name: str) -> int | None:
    if name not in config.parameters:
        return None
    text = config.parameters[name].string_value
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"parameter {name} of {config.name} is {text!r}: must be a whole number, mend its "
            f"config.pbtxt"
        ) from None


def _check_sequence_id(sequence_id: int | None) -> None:
    if sequence_id is None:
        raise InvalidRequest("the model keeps state: give a sequence_id (client.new_sequence())")
    if not 0 < sequence_id < 2**64:
        raise InvalidRequest(f"sequence id is {sequence_id}: must be 1 to 2**64 - 1")
