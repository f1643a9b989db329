"""The client by itself: order, places, pace, deadlines, errors, closing."""

import asyncio
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from client_doubles import Immediate, Scripted, wait_until
from hermes.aeriel.client import InferenceClient
from hermes.errors import (
    DeadlineExceeded,
    InferenceError,
    InvalidRequest,
    SequenceLost,
    ServerUnavailable,
)

X = np.array([1.0, 2.0])


def client_of(transport, **settings):
    return InferenceClient(transport, "scripted", **settings)


def test_importing_the_client_imports_no_engine():
    code = (
        "import sys, hermes.aeriel.client; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'onnxruntime', 'onnx')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_answers_go_to_their_requests_whatever_their_order():
    transport = Scripted()
    with client_of(transport) as client:
        futures = [client.infer(X * number) for number in range(10)]
        for number in np.random.default_rng(0).permutation(10):
            transport.answer(number)
        for number, future in enumerate(futures):
            assert (future.result(1) == X * number).all()


def test_a_second_answer_is_nobodys():
    transport = Scripted()
    with client_of(transport) as client:
        first = client.infer(X)
        transport.answer(0)
        second = client.infer(X * 2)
        transport.answer(0, X * 100)
        assert not second.done()
        transport.answer(1)
        assert (first.result(1) == X).all()
        assert (second.result(1) == X * 2).all()


def test_ids_are_unique_and_the_callers_is_handed_back():
    transport = Scripted(stateful=True)
    seen = []
    with client_of(
        transport,
        callback=lambda y, request_id, sequence_id: seen.append((request_id, sequence_id)),
    ) as client:
        client.infer(X, request_id=7, sequence_id=3, sequence_start=True)
        client.infer(X, request_id=7, sequence_id=4, sequence_start=True)
        assert transport.sent[0][0].request_id != transport.sent[1][0].request_id
        transport.answer(1)
        transport.answer(0)
    assert seen == [(7, 4), (7, 3)]


def test_sequence_ids_are_never_zero_and_63_bits(monkeypatch):
    ids = {InferenceClient.new_sequence() for _ in range(1000)}
    assert len(ids) == 1000
    assert min(ids) > 0
    assert max(ids) < 2**63
    assert max(ids) > 2**60
    monkeypatch.setattr("secrets.randbelow", lambda bound: 0)
    assert InferenceClient.new_sequence() == 1


# Places.


def test_infer_waits_for_a_place():
    transport = Scripted()
    with client_of(transport, in_flight=2) as client:
        for _ in range(2):
            client.infer(X)
        third = threading.Thread(target=client.infer, args=(X,))
        third.start()
        time.sleep(0.05)
        assert len(transport.sent) == 2
        transport.answer(0)
        transport.wait_for(3)
        third.join(1)
        transport.answer(1)
        transport.answer(2)


def test_a_slow_callback_holds_its_place():
    transport = Scripted()
    release = threading.Event()
    with client_of(transport, in_flight=1, callback=lambda *_: release.wait(5)) as client:
        client.infer(X)
        answering = threading.Thread(target=transport.answer, args=(0,))
        answering.start()
        second = threading.Thread(target=client.infer, args=(X,))
        second.start()
        time.sleep(0.05)
        assert len(transport.sent) == 1
        release.set()
        transport.wait_for(2)
        transport.answer(1)
        answering.join()
        second.join()


def test_a_callback_may_infer_when_all_places_are_taken():
    transport = Scripted()
    client = client_of(transport, in_flight=1, callback=lambda *_: again())
    count = 0

    def again():
        nonlocal count
        count += 1
        if count < 4:
            client.infer(X)

    with client:
        client.infer(X)
        for number in range(4):
            transport.wait_for(number + 1)
            transport.answer(number)
    assert count == 4


def test_places_are_given_in_the_order_of_asking():
    transport = Scripted()
    with client_of(transport, in_flight=1) as client:
        client.infer(X * 0)
        threads = []
        for number in range(1, 6):
            threads.append(threading.Thread(target=client.infer, args=(X * number,)))
            threads[-1].start()
            wait_until(lambda n=number: len(client._gate._waiting) == n)
        for number in range(6):
            transport.wait_for(number + 1)
            transport.answer(number)
        for thread in threads:
            thread.join()
    assert [request.inputs["x"][0] for request, _ in transport.sent] == list(range(6))


def test_requests_of_a_sequence_from_many_threads_are_numbered_as_they_are_sent():
    transport = Scripted(stateful=True)
    with client_of(transport, in_flight=1000) as client:
        client.infer(X, sequence_id=5, sequence_start=True)

        def send(thread):
            for number in range(50):
                client.infer(X * (thread * 50 + number), sequence_id=5)

        threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(transport.sent) == 201
        for number in range(151):
            transport.answer(number)
        transport.sent[151][1](ServerUnavailable("gone"))
        error = client.infer(X, sequence_id=5).exception(1)
    assert isinstance(error, SequenceLost)
    assert error.last_answered == 150


def test_rate_is_kept_without_spinning():
    transport = Immediate()
    with client_of(transport, rate=200) as client:
        begin, cpu = time.monotonic(), time.thread_time()
        for _ in range(60):
            client.infer(X)
        took, used = time.monotonic() - begin, time.thread_time() - cpu
    # 10 may come at once in the first 0.05 s.
    assert took > 0.9 * 49 / 200
    assert used < 0.5 * took


# Deadlines and repetitions.


def test_a_deadline_passes_without_any_answer_and_a_late_one_is_dropped():
    transport = Scripted()
    with client_of(transport, deadline=0.1, in_flight=1) as client:
        begin = time.monotonic()
        first = client.infer(X, request_id="first")
        error = first.exception(2)
        assert 0.09 < time.monotonic() - begin < 0.5
        assert isinstance(error, DeadlineExceeded)
        assert error.request_id == "first"
        second = client.infer(X * 2)
        transport.answer(0)
        assert not second.done()
        transport.answer(1)
        assert (second.result(1) == X * 2).all()
    assert client.latencies.count == 1


def test_each_request_has_the_whole_deadline():
    transport = Scripted()
    with client_of(transport, deadline=0.2) as client:
        time.sleep(0.15)  # the clock does not run before a request
        futures = []
        for _ in range(3):
            begin = time.monotonic()
            futures.append((begin, client.infer(X)))
            time.sleep(0.05)
        for begin, future in futures:
            future.exception(2)
            assert 0.19 < time.monotonic() - begin < 0.4


def test_a_lone_request_is_sent_again_when_the_server_went_away():
    transport = Scripted()
    with client_of(transport, retries=2) as client:
        future = client.infer(X)
        transport.sent[0][1](ServerUnavailable("gone"))
        transport.wait_for(2)
        assert transport.reconnected == 1
        assert not future.done()
        transport.answer(1)
        assert (future.result(1) == X).all()


def test_what_is_sent_again_is_what_was_given():
    transport = Scripted()
    x = X.copy()
    with client_of(transport) as client:
        future = client.infer(x)
        x[:] = -1
        transport.sent[0][1](ServerUnavailable("gone"))
        transport.wait_for(2)
        transport.answer(1)
        assert (future.result(1) == X).all()


def test_what_nobody_can_write_to_is_sent_without_a_copy():
    transport = Scripted()
    fixed, loose = X.copy(), X.copy()
    fixed.flags.writeable = False
    # read only itself, but not what it is a view of
    view = loose[:]
    view.flags.writeable = False
    with client_of(transport) as client:
        client.infer(fixed[:])
        client.infer(view)
        sent = [request.inputs["x"] for request, _ in transport.sent]
        assert np.shares_memory(sent[0], fixed)
        loose[:] = -1
        assert (sent[1] == X).all()
        transport.answer(0)
        transport.answer(1)


def test_repetitions_end():
    transport = Scripted()
    with client_of(transport, retries=1) as client:
        future = client.infer(X, request_id=3)
        for number in range(2):
            transport.wait_for(number + 1)
            transport.sent[number][1](ServerUnavailable("gone"))
        error = future.exception(1)
    assert isinstance(error, ServerUnavailable)
    assert error.request_id == "3"


@pytest.mark.parametrize("error", [InvalidRequest("no"), InferenceError("broken")])
def test_what_would_fail_again_is_not_repeated(error):
    transport = Scripted()
    with client_of(transport) as client:
        future = client.infer(X)
        transport.sent[0][1](error)
        assert type(future.exception(1)) is type(error)
    assert len(transport.sent) == 1


def test_nobody_is_cut_off_by_the_repetition_of_another():
    transport = Scripted()
    with client_of(transport) as client:
        client.infer(X)
        client.infer(X)
        transport.sent[0][1](ServerUnavailable("queue full"))
        transport.wait_for(3)
        assert transport.reconnected == 0
        transport.answer(1)
        transport.answer(2)


# Sequences.


def test_loss_fails_all_that_is_outstanding_and_later():
    transport = Scripted(stateful=True)
    with client_of(transport) as client:
        futures = [
            client.infer(X, request_id=n, sequence_id=9, sequence_start=n == 0) for n in range(6)
        ]
        other = client.infer(X, sequence_id=10, sequence_start=True)
        transport.answer(0)
        transport.answer(1)
        transport.answer(3)
        transport.sent[2][1](ServerUnavailable("died"))
        for number in (2, 4, 5):
            error = futures[number].exception(1)
            assert isinstance(error, SequenceLost)
            assert (error.request_id, error.sequence_id) == (str(number), 9)
            assert error.last_answered == 1
        before = len(transport.sent)
        assert isinstance(client.infer(X, sequence_id=9).exception(1), SequenceLost)
        assert len(transport.sent) == before
        assert not other.done()
        transport.answer(6)
        again = client.infer(X, sequence_id=9, sequence_start=True)
        transport.answer(7)
        assert (again.result(1) == X).all()


def test_an_update_is_never_sent_twice():
    transport = Scripted(stateful=True)
    with client_of(transport) as client:
        future = client.infer(X, sequence_id=9, sequence_start=True)
        transport.sent[0][1](ServerUnavailable("died"))
        assert isinstance(future.exception(1), SequenceLost)
        time.sleep(0.3)
    assert len(transport.sent) == 1


def test_after_a_failed_update_no_answer_is_taken_for_right():
    transport = Scripted(stateful=True)
    with client_of(transport) as client:
        futures = [client.infer(X, sequence_id=9, sequence_start=n == 0) for n in range(3)]
        transport.answer(0)
        transport.sent[1][1](InferenceError("broken"))
        assert type(futures[1].exception(1)) is InferenceError
        assert isinstance(futures[2].exception(1), SequenceLost)
        # The server still holds a place for it, which is freed.
        release = transport.sent[3][0]
        assert (release.sequence_id, release.sequence_end) == (9, True)
        transport.answer(3)
    assert futures[2].exception().last_answered == 0


def test_a_lost_sequence_is_ended_on_the_server_once():
    transport = Scripted(stateful=True)
    with client_of(transport) as client:
        for number in range(3):
            client.infer(X, sequence_id=9, sequence_start=number == 0)
        for number in range(3):
            transport.sent[number][1](InferenceError("broken"))
        assert [request.sequence_end for request, _ in transport.sent] == [False] * 3 + [True]
        transport.answer(3)


def test_a_late_error_of_an_update_loses_the_sequence():
    transport = Scripted(stateful=True)
    with client_of(transport, deadline=0.05) as client:
        late = client.infer(X, sequence_id=9, sequence_start=True)
        assert isinstance(late.exception(1), DeadlineExceeded)
        transport.sent[0][1](ServerUnavailable("died"))
        assert isinstance(client.infer(X, sequence_id=9).exception(1), SequenceLost)


def test_missing_start_is_the_callers_if_it_did_not_start_and_a_loss_if_it_did():
    transport = Scripted(stateful=True)
    missing = InvalidRequest("must specify the START flag")
    with client_of(transport) as client:
        stranger = [client.infer(X, sequence_id=1) for _ in range(2)]
        transport.sent[0][1](missing)
        transport.sent[1][1](missing)
        assert all(type(future.exception(1)) is InvalidRequest for future in stranger)
        client.infer(X, sequence_id=2, sequence_start=True)
        transport.answer(2)
        own = client.infer(X, sequence_id=2)
        transport.sent[3][1](missing)
        assert isinstance(own.exception(1), SequenceLost)
        assert own.exception().last_answered == 0


@pytest.mark.parametrize("sequence_id", [None, 0, -1, 2**64])
def test_models_with_state_need_a_sequence(sequence_id):
    transport = Scripted(stateful=True)
    with client_of(transport) as client:
        future = client.infer(X, sequence_id=sequence_id, sequence_start=True)
        assert isinstance(future.exception(1), InvalidRequest)
    assert not transport.sent


def test_models_without_state_ignore_the_sequence_but_hand_it_back():
    transport = Scripted()
    seen = []
    with client_of(transport, callback=lambda *answer: seen.append(answer[1:])) as client:
        client.infer(X, request_id="a", sequence_id=5)
        assert transport.sent[0][0].sequence_id is None
        transport.answer(0)
    assert seen == [("a", 5)]


def test_ended_sequences_are_forgotten():
    with client_of(Immediate(stateful=True)) as client:
        for number in range(1, 100):
            client.infer(X, sequence_id=number, sequence_start=True)
            client.infer(X, sequence_id=number, sequence_end=True)
        assert not client._dispatch._register._sequences
        assert not client._dispatch._register._pending


# What is sent.


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (X.astype("float32"), "float32"),
        (X[:1], "shape"),
        (X[None], "shape"),
        ({"z": X}, "no input z"),
        ({}, "no input x"),
        ("text", "no array"),
    ],
)
def test_wrong_requests_are_refused_before_they_are_sent(x, said):
    transport = Scripted(stateful=True)
    with client_of(transport) as client:
        client.infer(X, sequence_id=1, sequence_start=True)
        error = client.infer(x, request_id=8, sequence_id=1).exception(1)
        assert isinstance(error, InvalidRequest)
        assert said in str(error)
        assert (error.request_id, error.sequence_id, error.model) == ("8", 1, "scripted")
        # It did not touch the sequence.
        good = client.infer(X, sequence_id=1)
        transport.answer(0)
        transport.answer(1)
        assert (good.result(1) == X).all()


