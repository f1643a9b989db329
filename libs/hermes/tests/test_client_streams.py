"""Streams over losses: what the caller sees is what an unbroken run gives."""

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from client_doubles import Scripted, Simulated, expected_outputs, wait_until
from hermes.aeriel.client import InferenceClient, backoff, streams
from hermes.errors import InferenceError, InvalidRequest, SequenceLost
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST", 0.001)


def updates_of(count):
    # Whole numbers in float64: sums are exact, so any order of adding gives the same.
    return np.random.default_rng(count).integers(-1000, 1000, (count, 2)).astype(float)


def run(server, updates, window=4, deadline=5.0, **settings):
    with InferenceClient(server, "scripted", deadline=deadline) as client:
        return list(client.stream(updates, in_flight=window, **settings))


FAULTS = st.dictionaries(
    st.integers(0, 60), st.sampled_from(["die", "forget", "twice"]), max_size=6
)


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(1, 30),
    memory=st.none() | st.integers(0, 8),
    faults=FAULTS,
    window=st.integers(1, 8),
    indexed=st.booleans(),
    away=st.integers(0, 5),
)
def test_no_gap_no_repetition_no_shift(count, memory, faults, window, indexed, away):
    updates = updates_of(count)
    server = Simulated(memory, faults, away)
    outputs = run(server, updates if indexed else iter(updates), window, replays=20)
    np.testing.assert_array_equal(outputs, expected_outputs(updates, memory))


@settings(max_examples=25, deadline=None)
@given(
    memory=st.none() | st.integers(0, 4),
    silent=st.integers(0, 20),
    fault=st.sampled_from(["mute", "late"]),
    others=FAULTS,
    window=st.integers(1, 6),
    indexed=st.booleans(),
)
def test_answers_that_come_late_or_never(memory, silent, fault, others, window, indexed):
    updates = updates_of(15)
    server = Simulated(memory, {**others, silent: fault}, delay=0.08)
    outputs = run(server, updates if indexed else iter(updates), window, deadline=0.05, replays=20)
    np.testing.assert_array_equal(outputs, expected_outputs(updates, memory))


@settings(max_examples=40, deadline=None)
@given(memory=st.none() | st.integers(0, 5), fault=st.integers(1, 19))
def test_replay_by_hand(memory, fault):
    updates = updates_of(20)
    server = Simulated(memory, {fault: "die"}, away=0)
    with InferenceClient(server, "scripted") as client:
        sequence_id = client.new_sequence()
        outputs = []
        futures = [
            client.infer(x, sequence_id=sequence_id, sequence_start=n == 0)
            for n, x in enumerate(updates)
        ]
        with pytest.raises(SequenceLost) as caught:
            outputs.extend(future.result(5) for future in futures)
        assert caught.value.last_answered == len(outputs) - 1
        outputs += client.replay(caught.value, updates)
    np.testing.assert_array_equal(outputs, expected_outputs(updates, memory))


def test_replay_sends_what_the_model_remembers_and_no_more():
    updates = updates_of(30)
    server = Simulated(memory=3, faults={20: "forget"})
    run(server, updates, window=1)
    # 20 answered, 1 refused, 3 again, 10 for the rest.
    assert server.count == 20 + 1 + 3 + 10


def test_replay_needs_what_can_be_read_again():
    with InferenceClient(Simulated(memory=2), "scripted") as client:
        with pytest.raises(ValueError, match="index"):
            client.replay(SequenceLost("lost", last_answered=3), iter(updates_of(5)))
        assert list(client.replay(SequenceLost("lost", last_answered=4), updates_of(5))) == []


def test_streams_are_for_models_with_state():
    client = InferenceClient(Scripted(), "scripted")
    with client, pytest.raises(InvalidRequest, match="use infer"):
        client.stream(updates_of(3))


def test_no_updates_no_outputs():
    server = Simulated(memory=2)
    assert run(server, []) == []
    assert run(Simulated(memory=2), iter([])) == []
    assert not server.count


def test_a_server_that_stays_away_is_waited_for_in_vain():
    server = Simulated(memory=2, faults={5: "die"}, away=10**9)
    outputs = []
    client = InferenceClient(server, "scripted")
    with client, pytest.raises(SequenceLost, match="still away"):
        outputs.extend(client.stream(updates_of(20), patience=0.2))
    assert len(outputs) == 5
    assert server.reconnected > 1


def test_an_open_sequence_is_not_cut_off_by_the_trouble_of_another():
    server = Simulated(memory=2, faults={4: "mute"})
    with InferenceClient(server, "scripted", deadline=0.1) as client:
        kept = client.new_sequence()
        client.infer(np.ones(2), sequence_id=kept, sequence_start=True).result(5)
        assert len(list(client.stream(updates_of(10), in_flight=1))) == 10
        assert server.reconnected == 0
        assert client.infer(np.ones(2), sequence_id=kept, sequence_end=True).result(5)[0] == 3
        server.faults = {server.count + 4: "mute"}
        assert len(list(client.stream(updates_of(10), in_flight=1))) == 10
        assert server.reconnected == 1


