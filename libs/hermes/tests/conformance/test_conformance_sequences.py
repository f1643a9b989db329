"""Sequences: what a model keeps between requests, for whom, and for how long."""

from __future__ import annotations

import numpy as np
import pytest
from conformance_models import fading, moments
from hermes.errors import InferenceError, InvalidRequest, SequenceLost
from test_conformance_requests import PATIENCE, ask

MODELS = ["fading_direct", "fading_oldest", "fading_torch", "fading_python"]
ONE = np.ones(4, np.float32)


def draw(seed: int, number: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(number, *shape)).astype(np.float32)


def updates_of(seed: int, number: int = 20) -> np.ndarray:
    return draw(seed, number, 4)


@pytest.mark.parametrize("model", MODELS)
def test_stream(open_client, model):
    client = open_client(model)
    assert client.stateful
    updates = updates_of(1)
    answers = np.stack(list(client.stream(updates)))
    np.testing.assert_array_equal(answers, fading(updates))


@pytest.mark.parametrize("model", MODELS)
def test_interleaved_sequences(open_client, model):
    """Two sequences of one client, many requests of each under way."""
    client = open_client(model, in_flight=64)
    updates = [updates_of(seed) for seed in (2, 3)]
    numbers = [client.new_sequence() for _ in updates]
    futures = [[], []]
    for i in range(20):
        for which in (0, 1) if i % 3 else (1, 0):
            futures[which].append(
                client.infer(
                    updates[which][i],
                    sequence_id=numbers[which],
                    sequence_start=i == 0,
                    sequence_end=i == 19,
                )
            )
    for which in (0, 1):
        answers = np.stack([future.result(PATIENCE) for future in futures[which]])
        np.testing.assert_array_equal(answers, fading(updates[which]))


def test_callers_answer_is_not_the_state(open_client):
    """Whoever writes into an answer must not change what the model keeps."""
    for model in ("fading_oldest", "fading_torch"):
        client = open_client(model)
        updates = updates_of(4, 5)
        answers = []
        for answer in client.stream(updates, in_flight=1):
            answers.append(answer.copy())
            if answer.flags.writeable:
                answer[:] = np.nan
        np.testing.assert_array_equal(np.stack(answers), fading(updates))


def test_three_states(open_client):
    client = open_client("moments")
    updates = draw(5, 12, 3)
    for answer, expected in zip(client.stream(updates), moments(updates), strict=True):
        assert answer["mean"].dtype == np.float64
        np.testing.assert_array_equal(answer["mean"], expected["mean"])
        np.testing.assert_array_equal(answer["step"], expected["step"])


def test_batched_state(open_client):
    client = open_client("batched", in_flight=64)
    updates = [updates_of(seed) for seed in (6, 7, 8)]
    numbers = [client.new_sequence() for _ in updates]
    futures = [
        client.infer(
            updates[which][i : i + 1],
            sequence_id=numbers[which],
            sequence_start=i == 0,
            sequence_end=i == 19,
        )
        for i in range(20)
        for which in range(3)
    ]
    for which in range(3):
        answers = np.concatenate([f.result(PATIENCE) for f in futures[which::3]])
        np.testing.assert_array_equal(answers, fading(updates[which]))


def test_batch_of_a_sequence_is_one(open_client):
    """A batch of updates has no order of its own."""
    client = open_client("batched")
    with pytest.raises(InferenceError, match="batch"):
        client.infer(
            np.zeros((2, 4), np.float32), sequence_id=client.new_sequence(), sequence_start=True
        ).result(PATIENCE)


@pytest.mark.parametrize("model", ["fading_direct", "fading_oldest", "stream"])
def test_missing_start(open_transport, model):
    transport = open_transport(model)
    x = {port.name: np.ones(tuple(port.dims), np.float32) for port in transport.config.input}
    with pytest.raises(InvalidRequest, match="START"):
        ask(transport, x, sequence_id=31)


def test_ended_sequence_needs_a_start(open_transport):
    transport = open_transport("fading_oldest")
    ask(transport, {"x": ONE}, sequence_id=32, sequence_start=True)
    ask(transport, {"x": ONE}, sequence_id=32, sequence_end=True)
    with pytest.raises(InvalidRequest, match="START"):
        ask(transport, {"x": ONE}, sequence_id=32)


@pytest.mark.parametrize("model", ["fading_direct", "fading_oldest", "fading_torch"])
def test_start_of_a_running_sequence_begins_anew(open_transport, model):
    transport = open_transport(model)
    name = transport.config.input[0].name
    flags = [(True, False), (False, False), (True, False), (False, True)]
    answers = [
        ask(transport, {name: ONE}, sequence_id=33, sequence_start=start, sequence_end=end)
        for start, end in flags
    ]
    found = [next(iter(answer.values()))[0] for answer in answers]
    assert found == [1, 1.5, 1, 1.5]


@pytest.mark.parametrize("sequence_id", [0, None])
def test_sequence_id_is_needed(open_transport, sequence_id):
    transport = open_transport("fading_oldest")
    with pytest.raises(InvalidRequest):
        ask(transport, {"x": ONE}, sequence_id=sequence_id, sequence_start=True)


def test_largest_sequence_id(open_transport):
    transport = open_transport("fading_oldest")
    for flags in ({"sequence_start": True}, {"sequence_end": True}):
        answer = ask(transport, {"x": ONE}, sequence_id=2**64 - 1, **flags)
    assert answer["y"][0] == 1.5


def test_refused_request_leaves_its_sequence_as_it_was(open_transport):
    transport = open_transport("fading_oldest")
    ask(transport, {"x": ONE}, sequence_id=34, sequence_start=True)
    with pytest.raises(InvalidRequest):
        ask(transport, {"x": ONE[:2]}, sequence_id=34)
    answer = ask(transport, {"x": ONE}, sequence_id=34, sequence_end=True)
    assert answer["y"][0] == 1.5


@pytest.mark.parametrize(("model", "slots"), [("fading_direct", 2), ("fading_oldest", 4)])
def test_sequence_beyond_the_slots_waits_for_an_end(open_client, model, slots):
    """Slots of `direct` are instances, of `oldest` what it says."""
    client = open_client(model)
    numbers = [client.new_sequence() for _ in range(slots)]
    for number in numbers:
        client.infer(ONE, sequence_id=number, sequence_start=True).result(PATIENCE)
    late = client.new_sequence()
    waiting = [
        client.infer(ONE, sequence_id=late, sequence_start=True),
        client.infer(ONE, sequence_id=late, sequence_end=True),
    ]
    # These were sent later, and are answered while the others wait.
    for number in numbers:
        client.infer(ONE, sequence_id=number).result(PATIENCE)
    assert not any(future.done() for future in waiting)
    for number in numbers:
        client.infer(ONE, sequence_id=number, sequence_end=True).result(PATIENCE)
    assert [future.result(PATIENCE)[0] for future in waiting] == [1, 1.5]


def test_idle_sequence_is_lost_and_its_slot_free(open_client):
    """The second sequence gets its answer when the first has idled out, not before."""
    client = open_client("fleeting")
    first, second = client.new_sequence(), client.new_sequence()
    client.infer(ONE, sequence_id=first, sequence_start=True).result(PATIENCE)
    answer = client.infer(ONE, sequence_id=second, sequence_start=True, sequence_end=True)
    assert answer.result(PATIENCE)[0] == 1
    with pytest.raises(SequenceLost, match="START") as caught:
        client.infer(ONE, sequence_id=first).result(PATIENCE)
    assert caught.value.last_answered == 0
    assert caught.value.sequence_id == first
