"""The way by gRPC, against a server that misbehaves on command."""

import threading
import time
from contextlib import suppress

import client_fault_server as fault
import grpc
import numpy as np
import pytest
from client_doubles import wait_until
from hermes.aeriel.client import InferenceClient, Request
from hermes.aeriel.client.messages import decode, encode
from hermes.errors import (
    DeadlineExceeded,
    InferenceError,
    InvalidRequest,
    SequenceLost,
    ServerUnavailable,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tritonclient.grpc import service_pb2


@pytest.fixture
def servicer():
    return fault.Faulty()


@pytest.fixture
def address(servicer):
    with fault.serving(servicer) as address:
        yield address


def update(command=1):
    return np.array([float(command), 1.0])


def test_lone_requests(address, servicer):
    with InferenceClient(f"grpc://{address}", "twice", name="me") as client:
        assert not client.stateful
        assert client.version == 10  # the highest, not the last word of the alphabet
        futures = [client.infer(update(n)) for n in range(50)]
        for number, future in enumerate(futures):
            output = future.result(5)
            assert (output == 2 * update(number)).all()
            output += 1  # is the caller's own
    assert all(request.id.startswith("me-") for request in servicer.unary)
    assert len({request.id for request in servicer.unary}) == 50
    assert {request.model_version for request in servicer.unary} == {""}


def test_a_chosen_version_is_asked_for(address, servicer):
    with InferenceClient(address, "twice", 9) as client:
        client.infer(update()).result(5)
        assert client.version == 9
    assert servicer.unary[0].model_version == "9"


def test_lone_requests_are_repeated_when_refused(address, servicer):
    servicer.refuse = 2
    with InferenceClient(address, "twice", retries=2) as client:
        assert (client.infer(update(3)).result(5) == 2 * update(3)).all()
    assert len(servicer.unary) == 3


def test_a_lone_request_without_an_answer(address):
    with InferenceClient(address, "twice", deadline=0.2) as client:
        begin = time.monotonic()
        silent = client.infer(update(fault.MUTE), request_id=4)
        assert (client.infer(update(2)).result(5) == 2 * update(2)).all()
        error = silent.exception(5)
        assert isinstance(error, DeadlineExceeded)
        assert error.request_id == "4"
        assert time.monotonic() - begin < 1


def test_a_models_error_is_that_requests(address):
    with InferenceClient(address, "twice") as client:
        good, bad = client.infer(update(2)), client.infer(update(fault.NAMED), request_id="bad")
        assert type(bad.exception(5)) is InferenceError
        assert bad.exception().request_id == "bad"
        assert (good.result(5) == 2 * update(2)).all()


@pytest.mark.parametrize(
    ("command", "own"),
    [
        (fault.BREAK, SequenceLost),
        (fault.LEAVE, SequenceLost),
        (fault.SHORT, InferenceError),
        (fault.UNTYPED, InferenceError),
        (fault.UNNAMED, InferenceError),
        (fault.NAMED, InferenceError),
        (fault.FULL, SequenceLost),
    ],
)
def test_what_befalls_a_sequence_is_its_own(address, command, own):
    with InferenceClient(address, "sum", in_flight=64) as client:
        commands = [1, 2, command, 3, 4]
        futures = [
            client.infer(update(c), request_id=n, sequence_id=5, sequence_start=n == 0)
            for n, c in enumerate(commands)
        ]
        others = [client.infer(update(n), sequence_id=6, sequence_start=n == 0) for n in range(9)]
        assert futures[0].result(5)[0] == 1
        assert futures[1].result(5)[0] == 3
        assert isinstance(futures[2].exception(5), InferenceError)
        # An error without a name may be that of any of the three: none of them gets an answer.
        if command != fault.UNNAMED:
            assert type(futures[2].exception()) is own
        assert futures[2].exception().request_id == "2"
        assert futures[2].exception().sequence_id == 5
        for number in (3, 4):
            error = futures[number].exception(5)
            assert isinstance(error, InferenceError)
            assert error.request_id == str(number)
        late = client.infer(update(), sequence_id=5).exception(5)
        assert isinstance(late, SequenceLost)
        assert late.last_answered == 1
        assert [future.result(5)[0] for future in others] == list(np.cumsum(range(9)))


@pytest.mark.parametrize("command", [fault.TWICE, fault.STRANGER])
def test_answers_too_many_are_nobodys(address, command):
    commands = [1, command, 3, command, 5]
    with InferenceClient(address, "sum") as client:
        outputs = list(client.stream([update(c) for c in commands], in_flight=1))
    assert [output[0] for output in outputs] == list(np.cumsum(commands))


@pytest.mark.parametrize("window", [1, 8])
def test_streams_go_on_after_a_break(address, servicer, window):
    # The server breaks the stream once; the model never forgets, so all is sent again.
    respond = servicer.respond
    broken = []

    def break_once(request, context):
        x = np.frombuffer(request.raw_input_contents[0])
        if x[0] == 30 and not broken:
            broken.append(True)
            servicer.states.clear()
            context.abort(grpc.StatusCode.UNAVAILABLE, "died")
        return respond(request, context)

    servicer.respond = break_once
    with InferenceClient(address, "sum") as client:
        outputs = list(client.stream([update(n) for n in range(60)], in_flight=window))
    assert broken
    assert [output[0] for output in outputs] == list(np.cumsum(range(60)))


def test_a_stream_over_a_silent_answer(address, servicer):
    respond = servicer.respond
    muted = []

    def mute_once(request, context):
        answers = list(respond(request, context))
        if np.frombuffer(request.raw_input_contents[0])[0] == 7 and not muted:
            muted.append(True)
            return []
        return answers

    servicer.respond = mute_once
    with InferenceClient(address, "sum", deadline=0.3) as client:
        outputs = list(client.stream([update(n) for n in range(20)], in_flight=4))
    assert muted
    assert [output[0] for output in outputs] == list(np.cumsum(range(20)))


def test_a_server_that_comes_back_on_its_port(servicer):
    updates = [update(n) for n in range(40)]
    with fault.serving(servicer) as address:
        client = InferenceClient(address, "sum", deadline=5)
        stream = client.stream(updates, in_flight=4)
        outputs = [next(stream) for _ in range(20)]
    with pytest.raises(ServerUnavailable, match="no server answers"):
        InferenceClient(address, "sum")
    rest = threading.Thread(target=lambda: outputs.extend(stream))
    rest.start()
    time.sleep(0.3)
    second = fault.Faulty()
    with client, fault.serving(second, int(address.split(":")[1])):
        rest.join(10)
        assert not rest.is_alive()
        client.close()
    assert [output[0] for output in outputs] == list(np.cumsum(range(40)))
    # It began again, under another id.
    assert not servicer.states.keys() & second.states.keys()


def test_streams_end_with_their_sequences_and_no_thread_stays(address, servicer):
    before = threading.active_count()
    with InferenceClient(address, "sum") as client:
        for sequence_id in range(1, 21):
            client.infer(update(), sequence_id=sequence_id, sequence_start=True)
            client.infer(update(), sequence_id=sequence_id, sequence_end=True).result(5)
        wait_until(lambda: servicer.open_streams == 0)
        client.infer(update(), sequence_id=99).exception(5)
        wait_until(lambda: servicer.open_streams == 0)
        for sequence_id in range(1, 6):
            client.infer(update(), sequence_id=sequence_id, sequence_start=True).result(5)
        assert servicer.open_streams == 5
    wait_until(lambda: servicer.open_streams == 0)
    # What the server needs for its own streams is not counted.
    own = [t for t in threading.enumerate() if "hermes" in t.name]
    assert not own
    wait_until(lambda: threading.active_count() <= before + 16)


def test_a_sequence_that_ends_and_begins_again_at_once(address):
    with InferenceClient(address, "sum") as client:
        futures = []
        for _ in range(50):
            futures.append(client.infer(update(), sequence_id=3, sequence_start=True))
            futures.append(client.infer(update(), sequence_id=3, sequence_end=True))
        assert [future.result(5)[0] for future in futures] == [1, 2] * 50


def test_closing_in_the_middle_fails_what_has_no_answer(address):
    client = InferenceClient(address, "sum")
    future = client.infer(update(fault.MUTE), sequence_id=3, sequence_start=True)
    client.close(wait=False)
    assert isinstance(future.exception(0), InferenceError)


def test_a_callback_may_close(address):
    closed = threading.Event()

    def close(*_):
        client.close()
        closed.set()

    client = InferenceClient(address, "sum", callback=close)
    client.infer(update(), sequence_id=3, sequence_start=True)
    assert closed.wait(5)


def test_addresses_without_a_server_or_a_model(address):
    with pytest.raises(InvalidRequest, match="unknown model"):
        InferenceClient(address, "nothing")
    with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1:1 "):
        InferenceClient("127.0.0.1:1", "sum")


@given(
    array=arrays(
        st.sampled_from(["bool", "uint8", "int16", "uint64", "int64", "float16", "float64"]),
        array_shapes(min_dims=0, max_dims=3, min_side=0),
    )
)
def test_arrays_survive_the_way_there_and_back(array):
    message = encode(Request("a", {"x": array.T}), "m", "")
    tensor = message.inputs[0]
    answer = service_pb2.ModelInferResponse(raw_output_contents=message.raw_input_contents)
    answer.outputs.add(name="x", datatype=tensor.datatype, shape=tensor.shape)
    back = decode(answer)["x"]
    assert back.dtype == array.dtype
    assert back.tobytes() == array.T.tobytes()
    assert back.flags.writeable


@given(
    content=st.binary(max_size=20),
    datatype=st.sampled_from(["FP32", "BF16", "", "INT64"]),
    shape=st.lists(st.integers(-2, 3), max_size=3),
)
def test_damaged_answers_are_errors(content, datatype, shape):
    answer = service_pb2.ModelInferResponse(raw_output_contents=[content])
    answer.outputs.add(name="y", datatype=datatype, shape=shape)
    # Anything else that is raised would end the thread that reads.
    with suppress(InferenceError):
        output = decode(answer)["y"]
        assert output.tobytes() == content
        assert list(output.shape) == shape


@pytest.mark.parametrize("sequence_id", [1, 2**63 - 1, 2**63, 2**64 - 1])
def test_all_64_bits_of_an_id_are_sent(sequence_id):
    message = encode(Request("a", {}, sequence_id), "m", "")
    assert message.parameters["sequence_id"].int64_param % 2**64 == sequence_id