def test_losses_in_a_row_end():
    server = Simulated(memory=2, faults=dict.fromkeys(range(5, 1000), "forget"))
    with pytest.raises(SequenceLost):
        run(server, updates_of(20), window=1, replays=3)


def test_replays_zero_keeps_nothing_and_raises():
    server = Simulated(memory=None, faults={50: "forget"})
    with InferenceClient(server, "scripted") as client:
        course = streams.Course(iter(updates_of(100)), client._plan(None, 4, 0, 1.0), 0)
        with pytest.raises(SequenceLost):
            list(streams.follow(client._intake, course))
    assert len(course.history._kept) <= 8


def test_an_endless_source_is_kept_no_longer_than_needed():
    server = Simulated(memory=10)
    with InferenceClient(server, "scripted") as client:
        course = streams.Course(itertools.repeat(np.ones(2)), client._plan(None, 8, 3, 1.0), 0)
        for _ in itertools.islice(streams.follow(client._intake, course), 2000):
            assert len(course.history._kept) <= 10 + 8 + 1


def test_an_update_that_fails_by_itself_is_not_tried_again():
    updates = list(updates_of(10))
    updates[4] = np.ones(3)
    server = Simulated(memory=2)
    outputs = []
    with InferenceClient(server, "scripted") as client:
        with pytest.raises(InvalidRequest, match="shape"):
            outputs.extend(client.stream(updates))
        wait_until(lambda: server.ended)
    np.testing.assert_array_equal(outputs, expected_outputs(updates[:4], 2))


@pytest.mark.parametrize("indexed", [True, False])
def test_a_caller_that_goes_away_frees_the_place_on_the_server(indexed):
    server = Simulated(memory=2)
    updates = updates_of(20)
    with InferenceClient(server, "scripted") as client:
        for _ in client.stream(updates if indexed else iter(updates), sequence_id=77):
            break
        wait_until(lambda: server.ended == [77])
        assert not client._dispatch._register._sequences
        list(client.stream(iter(updates)))
        wait_until(lambda: len(server.ended) == 2)
    assert not server.states


def test_a_failing_source_ends_the_sequence():
    def source():
        yield from updates_of(3)
        raise OSError("no data")

    server = Simulated(memory=2)
    with InferenceClient(server, "scripted") as client:
        with pytest.raises(OSError, match="no data"):
            list(client.stream(source(), in_flight=1))
        wait_until(lambda: server.ended)


def test_answers_come_before_the_next_update_is_asked_for():
    server = Simulated(memory=2)
    asked = []

    def source():
        for number, update in enumerate(updates_of(5)):
            asked.append(number)
            yield update

    with InferenceClient(server, "scripted") as client:
        for number, _ in enumerate(client.stream(source(), in_flight=1)):
            assert asked[-1] == number


def test_a_source_may_fill_one_array_again_and_again():
    updates = updates_of(30)
    buffer = np.empty(2)

    def source():
        for update in updates:
            buffer[:] = update
            yield buffer

    outputs = run(Simulated(4, {9: "die", 20: "forget"}), source())
    np.testing.assert_array_equal(outputs, expected_outputs(updates, 4))


def test_sequences_that_wait_for_the_server_do_not_hold_up_those_it_serves():
    server = Simulated(memory=3, slots=1)
    with InferenceClient(server, "scripted", in_flight=2, deadline=1) as client:
        with ThreadPoolExecutor(6) as threads:
            outputs = list(
                threads.map(lambda count: list(client.stream(updates_of(count))), range(20, 26))
            )
        assert server.count == sum(range(20, 26))  # nothing was lost on the way
    for count, output in zip(range(20, 26), outputs, strict=True):
        np.testing.assert_array_equal(output, expected_outputs(updates_of(count), 3))


def test_several_streams_at_once():
    server = Simulated(memory=3, faults={17: "die", 60: "die", 90: "forget"})

    async def follow(client, count):
        return [output async for output in client.astream(updates_of(count))]

    async def main():
        with InferenceClient(server, "scripted", in_flight=4) as client:
            return await asyncio.gather(*(follow(client, count) for count in (20, 31, 44)))

    for count, outputs in zip((20, 31, 44), asyncio.run(main()), strict=True):
        np.testing.assert_array_equal(outputs, expected_outputs(updates_of(count), 3))


def test_astream_takes_asynchronous_sources():
    server = Simulated(memory=None, faults={6: "forget"})
    updates = updates_of(10)

    async def source():
        for update in updates:
            await asyncio.sleep(0)
            yield update

    async def main():
        with InferenceClient(server, "scripted") as client:
            return [output async for output in client.astream(source(), in_flight=2)]

    np.testing.assert_array_equal(asyncio.run(main()), expected_outputs(updates, None))


def test_stream_errors_reach_the_stream_alone():
    calls, errors = [], []
    server = Simulated(memory=2, faults={3: "forget"})
    with InferenceClient(
        server, "scripted", callback=lambda *_: calls.append(1), on_error=errors.append
    ) as client:
        assert len(list(client.stream(updates_of(6)))) == 6
        with pytest.raises(InferenceError):
            list(client.stream([np.ones(5)]))
    assert not calls
    assert not errors
