"""The backends against numpy, through a real server."""

import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton
from conftest import DTYPES
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.triton


def infer(client, model, arrays, **options):
    inputs = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, array.shape, DTYPES[array.dtype.name])
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return client.infer(model, inputs, client_timeout=30, **options)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def random_array(rng, name, size):
    if name == "bool":
        return rng.random((2, size)) < 0.5
    if name.startswith("float"):
        return rng.normal(size=(2, size)).astype(name)
    limits = np.iinfo(name)
    return rng.integers(limits.min, limits.max, (2, size), dtype=name, endpoint=True)


@pytest.mark.parametrize("size", [1, 5, 70_000])
@pytest.mark.parametrize("backend", ["onnx", "torch", "python"])
def test_each_type_comes_back_bit_by_bit(client, rng, backend, size):
    arrays = {name: random_array(rng, name, size) for name in DTYPES}
    if backend != "torch":
        named = {f"in_{name}": array for name, array in arrays.items()}
        outputs = {name: f"out_{name}" for name in DTYPES}
    else:
        outputs = {name: f"{name}__{index}" for index, name in enumerate(DTYPES)}
        named = {outputs[name]: array for name, array in arrays.items()}
    answer = infer(client, f"{backend}-types", named)
    for name, array in arrays.items():
        found = answer.as_numpy(outputs[name])
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array, err_msg=name)


def test_states_of_two_types_begin_where_the_configuration_says(client, rng):
    updates = rng.normal(size=(2, 5, 2))
    for step in range(5):
        for sequence in range(2):
            answer = infer(
                client,
                "direct",
                {"x": updates[sequence, step], "place": np.zeros(1, int)},
                sequence_id=sequence + 1,
                sequence_start=step == 0,
                sequence_end=step == 4,
            )
            expected = np.array([10.0, 20.0])
            for update in updates[sequence, : step + 1]:
                expected = update + expected
            np.testing.assert_array_equal(answer.as_numpy("total"), expected)
            assert answer.as_numpy("number") == [step + 1]


def test_start_in_the_middle_begins_anew_and_end_forgets(client):
    # More rounds than there are slots, since a new beginning may take another one.
    one = {"x": np.ones(2), "place": np.zeros(1, int)}
    for start in 4 * (True, False):
        answer = infer(client, "direct", one, sequence_id=7, sequence_start=start)
        assert answer.as_numpy("number") == [1 if start else 2]
    infer(client, "direct", one, sequence_id=7, sequence_end=True)
    with pytest.raises(InferenceServerException, match="START"):
        infer(client, "direct", one, sequence_id=7)


def test_a_request_that_fails_ends_its_sequence(client):
    good = {"x": np.ones(2), "place": np.zeros(1, int)}
    infer(client, "direct", good, sequence_id=8, sequence_start=True)
    infer(client, "direct", good, sequence_id=9, sequence_start=True)
    with pytest.raises(InferenceServerException, match="out of data bounds"):
        infer(client, "direct", good | {"place": np.array([5])}, sequence_id=8)
    # Its next answer would lack an update.
    with pytest.raises(InferenceServerException, match="must specify the START flag"):
        infer(client, "direct", good, sequence_id=8)
    answer = infer(client, "direct", good, sequence_id=9, sequence_end=True)
    assert answer.as_numpy("number") == [2]
    answer = infer(client, "direct", good, sequence_id=8, sequence_start=True, sequence_end=True)
    assert answer.as_numpy("number") == [1]


def test_one_instance_keeps_the_states_of_several_batched_sequences_apart(client, rng):
    updates = rng.integers(0, 100, (4, 6, 3)).astype(np.float32)
    for step in range(6):
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(
                lambda sequence, step=step: infer(
                    client,
                    "oldest",
                    {"x": updates[sequence, step][None]},
                    sequence_id=100 + sequence,
                    sequence_start=step == 0,
                    sequence_end=step == 5,
                ).as_numpy("y"),
                range(4),
            )
            expected = updates[:, : step + 1].sum(1)[:, None]
            np.testing.assert_array_equal(np.stack(list(answers)), expected)


