"""Requests to a Triton server by gRPC."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.aeriel.client.messages import decode, encode, error_of_call, error_of_text
from hermes.aeriel.client.signature import is_stateful
from hermes.aeriel.client.transport import Answer, Request
from hermes.errors import InferenceError, InvalidRequest, ServerUnavailable

Done = Callable[[Answer], None]

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that comes back is found at once, not after two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection whose other side vanished without a word ends after 20 s without an
    # acknowledgement. Asking more often than every 5 min is taken for an attack by servers.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Otherwise a new channel would be the old connection.
    ("grpc.use_local_subchannel_pool", 1),
)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_QUESTION_DURATION = 10.0  # [s] for the configuration of a model
_FAREWELL_DURATION = 1.0  # [s] for what closing lets go of


class Triton:
    """A model of a Triton server.

    Requests of models without state are single calls. Each sequence has a stream of its own: a
    server answers what comes on one stream in order, so that on a common one a sequence that waits
    for a place would hold up all others; and what breaks a stream, or has no name, concerns that
    sequence alone. The generated stubs are used, because tritonclient's own class has one stream,
    and hands out errors without the request's id, which the server sends.

    Args:
        address: `HOST:PORT` of the server.
        model: Name of the model.
        version: Version of it; -1 leaves it to the server, which may change it.

    Attributes:
        config: The model's configuration.
        version: The version, of -1 the one that was highest at the beginning.
        stateful: Whether the model, or any step of an ensemble, keeps state.

    Raises:
        InvalidRequest: There is no such model or version.
        ServerUnavailable: No server answers.
    """

    def __init__(self, address: str, model: str, version: int = -1) -> None:
        self._address = address
        self._model = model
        self._version = "" if version == -1 else str(version)
        self._lock = threading.Lock()
        self._closed = False
        self._calls: dict[str, tuple[grpc.Future, Done]] = {}
        self._streams: dict[int, _Stream] = {}
        self._open()
        try:
            self.config = self._read_config(model, version)
            self.version = self._read_version() if version == -1 else version
            self.stateful = is_stateful(self.config, self._read_config)
        except BaseException:
            self._channel.close()
            raise

    def send(self, request: Request, done: Done) -> None:
        """Send a request; see `Transport`."""
        message = encode(request, self._model, self._version)
        if request.sequence_id is None:
            self._call(request, message, done)
            return
        sequence_id = request.sequence_id
        while True:
            with self._lock:
                self._check_open()
                stream = self._streams.get(sequence_id)
                if stream is None:
                    stream = self._streams[sequence_id] = _Stream(
                        self._stub, sequence_id, self._forget
                    )
            if stream.send(message, done, request.sequence_end):
                return
            self._forget(stream)  # it ended just now

    def reconnect(self) -> None:
        """Open a new connection; see `Transport`."""
        self._let_go(ServerUnavailable(f"the connection to {self._address} was given up"))
        with self._lock:
            self._check_open()
            old = self._channel
            self._open()
        old.close()

    def close(self) -> None:
        """Close the connection; see `Transport`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._let_go(ServerUnavailable(f"the connection to {self._address} was closed"))
        self._channel.close()

    def _open(self) -> None:
        options = [*_OPTIONS]
        if self._address.rpartition(":")[0] in _LOOPBACK:
            # A proxy to the outside, as `http_proxy` names it, has no way back to this machine.
            options.append(("grpc.enable_http_proxy", 0))
        self._channel = grpc.insecure_channel(self._address, options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def _check_open(self) -> None:
        if self._closed:
            raise ServerUnavailable(f"the connection to {self._address} was closed")

    def _let_go(self, reason: InferenceError) -> None:
        with self._lock:
            calls, self._calls = self._calls, {}
            streams, self._streams = self._streams, {}
        for call, done in calls.values():
            call.cancel()
            done(reason)
        for stream in streams.values():
            stream.close(reason)

    def _forget(self, stream: _Stream) -> None:
        with self._lock:
            if self._streams.get(stream.sequence_id) is stream:
                del self._streams[stream.sequence_id]

    def _call(self, request: Request, message: service_pb2.ModelInferRequest, done: Done) -> None:
        try:
            call = self._stub.ModelInfer.future(message, timeout=request.deadline)
        except ValueError as error:  # of a closed channel
            raise ServerUnavailable(f"the connection to {self._address} was closed") from error
        with self._lock:
            self._calls[request.request_id] = (call, done)
        call.add_done_callback(partial(self._take, request.request_id))

    def _take(self, request_id: str, call: grpc.Future) -> None:
        with self._lock:
            known = self._calls.get(request_id)
            if known is None or known[0] is not call:
                return
            del self._calls[request_id]
        try:
            answer: Answer = decode(call.result())
        except grpc.RpcError as error:
            answer = error_of_call(error)
        except (grpc.FutureCancelledError, InferenceError) as error:
            answer = error
        known[1](answer)

    def _read_config(self, model: str, version: int) -> ModelConfig:
        asked = service_pb2.ModelConfigRequest(
            name=model, version="" if version == -1 else str(version)
        )
        try:
            return self._stub.ModelConfig(asked, timeout=_QUESTION_DURATION).config
        except grpc.RpcError as error:
            raise self._explain(error, model) from error

    def _read_version(self) -> int:
        asked = service_pb2.ModelMetadataRequest(name=self._model)
        try:
            answer = self._stub.ModelMetadata(asked, timeout=_QUESTION_DURATION)
        except grpc.RpcError as error:
            raise self._explain(error, self._model) from error
        return max(int(version) for version in answer.versions)

    def _explain(self, error: grpc.RpcError, model: str) -> InferenceError:
        known = error_of_call(error)
        if isinstance(known, InvalidRequest):
            return InvalidRequest(f"server {self._address}: {known}", model=model)
        return ServerUnavailable(
            f"no server answers at {self._address} for model {model}: start it, or mend the "
            f"address ({known})",
            model=model,
        )


class _Stream:
    """The way of one sequence to the server and back, with a thread that reads.

    Args:
        stub: The server.
        sequence_id: The sequence.
        ended: Called when nothing can be sent any more.
    """

    def __init__(
        self,
        stub: service_pb2_grpc.GRPCInferenceServiceStub,
        sequence_id: int,
        ended: Callable[[_Stream], None],
    ) -> None:
        self.sequence_id = sequence_id
        self._ended = ended
        self._lock = threading.Lock()
        self._waiting: dict[str, Done] = {}
        self._last_sent = False
        self._open = True
        self._messages: SimpleQueue[service_pb2.ModelInferRequest | None] = SimpleQueue()
        self._call = stub.ModelStreamInfer(self._outgoing())
        self._thread = threading.Thread(
            target=self._read, name=f"hermes-sequence-{sequence_id}", daemon=True
        )
        self._thread.start()

    def send(self, message: service_pb2.ModelInferRequest, done: Done, last: bool) -> bool:
        """Send an update; returns False if the stream has ended, and it was not sent."""
        with self._lock:
            if not self._open:
                return False
            self._waiting[message.id] = done
            self._last_sent = last
            self._messages.put(message)
            return True

    def close(self, reason: InferenceError) -> None:
        """End the stream, and answer what waits with an error."""
        self._finish(reason)
        self._call.cancel()
        if threading.current_thread() is not self._thread:
            self._thread.join(_FAREWELL_DURATION)

    def _outgoing(self) -> Iterator[service_pb2.ModelInferRequest]:
        while (message := self._messages.get()) is not None:
            yield message

    def _read(self) -> None:
        reason: InferenceError = ServerUnavailable("the server ended the stream")
        try:
            for response in self._call:
                if not self._take(response):
                    reason = InferenceError(
                        f"an error that names no request: {response.error_message}"
                    )
                    break
        except grpc.RpcError as error:
            reason = error_of_call(error)
        finally:
            self._finish(reason)
            self._call.cancel()

    def _take(self, response: service_pb2.ModelStreamInferResponse) -> bool:
        """Hand over an answer; returns False for one that may be anybody's."""
        name = response.infer_response.id
        if response.error_message:
            if not name:
                return False
            answer: Answer = error_of_text(response.error_message)
        else:
            try:
                answer = decode(response.infer_response)
            except InferenceError as error:
                answer = error
        with self._lock:
            done = self._waiting.pop(name, None)
        if done is None:
            return bool(name)  # an answer that came twice
        done(answer)
        self._retire(answer)
        return True

    def _retire(self, answer: Answer) -> None:
        """End a stream that has nothing to do any more, for the server has ended the sequence."""
        over = isinstance(answer, InvalidRequest) and "START" in str(answer)
        with self._lock:
            if not self._open or self._waiting or not (self._last_sent or over):
                return
            self._open = False
            self._messages.put(None)
        self._ended(self)

    def _finish(self, reason: InferenceError) -> None:
        with self._lock:
            self._open = False
            waiting, self._waiting = self._waiting, {}
            self._messages.put(None)
        self._ended(self)
        for done in waiting.values():
            done(reason)