def test_lists_take_the_type_of_the_input():
    transport = Scripted(dtype="float16")
    with client_of(transport) as client:
        client.infer([1, 2])
        assert transport.sent[0][0].inputs["x"].dtype == np.float16
        transport.answer(0)


def test_batches_and_several_inputs():
    transport = Scripted(max_batch_size=4, inputs=2)
    with client_of(transport) as client:
        assert client.inputs["x1"] == (np.dtype("float64"), (None, 2))
        batch = np.zeros((4, 2))
        assert "dict" in str(client.infer(batch).exception(1))
        for wrong in (np.zeros((5, 2)), np.zeros((0, 2))):
            assert "batch size" in str(client.infer({"x": wrong, "x1": wrong}).exception(1))
        differ = client.infer({"x": batch, "x1": batch[:3]}).exception(1)
        assert "differ in batch size" in str(differ)
        client.infer({"x": batch, "x1": batch})
        transport.answer(0)


# Errors that nobody asks for, and the end.


def test_errors_without_anybody_to_tell_are_raised_by_the_next_call():
    transport = Scripted()
    with client_of(transport, callback=lambda *_: None) as client:
        client.infer(X, request_id="lost")
        transport.sent[0][1](InferenceError("broken"))
        with pytest.raises(InferenceError, match="lost") as caught:
            client.infer(X)
        assert caught.value.request_id == "lost"
    assert len(transport.sent) == 1