def test_torch_states_may_be_views_of_inputs(client, rng):
    updates = rng.integers(0, 100, (40, 1, 2)).astype(np.float32)
    padded = np.concatenate([np.zeros(3), updates.ravel()])
    before = np.zeros((1, 2))
    for step, update in enumerate(updates):
        answer = infer(
            client,
            "shifter",
            {"update__0": update},
            sequence_id=5,
            sequence_start=step == 0,
            sequence_end=step == len(updates) - 1,
        )
        assert answer.as_numpy("sum__0") == padded[2 * step : 2 * step + 5].sum()
        np.testing.assert_array_equal(answer.as_numpy("before__1"), before)
        before = update


def test_slots_of_a_batched_direct_model_are_kept_apart(client, rng):
    # One instance with batches of 3 has three slots; an empty one must do no harm.
    updates = rng.integers(0, 100, (3, 4, 1, 2)).astype(np.float32)
    for step in range(4):
        with ThreadPoolExecutor(3) as pool:
            answers = list(
                pool.map(
                    lambda sequence, step=step: infer(
                        client,
                        "shifter",
                        {"update__0": updates[sequence, step]},
                        sequence_id=20 + sequence,
                        sequence_start=step == 0,
                        sequence_end=step == 3,
                    ).as_numpy("sum__0"),
                    range(0 if step < 2 else 1, 3),
                )
            )
        for sequence, answer in zip(range(0 if step < 2 else 1, 3), answers, strict=True):
            padded = np.concatenate([np.zeros(3), updates[sequence].ravel()])
            assert answer == padded[2 * step : 2 * step + 5].sum()


def test_requests_that_are_run_together_get_their_own_answers(client, rng):
    answers: queue.Queue = queue.Queue()
    indices = [rng.integers(0, 5, (rng.integers(1, 4), 2)) for _ in range(60)]
    for number, index in enumerate(indices):
        tensor = triton.InferInput("index", index.shape, "INT64")
        tensor.set_data_from_numpy(index)
        client.async_infer(
            "picker", [tensor], lambda result, error: answers.put((result, error)),
            request_id=str(number),
        )  # fmt: skip
    for _ in indices:
        result, error = answers.get(timeout=30)
        assert error is None
        index = indices[int(result.get_response().id)]
        np.testing.assert_array_equal(result.as_numpy("row"), index * 10.0)
    statistics = client.get_inference_statistics("picker").model_stats[0]
    assert statistics.execution_count < statistics.inference_count


def test_requests_of_other_lengths_or_bad_ones_do_not_spoil_their_neighbours(client):
    answers: queue.Queue = queue.Queue()
    indices = [[[1]], [[2, 3]], [[9]], [[4]], [[0, 1, 2]]] * 4
    for number, index in enumerate(indices):
        tensor = triton.InferInput("index", np.shape(index), "INT64")
        tensor.set_data_from_numpy(np.array(index))
        client.async_infer(
            "picker",
            [tensor],
            lambda result, error, number=number: answers.put((number, result, error)),
        )
    for _ in indices:
        number, result, error = answers.get(timeout=30)
        if indices[number] == [[9]]:
            assert "indices element out of data bounds" in str(error)
        else:
            np.testing.assert_array_equal(result.as_numpy("row"), np.multiply(indices[number], 10))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("misfit-type", "index is int32 in the configuration and int64 in"),
        ("misfit-name", "has no output line, it has row"),
        ("misfit-threads", 'parameter intra_op_thread_count is "many"'),
    ],
)
def test_a_file_that_does_not_fit_is_not_served_and_says_why(client, name, reason):
    index = client.get_model_repository_index().models
    assert reason in next(entry.reason for entry in index if entry.name == name)
