"""The requests under way, from sending to answer, error or deadline."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from hermes.aeriel.client.admission import Gate
from hermes.aeriel.client.backoff import draw_pause
from hermes.aeriel.client.latencies import Latencies
from hermes.aeriel.client.pending import Pending
from hermes.aeriel.client.register import Register
from hermes.aeriel.client.sequences import Sequence, check_sequence_id
from hermes.aeriel.client.signature import Signature
from hermes.aeriel.client.timetable import Timetable
from hermes.aeriel.client.transport import Answer, Request, Transport, is_fixed
from hermes.errors import (
    DeadlineExceeded,
    InferenceError,
    InvalidRequest,
    ServerUnavailable,
)

_log = logging.getLogger("hermes.client")

Tell = Callable[[Pending, Any, InferenceError | None], None]


class Dispatch:
    """Sends requests, and sees to it that each gets its one answer or error.

    Thread safe. A thread of its own sends again what failed for want of a server, and fails what
    is overdue.

    Args:
        transport: Carries the requests.
        signature: What the model takes and gives.
        gate: Left by each request when all is done.
        latencies: Counts the answers.
        tell: Called once for each request with its output or its error; must not raise.
        model: Name of the model, for errors.
        prefix: Of the ids of requests, unlike that of any other client.
        deadline: Time from sending to answer, repetitions included [s]; None for any.
        retries: How often a request without a sequence is sent again when the server went away.
    """

    def __init__(
        self,
        transport: Transport,
        signature: Signature,
        gate: Gate,
        latencies: Latencies,
        tell: Tell,
        *,
        model: str,
        prefix: str,
        deadline: float | None,
        retries: int,
    ) -> None:
        self._transport = transport
        self._signature = signature
        self._gate = gate
        self._latencies = latencies
        self._tell = tell
        self._model = model
        self._prefix = prefix
        self._deadline = deadline
        self._retries = retries
        self._stateful = transport.stateful
        self._number = itertools.count()
        self._register = Register()
        self._reconnecting = threading.Lock()
        self._timetable = Timetable(f"{prefix}timetable", self._sweep)

    def send(
        self,
        x: Any,
        request_id: Hashable,
        sequence_id: int | None,
        start: bool,
        end: bool,
        quiet: bool = False,
        aside: bool = False,
    ) -> Future[Any]:
        """Send from a place within the gate, which is left when all is done.

        Args:
            x: Array for a model with one input, otherwise arrays by name.
            request_id: The caller's name of it; numbered if None.
            sequence_id: The sequence that it belongs to.
            start: Whether it is the first of its sequence.
            end: Whether it is the last.
            quiet: Whether only the future tells of it.
            aside: Whether it is in the gate without being counted.

        Returns:
            What becomes the output, or an `InferenceError`.
        """
        key = f"{self._prefix}{next(self._number)}"
        pending = Pending(
            Request(key, {}), key if request_id is None else request_id, sequence_id, quiet, aside
        )
        future = pending.future
        future.set_running_or_notify_cancel()  # a request under way cannot be called back
        try:
            inputs = self._signature.check(x)
            if self._stateful:
                check_sequence_id(sequence_id)
        except InvalidRequest as error:
            self._settle(pending, error=pending.describe(error, self._model))
            return future
        if not self._stateful or sequence_id is None:
            if self._retries:
                # It may be sent again when the caller has long put other numbers into its array.
                inputs = {name: _kept(array) for name, array in inputs.items()}
            pending.request = Request(key, inputs, deadline=self._deadline)
            self._register_and_send(pending)
            return future
        pending.request = Request(key, inputs, sequence_id, start, end, self._deadline)
        sequence = pending.sequence = self._register.find_sequence(sequence_id, start)
        with sequence.order:
            pending.number = sequence.sent
            sequence.sent += 1
            self._register_and_send(pending)
        return future

    def abandon(self, sequence_id: int, x: Any, silent: bool = False) -> None:
        """Fail a sequence's requests without an answer, and free its place on the server.

        Args:
            sequence_id: The sequence; nobody will use it again.
            x: Any update: the server takes an end only with one. Nobody sees its answer.
            silent: Whether the server did not answer; then a new connection is tried.
        """
        given_up = self._register.give_up(sequence_id, InferenceError("it was given up"))
        if given_up is None:
            return
        sequence, others = given_up
        self._settle_lost(others)
        if silent:
            self.reconnect_if_idle()
        self._release(sequence, self._signature.check(x))

    def reconnect_if_idle(self) -> None:
        """Begin anew with the other side where nobody waits for it, and no state is lost."""
        with self._reconnecting:
            if self._register.is_idle() and not self._register.is_closed:
                try:
                    self._transport.reconnect()
                except ServerUnavailable as error:
                    _log.warning("no new connection for %s: %s", self._model, error)

    def refuse(self) -> bool:
        """Send no new requests from now on; returns False if that was so already."""
        return self._register.close()

    def stop(self) -> None:
        """Fail what has no answer, and end the thread."""
        for pending in self._register.clear():
            error = InferenceError("the client was closed before the answer")
            self._settle(pending, error=pending.describe(error, self._model))
        self._timetable.stop()

    # Sending.

    def _register_and_send(self, pending: Pending) -> None:
        pending.sent = time.monotonic()
        if self._deadline is not None:
            pending.due = pending.sent + self._deadline
        if self._register.add(pending):
            self._hand_over(pending)
        elif pending.sequence is not None and pending.sequence.lost is not None:
            self._settle_lost([pending])
        else:
            error = InvalidRequest("the client was closed before it was sent")
            self._settle(pending, error=pending.describe(error, self._model))

    def _hand_over(self, pending: Pending) -> None:
        try:
            self._transport.send(pending.request, partial(self._take, pending))
        except Exception as error:
            self._take(pending, error)

    def _send_again(self, pending: Pending) -> None:
        self.reconnect_if_idle()
        if not self._register.wake(pending):
            return
        if self._deadline is not None:
            left = max(pending.due - time.monotonic(), 1e-3)
            pending.request = replace(pending.request, deadline=left)
        self._hand_over(pending)

    def _release(self, sequence: Sequence, inputs: dict[str, np.ndarray]) -> None:
        """End a sequence on a server that still holds a place for it; nobody sees the answer."""
        try:
            self._gate.enter(aside=True)
        except InvalidRequest:
            return  # closed: the server frees the place when the sequence has idled out
        key = f"{self._prefix}{next(self._number)}"
        request = Request(key, inputs, sequence.sequence_id, False, True, self._deadline)
        pending = Pending(request, key, sequence.sequence_id, quiet=True, aside=True)
        with sequence.order:
            self._register_and_send(pending)

    # Answers.

    def _take(self, pending: Pending, answer: Answer) -> None:
        """Take an answer of the transport; from any of its threads."""
        now = time.monotonic()
        if isinstance(answer, Exception):
            self._take_error(pending, answer, now)
            return
        if not self._register.answer(pending):
            return  # too late
        self._latencies.add(now - pending.sent)
        self._settle(pending, output=self._signature.unwrap(answer))

    def _take_error(self, pending: Pending, error: Exception, now: float) -> None:
        pause = draw_pause(pending.repetitions)
        if (
            pending.request.sequence_id is None
            and isinstance(error, ServerUnavailable)
            and pending.repetitions < self._retries
            and now + pause < pending.due
            and self._register.rest(pending)
        ):
            self._timetable.do(pause, partial(self._send_again, pending))
            return
        waits = self._register.remove(pending)
        others = self._note_loss(pending, error)
        if waits:
            self._settle(pending, error=self._judge(pending, error))
        self._settle_lost(others)

    def _judge(self, pending: Pending, error: Exception) -> InferenceError:
        """The error of a request of which the transport says what became."""
        sequence = pending.sequence
        if sequence is not None and sequence.started and _says_gone(error):
            return pending.describe_loss(error, self._model)
        return pending.describe(error, self._model)

    def _sweep(self, now: float) -> float | None:
        """Fail what is overdue; returns when to look again.

        A request sent while nothing is under way is due after the next look.
        """
        if self._deadline is None:
            return None
        late, due = self._register.take_overdue(now)
        for pending in late:
            error = DeadlineExceeded(f"no answer within {self._deadline:g} s")
            self._settle(pending, error=pending.describe(error, self._model))
        return now + self._deadline if due is None else due

    # Losses.

    def _note_loss(self, pending: Pending, error: Exception) -> list[Pending]:
        """After an error of an update: the state on the server lacks it, so all after it is off.

        Returns:
            The requests that get no answer because of this, taken out.
        """
        sequence = pending.sequence
        if sequence is None:
            return []
        gone = _says_gone(error)
        if gone and not sequence.started and not isinstance(error, ServerUnavailable):
            # It was never there: the next request of it is told the same.
            self._register.forget(sequence)
            return []
        first, others = self._register.lose(sequence, error)
        if first and not gone and not sequence.ended:
            self._release(sequence, pending.request.inputs)
        return others

    def _settle_lost(self, pendings: list[Pending]) -> None:
        for pending in pendings:
            assert pending.sequence is not None
            assert pending.sequence.lost is not None
            reason = pending.sequence.lost
            self._settle(pending, error=pending.describe_loss(reason, self._model))

    def _settle(
        self, pending: Pending, output: Any = None, error: InferenceError | None = None
    ) -> None:
        """Tell the caller, and leave the gate."""
        try:
            self._tell(pending, output, error)
        finally:
            self._gate.leave(pending.aside)


def _kept(array: np.ndarray) -> np.ndarray:
    """An array that nobody writes to: itself where that is so, or a copy."""
    if is_fixed(array):
        return array
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _says_gone(error: Exception) -> bool:
    """Whether an error says that the server does not hold a sequence."""
    return isinstance(error, ServerUnavailable) or (
        isinstance(error, InvalidRequest) and "START" in str(error)
    )