def test_errors_and_failing_callbacks_are_raised_at_the_end():
    def fail(*_):
        raise KeyError("physics")

    transport = Scripted()
    client = client_of(transport, callback=fail)
    future = client.infer(X)
    transport.answer(0)
    assert (future.result(1) == X).all()
    with pytest.raises(KeyError, match="physics") as caught:
        client.close()
    assert "in the callback of request" in caught.value.__notes__[0]


def test_on_error_is_told():
    transport = Scripted()
    told = []
    with client_of(transport, callback=lambda *_: None, on_error=told.append) as client:
        client.infer(X, request_id="lost")
        transport.sent[0][1](InferenceError("broken"))
        client.infer(X)
        transport.answer(1)
    assert [error.request_id for error in told] == ["lost"]


def test_closing_waits_for_answers_and_leaves_no_thread():
    before = threading.active_count()
    transport = Scripted()
    client = client_of(transport)
    future = client.infer(X)
    timer = threading.Timer(0.1, transport.answer, [0])
    timer.start()
    client.close()
    assert (future.result(0) == X).all()
    assert transport.closed
    timer.join()
    assert threading.active_count() == before
    client.close()
    with pytest.raises(InvalidRequest, match="closed"):
        client.infer(X)


def test_closing_with_a_timeout_gives_up_a_silent_server():
    before = threading.active_count()
    transport = Scripted()
    client = client_of(transport, deadline=None, callback=lambda *_: None)
    answered, silent = client.infer(X), client.infer(X * 2)
    # The second answer is for a client that ignores the timeout, lest it wait for ever here.
    timers = [
        threading.Timer(0.05, transport.answer, [0]),
        threading.Timer(5, transport.answer, [1]),
    ]
    for timer in timers:
        timer.start()
    begin = time.monotonic()
    with pytest.raises(InferenceError, match="closed before the answer"):
        client.close(timeout=0.3)
    assert 0.29 < time.monotonic() - begin < 3
    assert (answered.result(0) == X).all()
    assert type(silent.exception(0)) is InferenceError
    assert transport.closed
    for timer in timers:
        timer.cancel()
        timer.join()
    assert threading.active_count() == before


