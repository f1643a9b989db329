"""The transport: takes requests, runs them one after the other."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from hermes.aeriel.client.transport import Answer, Request, is_fixed
from hermes.errors import (
    DeadlineExceeded,
    InferenceError,
    InvalidRequest,
    RepositoryError,
    ServerUnavailable,
)

from .loading import Graph, Loader
from .models import Call
from .sequences import Job, Sequence, Sequences

_log = logging.getLogger("hermes")


class InProcess:
    """Runs a model of a repository in this process, by the rules of a Triton server.

    A thread of its own runs the requests in the order in which they were sent; onnxruntime and
    torch use more threads for each. It looks at the repository from time to time: a new version,
    or another configuration, is loaded beside what runs and then takes its place. A request that
    runs ends on the version that it began with, and so does a sequence. A new version that cannot
    be loaded is logged, and what ran before stays.

    Sequence slots are those of this object: two of them on one repository share nothing.

    A request whose deadline passes before its turn is answered with `DeadlineExceeded`. If it
    belongs to a running sequence, that sequence ends: its state would have a gap. The same holds
    for a request that fails within a model with states, or behind one in an ensemble. Later
    requests of the sequence are answered like any that lack a START.

    Args:
        repository: Folder or URL of the repository.
        model: Name of the model.
        version: Its version; -1 for the newest that is served, at any time.
        threads: Threads that compute one request; None for the libraries' choice. That of torch
            holds for the whole process.
        poll_seconds: Time between two looks at the repository [s]; 0 for none. None is 1 s for a
            folder and 30 s for object storage.

    Raises:
        RepositoryError: The model, or one that it needs, is not there or broken.
        InvalidRequest: The version is not served.
        ValueError: `threads` is below 1.
    """

    def __init__(
        self,
        repository: str | Path,
        model: str,
        version: int = -1,
        *,
        threads: int | None = None,
        poll_seconds: float | None = None,
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}: must be 1 or more, or None")
        self._model = model
        self._asked_version = version
        self._loader = Loader(repository, threads)
        graph = self._loader.load(model, version)
        self._use(graph)
        self._sequences = Sequences(graph)
        self._inbox: SimpleQueue[Job | Callable[[], None]] = SimpleQueue()
        self._ready: deque[Job] = deque()
        self._lock = threading.Lock()
        self._is_closed = False
        self._is_running = True
        self._stop_watching = threading.Event()
        self._worker = threading.Thread(target=self._work, name=f"hermes {model}", daemon=True)
        self._worker.start()
        if poll_seconds is None:
            poll_seconds = 1.0 if self._loader.is_local else 30.0
        if poll_seconds > 0:
            threading.Thread(
                target=self._watch, args=(poll_seconds,), name=f"hermes watch {model}", daemon=True
            ).start()

    def send(self, request: Request, done: Callable[[Answer], None]) -> None:
        """Send a request; returns at once. See `Transport`.

        The arrays are copied, and the caller may change them afterwards; except those that are
        fixed, which stay as they are until the answer is there.
        """
        arrival = time.monotonic()
        inputs = {
            name: array if is_fixed(array) else array.copy()
            for name, array in request.inputs.items()
        }
        job = Job(
            request,
            inputs,
            done,
            arrival,
            math.inf if request.deadline is None else arrival + request.deadline,
        )
        with self._lock:
            if not self._is_closed:
                self._inbox.put(job)
                return
        self._answer(job, ServerUnavailable(f"model {self._model} was closed"))

    def reconnect(self) -> None:
        """Forget all sequences; requests without an answer get `ServerUnavailable` before."""
        self._command(lambda: self._drop(f"model {self._model} begins anew"))

    def close(self) -> None:
        """Let go of everything; requests without an answer get `ServerUnavailable`."""
        self._stop_watching.set()
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
        if not was_closed:
            self._command(self._stop)
        if threading.current_thread() is not self._worker:
            self._worker.join()

    def _use(self, graph: Graph) -> None:
        self._graph = graph
        self.config = graph.root.config
        self.version = graph.root.version
        self.stateful = graph.slots > 0

    # in the worker's thread

    def _work(self) -> None:
        while self._is_running:
            self._collect()
            if self._ready:
                self._run(self._ready.popleft())
            now = time.monotonic()
            if now >= self._sequences.next_change:
                self._put_first(self._sequences.advance(now))
        del self._graph, self._sequences
        self._loader.forget()

    def _collect(self) -> None:
        """Take what has been sent; wait for something if there is nothing to do."""
        if not self._ready:
            wait = self._sequences.next_change - time.monotonic()
            try:
                self._take(self._inbox.get(timeout=max(wait, 0) if wait < math.inf else None))
            except Empty:
                return
        while not self._inbox.empty():
            self._take(self._inbox.get())

    def _take(self, item: Job | Callable[[], None]) -> None:
        if isinstance(item, Job):
            self._sequences.expect(item)
            self._ready.append(item)
        else:
            item()

    def _put_first(self, jobs: list[Job]) -> None:
        for job in reversed(jobs):
            self._sequences.expect(job)
            self._ready.appendleft(job)

    def _run(self, job: Job) -> None:
        self._sequences.note_turn(job)
        if self._sequences.hold_back(job):
            return
        request = job.request
        sequence = self._sequences.find(request)
        call = Call(request)
        now = time.monotonic()
        answer: Answer
        try:
            if now > job.due:
                call.moved = True
                raise DeadlineExceeded(
                    f"{now - job.arrival:.3g} s passed before the request's turn, allowed were "
                    f"{request.deadline:g} s: allow more, or send fewer at a time"
                )
            graph = self._graph if sequence is None or request.sequence_start else sequence.graph
            graph.root.check(job.inputs)
            if graph.slots:
                sequence = self._sequences.place(job, now)
                if sequence is None:
                    return
                call.states = sequence.states
                call.moved = request.sequence_start
            else:
                sequence = None
            answer = graph.root.run(job.inputs, call)
        except InferenceError as error:
            # the frames would keep the arrays
            answer = error.with_traceback(None)
            if sequence and (call.moved or not isinstance(error, InvalidRequest)):
                self._sequences.end(sequence)
        else:
            if sequence:
                self._settle(sequence, request)
        self._answer(job, answer)

    def _settle(self, sequence: Sequence, request: Request) -> None:
        """Note that a request of a sequence has its answer."""
        if request.sequence_end:
            self._sequences.end(sequence)
        else:
            self._sequences.touch(sequence, time.monotonic())

    def _answer(self, job: Job, answer: Answer) -> None:
        if isinstance(answer, InferenceError):
            answer.request_id = job.request.request_id
            answer.sequence_id = job.request.sequence_id
            answer.model = self._model
        try:
            job.done(answer)
        # the caller's function must not end the thread that answers all others
        except Exception:
            _log.exception("the receiver of the answer to %s failed", job.request.request_id)

    def _command(self, what: Callable[[], None]) -> None:
        """Let the worker do something, after all that was sent before; wait until it is done."""
        if threading.current_thread() is self._worker:
            while not self._inbox.empty():
                self._take(self._inbox.get())
            what()
            return
        is_done = threading.Event()

        def do() -> None:
            what()
            is_done.set()

        with self._lock:
            if self._worker.is_alive():
                self._inbox.put(do)
        while self._worker.is_alive() and not is_done.wait(0.1):
            pass

    def _drop(self, reason: str) -> None:
        jobs = [*self._sequences.clear(), *self._ready]
        self._ready.clear()
        for job in jobs:
            self._answer(job, ServerUnavailable(reason))

    def _stop(self) -> None:
        self._is_running = False
        self._drop(f"model {self._model} was closed")

    def _replace(self, graph: Graph) -> None:
        if not graph.is_same(self._graph):
            self._use(graph)
            self._put_first(self._sequences.replace_graph(graph))

    # in the watcher's thread

    def _watch(self, poll_seconds: float) -> None:
        while not self._stop_watching.wait(poll_seconds):
            try:
                if self._loader.has_changed():
                    self._load()
            # whatever a store raises while it is away
            except Exception as error:
                _log.warning("the repository of model %s cannot be read: %s", self._model, error)

    def _load(self) -> None:
        try:
            graph = self._loader.load(self._model, self._asked_version)
        except (RepositoryError, InvalidRequest) as error:
            _log.warning("model %s stays at version %d: %s", self._model, self.version, error)
            return
        self._inbox.put(lambda: self._replace(graph))
