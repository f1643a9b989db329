"""Requests that stand by themselves."""

from __future__ import annotations

import contextlib
import os
import re
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from hermes.aeriel.client import Request
from hermes.errors import InferenceError, InvalidRequest, RepositoryError

X = np.arange(6, dtype=np.float32).reshape(2, 3)
# Time for one answer on a busy machine [s].
PATIENCE = 60.0


def ask(transport, inputs, **flags):
    """Send past the client, which checks what it can itself."""
    answer = Future()
    request = Request("asked", inputs, deadline=PATIENCE, **flags)
    transport.send(request, answer.set_result)
    result = answer.result(PATIENCE)
    if isinstance(result, Exception):
        raise result
    return result


def test_unary(open_client):
    client = open_client("scale", 1)
    assert not client.stateful
    answer = client.infer(X).result(PATIENCE)
    assert answer.dtype == np.float32
    np.testing.assert_array_equal(answer, 2 * X)


def test_answers_belong_to_their_requests(open_client):
    client = open_client("scale", 1, in_flight=32)
    futures = [client.infer(np.full((1, 1 + i % 7), i, np.float32)) for i in range(200)]
    for i, future in enumerate(futures):
        np.testing.assert_array_equal(
            future.result(PATIENCE), np.full((1, 1 + i % 7), 2 * i, np.float32)
        )


def test_callers_array_may_change_after_sending(open_client):
    client = open_client("scale", 1)
    x = np.empty((1, 1000), np.float32)
    futures = []
    for i in range(20):
        x[:] = i
        futures.append(client.infer(x))
    x[:] = np.nan
    assert [float(future.result(PATIENCE)[0, 0]) for future in futures] == list(range(0, 40, 2))


def test_names_of_torchscript_need_no_numbers(open_client):
    """Triton asks for x__0; both names do."""
    client = open_client("fading_torch", 1)
    assert list(client.inputs) == ["x"]
    assert list(client.outputs) == ["y"]
    sequence = client.new_sequence()
    ones = np.ones(4, np.float32)
    first = client.infer({"x": ones}, sequence_id=sequence, sequence_start=True)
    second = client.infer({"x__0": ones}, sequence_id=sequence, sequence_end=True)
    np.testing.assert_array_equal(first.result(PATIENCE), ones)
    np.testing.assert_array_equal(second.result(PATIENCE), 1.5 * ones)


def test_sequence_id_of_a_stateless_model_is_ignored(open_client):
    client = open_client("scale", 1)
    answer = client.infer(X, sequence_id=client.new_sequence()).result(PATIENCE)
    np.testing.assert_array_equal(answer, 2 * X)


@pytest.mark.parametrize(("version", "factor"), [(1, 2), (2, 3), (-1, 3)])
def test_version_is_chosen(open_client, version, factor):
    client = open_client("scale", version)
    assert client.version == (2 if version == -1 else version)
    np.testing.assert_array_equal(client.infer(X).result(PATIENCE), factor * X)


def test_version_that_is_not_served(open_client):
    with pytest.raises(InvalidRequest, match=r"scale.*7|7.*scale"):
        open_client("scale", 7)


def test_unknown_model(open_client):
    with pytest.raises((InvalidRequest, RepositoryError), match="absent"):
        open_client("absent")


WRONG = {
    "dtype": ({"x": X.astype(np.float64)}, "x.*(float64|FP64)|(float64|FP64).*x"),
    "rank": ({"x": X[0]}, "x.*shape|shape.*x"),
    "name": ({"z": X}, "z"),
    "second name": ({"x": X, "z": X}, "z"),
    "no input": ({}, "x|inputs"),
    "batch": ({"x": np.zeros((9, 3), np.float32)}, "8"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_input_is_refused(open_transport, what):
    inputs, match = WRONG[what]
    transport = open_transport("scale", 1)
    with pytest.raises(InvalidRequest, match=match):
        ask(transport, inputs)
    np.testing.assert_array_equal(ask(transport, {"x": X})["y"], 2 * X)


@pytest.mark.parametrize("what", WRONG)
def test_client_refuses_wrong_input(open_client, what):
    client = open_client("scale", 1)
    with pytest.raises(InvalidRequest) as caught:
        client.infer(WRONG[what][0], request_id="mine").result(PATIENCE)
    assert caught.value.request_id == "mine"
    assert caught.value.model == "scale"


def test_wrong_size_is_refused(open_transport):
    transport = open_transport("fading_oldest")
    with pytest.raises(InvalidRequest, match=r"x.*shape|shape.*x"):
        ask(transport, {"x": np.zeros(5, np.float32)}, sequence_id=5, sequence_start=True)


def test_model_that_fails_says_why(open_client):
    client = open_client("fading_python")
    sequence = client.new_sequence()
    with pytest.raises(InferenceError, match="x is not a number") as caught:
        client.infer(
            np.full(4, np.nan, np.float32), sequence_id=sequence, sequence_start=True
        ).result(PATIENCE)
    assert caught.value.sequence_id == sequence
    other = client.infer(
        np.ones(4, np.float32),
        sequence_id=client.new_sequence(),
        sequence_start=True,
        sequence_end=True,
    )
    np.testing.assert_array_equal(other.result(PATIENCE), 1)


def used_memory(pid: int) -> dict[int, int]:
    """Memory of a process and of its children, without mapped files, by process [bytes]."""
    memory = {}
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
        found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        if found is None:
            return {}  # it has ended, and nobody has taken note
        memory[pid] = 1024 * int(found[1])
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for child in (task / "children").read_text().split():
                    memory |= used_memory(int(child))
    return memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_ten_thousand_requests_in_bounded_memory(open_client):
    """All requests together bring 40 MiB and take as much; what stays must be far less."""
    client = open_client("scale", 1, in_flight=32)
    x = np.ones((1, 1024), np.float32)

    def send(number: int) -> None:
        futures = []
        for _ in range(number):
            futures.append(client.infer(x))
            if len(futures) == 32:
                assert futures[0].result(PATIENCE)[0, 0] == 2
                del futures[:16]
        for future in futures:
            future.result(PATIENCE)

    send(2000)
    before = used_memory(os.getpid())
    send(8000)
    after = used_memory(os.getpid())
    growth = {pid: after[pid] - before[pid] for pid in before.keys() & after.keys()}
    assert max(growth.values()) < 10 * 2**20, growth