def test_closing_with_a_timeout_takes_no_longer_than_the_answers():
    transport = Scripted()
    client = client_of(transport, deadline=None)
    future = client.infer(X)
    timer = threading.Timer(0.05, transport.answer, [0])
    timer.start()
    begin = time.monotonic()
    client.close(timeout=30)
    assert time.monotonic() - begin < 5
    assert (future.result(0) == X).all()
    timer.join()


def test_what_waits_for_its_turn_when_the_client_closes_is_not_sent():
    transport = Scripted()
    client = client_of(transport, rate=2)
    client.infer(X)
    refused = []
    thread = threading.Thread(target=lambda: refused.append(client.infer(X).exception(1)))
    thread.start()
    time.sleep(0.1)
    client.close(wait=False)
    thread.join(5)
    assert "closed before it was sent" in str(refused[0])
    assert len(transport.sent) == 1


def test_an_exception_in_the_block_fails_what_has_no_answer():
    transport = Scripted()
    client = client_of(transport, in_flight=1)
    caught = []

    def wait_in_line():
        try:
            client.infer(X)
        except InvalidRequest as error:
            caught.append(error)

    thread = threading.Thread(target=wait_in_line)
    future = client.infer(X)
    thread.start()
    wait_until(lambda: client._gate._waiting)
    with pytest.raises(KeyError), client:
        raise KeyError
    thread.join(1)
    assert isinstance(future.exception(0), InferenceError)
    assert len(caught) == 1


