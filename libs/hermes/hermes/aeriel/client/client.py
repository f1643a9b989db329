"""Client of one model."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

from hermes.aeriel.client import streams
from hermes.aeriel.client.admission import Gate, Pace
from hermes.aeriel.client.connect import connect
from hermes.aeriel.client.dispatch import Dispatch
from hermes.aeriel.client.intake import Intake
from hermes.aeriel.client.latencies import Latencies
from hermes.aeriel.client.reporter import Reporter
from hermes.aeriel.client.sequences import new_sequence_id
from hermes.aeriel.client.signature import Signature, Tensors
from hermes.aeriel.client.transport import Transport
from hermes.errors import InvalidRequest, SequenceLost


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
        self._gate = Gate(in_flight)
        self._reporter = Reporter(callback, on_error)
        self._dispatch = Dispatch(
            self._transport,
            self._signature,
            self._gate,
            self.latencies,
            self._reporter.tell,
            model=model,
            prefix=f"{name or 'hermes'}-{secrets.token_hex(4)}-",
            deadline=deadline,
            retries=retries,
        )
        self._intake = Intake(self._gate, Pace(rate), self._reporter, self._dispatch)

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
            x: Array for a model with one input, otherwise arrays by name. Change them as soon as
                this returns. Those that cannot be written to, nor what they are views of
                (`array.flags.writeable`), are not copied: leave them so until the answer is there.
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
        self._reporter.raise_errors()
        return self._intake.submit(x, request_id, sequence_id, sequence_start, sequence_end)

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
        self._reporter.raise_errors()
        future = await self._intake.asubmit(
            x, request_id, sequence_id, sequence_start, sequence_end
        )
        return await asyncio.wrap_future(future)

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
        return streams.follow(self._intake, course)

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
        return streams.follow(self._intake, course)

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
        return streams.afollow(self._intake, course)

    def close(self, wait: bool = True, timeout: float | None = None) -> None:
        """Let go of everything; no thread stays. Open sequences stay open on the server.

        Args:
            wait: Whether to wait for the answers that are missing; otherwise they fail.
            timeout: How long to wait at most, after which those still missing fail [s]; None for
                as long as it takes, which with `deadline=None` and a server that stays silent is
                for ever. A callback that runs, or a model in this process, is not cut off.

        Raises:
            InferenceError: Requests failed, and only a `callback` was there to be told.
        """
        self._gate.close(InvalidRequest(f"the client of {self.model} is closed", model=self.model))
        if not self._dispatch.refuse():
            return
        try:
            if wait:
                self._gate.drain(but=self._reporter.depth, timeout=timeout)
        finally:
            self._dispatch.stop()
            self._transport.close()
        self._reporter.raise_errors()

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