def test_a_transport_that_raises_is_an_error_of_the_request():
    transport = Scripted()

    def fail(request, done):
        raise OSError("no")

    transport.send = fail
    with client_of(transport) as client:
        error = client.infer(X, request_id=1).exception(1)
    assert isinstance(error, InferenceError)
    assert error.request_id == "1"


def test_latencies():
    transport = Scripted()
    with client_of(transport) as client:
        for number in range(20):
            client.infer(X)
            time.sleep(0.02 if number >= 18 else 0)
            transport.answer(number)
        summary = client.latencies.summary()
    assert summary["count"] == 20
    assert summary["p50"] < 0.01
    assert 0.019 < summary["p99"] < 0.2
    assert summary["throughput"] > 10


def test_quantiles_of_known_times():
    from hermes.aeriel.client import Latencies

    latencies = Latencies()
    durations = np.random.default_rng(1).lognormal(-6, 1, 20000)
    for duration in durations:
        latencies.add(duration)
    for probability in (0.01, 0.5, 0.9, 0.99):
        exact = np.quantile(durations, probability, method="inverted_cdf")
        assert latencies.quantile(probability) == pytest.approx(exact, rel=0.0101)
    assert latencies.mean == pytest.approx(durations.mean())
    latencies.reset()
    assert np.isnan(latencies.quantile(0.5))
    latencies.add(0.0)
    latencies.add(1e9)
    assert latencies.count == 2


@pytest.mark.parametrize("wrong", [{"in_flight": 0}, {"rate": -1}, {"deadline": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match="above 0"):
        client_of(Scripted(), **wrong)


# asyncio.


def test_ainfer_waits_without_holding_the_loop():
    transport = Scripted()

    async def run():
        with client_of(transport, in_flight=2) as client:
            tasks = [asyncio.create_task(client.ainfer(X * n)) for n in range(4)]
            await asyncio.sleep(0.05)
            assert len(transport.sent) == 2
            for number in range(4):
                while len(transport.sent) <= number:
                    await asyncio.sleep(0.001)
                transport.answer(number)
            return await asyncio.gather(*tasks)

    for number, answer in enumerate(asyncio.run(run())):
        assert (answer == X * number).all()


def test_a_cancelled_task_gives_its_place_back():
    transport = Scripted()

    async def run():
        with client_of(transport, in_flight=1) as client:
            first = asyncio.create_task(client.ainfer(X))
            await asyncio.sleep(0.01)
            waiting = asyncio.create_task(client.ainfer(X))
            await asyncio.sleep(0.01)
            waiting.cancel()
            first.cancel()
            await asyncio.sleep(0.01)
            transport.answer(0)
            last = asyncio.create_task(client.ainfer(X * 3))
            await asyncio.sleep(0.05)
            transport.answer(1)
            return await asyncio.wait_for(last, 1)

    assert (asyncio.run(run()) == X * 3).all()
    assert len(transport.sent) == 2


def test_ainfer_raises():
    transport = Scripted()

    async def run():
        with client_of(transport) as client:
            task = asyncio.create_task(client.ainfer(X))
            await asyncio.sleep(0.01)
            transport.sent[0][1](InferenceError("broken"))
            await task

    with pytest.raises(InferenceError, match="broken"):
        asyncio.run(run())
