"""Models made of models."""

from math import ceil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hermes import quiver as qv
from torch import Tensor


class Scale(torch.nn.Module):
    def __init__(self, factor: float = 2.0) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Pair(torch.nn.Module):
    """Two inputs of windows with different channels, one without a channel axis."""

    def forward(self, strain: Tensor, witness: Tensor) -> Tensor:
        return strain - witness.sum(1)


@pytest.fixture
def repo(tmp_path: Path) -> qv.ModelRepository:
    return qv.ModelRepository(tmp_path / "models")


def add(
    repo: qv.ModelRepository,
    name: str,
    shape: list[int | None] | None = None,
    module: torch.nn.Module | None = None,
    **arguments: object,
) -> qv.Model:
    model = repo.add(name, qv.Platform.ONNX)
    shape = shape or [None, 2, 32]
    model.export_version(
        module or Scale(), input_shapes={"x": shape}, output_names=["y"], **arguments
    )
    return model


def execute(repo: qv.ModelRepository, name: str, updates: list[np.ndarray]) -> list[np.ndarray]:
    """The only output of an ensemble, by onnxruntime and the configuration alone."""
    ensemble = repo.models[name].config
    sessions, states = {}, {}
    answers = []
    for update in updates:
        known = {ensemble.input[0].name: update}
        for index in qv.order_steps(ensemble):
            step = ensemble.ensemble_scheduling.step[index]
            model = repo.models[step.model_name]
            if index not in sessions:
                sessions[index] = onnxruntime.InferenceSession(model.file(step.model_version))
                states[index] = {
                    state.input_name: np.zeros(state.dims, model_dtype(state.data_type))
                    for state in model.config.sequence_batching.state
                }
            feed = {inner: known[outer] for inner, outer in step.input_map.items()}
            names = [output.name for output in sessions[index].get_outputs()]
            values = sessions[index].run(names, feed | states[index])
            found = dict(zip(names, values, strict=True))
            for state in model.config.sequence_batching.state:
                states[index][state.input_name] = found[state.output_name]
            known |= {outer: found[inner] for inner, outer in step.output_map.items()}
        answers.append(known[ensemble.output[0].name])
    return answers


def model_dtype(data_type: int) -> np.dtype:
    from hermes.dtypes import from_config

    return from_config(data_type)


def test_a_chain(repo: qv.ModelRepository) -> None:
    first = add(repo, "first", max_batch=16)
    second = add(repo, "second", max_batch=4)
    chain = repo.add("chain", qv.Platform.ENSEMBLE)
    chain.add_input(first.inputs["x"], key="raw")
    chain.pipe(first.outputs["y"], second.inputs["x"])
    chain.add_output(second.outputs["y"], key="out")
    chain.add_output(first.outputs["y"], key="between")
    chain.export_version(None)
    read = qv.ModelRepository(repo.store.root)
    read.check()
    chain = read.models["chain"]
    assert chain.versions == [1]
    assert chain.config.max_batch_size == 4
    assert chain.inputs["raw"].shape == (None, 2, 32)
    assert list(chain.outputs) == ["out", "between"]
    assert not chain.stateful
    assert chain.memory is None
    steps = chain.config.ensemble_scheduling.step
    assert dict(steps[0].output_map) == {"y": "between"}
    assert dict(steps[1].input_map) == {"x": "between"}
    assert chain.export_version(None) == 2


def test_one_model_in_several_steps(repo: qv.ModelRepository) -> None:
    model = add(repo, "net")
    model.export_version(Scale(3.0))
    model.config.version_policy.all.SetInParent()
    model.write_config()
    twice = repo.add("twice", qv.Platform.ENSEMBLE)
    one, two = twice.add_step(model, version=1), twice.add_step(model)
    twice.add_input(one.inputs["x"])
    twice.pipe(one.outputs["y"], two.inputs["x"])
    with pytest.raises(qv.RepositoryError, match="take the tensor from what add_step returns"):
        twice.add_output(model.outputs["y"])
    twice.add_output(two.outputs["y"])
    twice.export_version(None)
    repo.check()
    x = np.ones((1, 2, 32), np.float32)
    (answer,) = execute(repo, "twice", [x])
    np.testing.assert_array_equal(answer, 6 * x)
    assert [s.model_version for s in twice.config.ensemble_scheduling.step] == [1, -1]
    with pytest.raises(qv.RepositoryError, match=r"version 1 is used by twice"):
        model.retire(1)
    with pytest.raises(qv.RepositoryError, match="net is used by twice"):
        repo.remove(model)


def test_one_input_for_several_steps(repo: qv.ModelRepository) -> None:
    models = [add(repo, name) for name in ("a", "b")]
    fan = repo.add("fan", qv.Platform.ENSEMBLE)
    for model in models:
        fan.add_input(model.inputs["x"])
        fan.add_output(model.outputs["y"], key=f"from_{model.name}")
    fan.export_version(None)
    repo.check()
    assert list(fan.inputs) == ["x"]
    other = add(repo, "c", [None, 3, 32])
    with pytest.raises(qv.RepositoryError, match=r"shape \(any, 2, 32\) does not fit"):
        fan.add_input(other.inputs["x"])


def test_a_whole_array_is_no_larger_than_the_largest_batch(repo: qv.ModelRepository) -> None:
    whole = add(repo, "whole", [6, 2, 32])
    narrow = add(repo, "narrow", max_batch=5)
    wide = add(repo, "wide", max_batch=6)
    chain = repo.add("chain", qv.Platform.ENSEMBLE)
    chain.add_input(whole.inputs["x"])
    with pytest.raises(qv.RepositoryError, match="6 is more than the largest batch of narrow, 5"):
        chain.pipe(whole.outputs["y"], narrow.inputs["x"])
    chain.pipe(whole.outputs["y"], wide.inputs["x"])
    chain.add_output(wide.outputs["y"])
    chain.export_version(None)
    x = np.ones((6, 2, 32), np.float32)
    (answer,) = execute(repo, "chain", [x])
    np.testing.assert_array_equal(answer, 4 * x)


def test_what_does_not_fit(repo: qv.ModelRepository, tmp_path: Path) -> None:
    a = add(repo, "a")
    b = add(repo, "b", [None, 3, 32])
    c = add(repo, "c", input_dtypes={"x": "float64"}, module=Scale().double())
    d = add(repo, "d")
    chain = repo.add("chain", qv.Platform.ENSEMBLE)
    chain.add_input(a.inputs["x"])
    chain.pipe(a.outputs["y"], d.inputs["x"])
    before = qv.format_config(chain.config)
    stranger = add(qv.ModelRepository(tmp_path / "others"), "a")
    for wrong, message in (
        (lambda: chain.pipe(a.outputs["y"], b.inputs["x"]), r"does not fit \(any, 3, 32\)"),
        (lambda: chain.pipe(a.outputs["y"], c.inputs["x"]), "their types differ"),
        (lambda: chain.pipe(d.outputs["y"], d.inputs["x"]), "gets a.y already"),
        (lambda: chain.add_input(a.inputs["x"]), "gets x already"),
        (lambda: chain.add_input(d.outputs["y"]), "is not an input of d"),
        (lambda: chain.add_output(a.outputs["y"], key="x"), "has a tensor x already"),
        (lambda: chain.add_output(d.outputs["y"], version=7), "used by another step"),
        (lambda: chain.add_output(b.outputs["y"], version=7), "version 7 is not served"),
        (lambda: chain.add_output(stranger.outputs["y"]), "is not a model of"),
        (lambda: chain.export_version(Scale()), "an ensemble has no network"),
        (lambda: chain.export_version(None), "output is missing"),
    ):
        with pytest.raises(qv.RepositoryError, match=message):
            wrong()
        assert qv.format_config(chain.config) == before
    chain.add_output(d.outputs["y"])
    chain.add_step(b)
    with pytest.raises(qv.RepositoryError, match=r"step\[2\]\.input_map is missing"):
        chain.export_version(None)
    assert not (Path(repo.store.root) / "chain").exists()


def test_circles(repo: qv.ModelRepository) -> None:
    a, b = add(repo, "a"), add(repo, "b")
    ring = repo.add("ring", qv.Platform.ENSEMBLE)
    ring.pipe(a.outputs["y"], b.inputs["x"])
    with pytest.raises(qv.RepositoryError, match="wait for each other in a circle"):
        ring.pipe(b.outputs["y"], a.inputs["x"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('model_name: "a"', 'model_name: "z"', r"step\[0\]\.model_name is z, but there are only"),
        ("model_version: -1", "model_version: 9", r"step\[0\]\.model_version: .*version 9"),
        ('key: "y"', 'key: "q"', r"step\[0\]\.output_map: a has no output q, its outputs are y"),
        ('key: "x"', 'key: "q"', r"step\[0\]\.input_map: a has no input q, its inputs are x"),
        ("dims: [2, 32]", "dims: [2, 33]", r"shape \(any, 2, 33\) does not fit"),
        ("TYPE_FP32", "TYPE_FP16", "their types differ"),
        ("max_batch_size: 128", "max_batch_size: 512", "max_batch_size is 512, but a takes 128"),
    ],
)
def test_hand_written_ones_are_checked(
    repo: qv.ModelRepository, old: str, new: str, message: str
) -> None:
    a, b = add(repo, "a"), add(repo, "b")
    chain = repo.add("chain", qv.Platform.ENSEMBLE)
    chain.add_input(a.inputs["x"])
    chain.pipe(a.outputs["y"], b.inputs["x"])
    chain.add_output(b.outputs["y"])
    chain.export_version(None)
    path = Path(chain.config_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    read = qv.ModelRepository(repo.store.root)
    read.models["a"].check()
    with pytest.raises(qv.RepositoryError, match=message) as caught:
        read.check()
    assert str(caught.value).startswith(str(path))
    path.write_text(text)
    (path.parent.parent / "a" / "config.pbtxt").write_text("nonsense")
    with pytest.raises(qv.RepositoryError, match=r"model_name is a, which is broken: .*line 1"):
        qv.ModelRepository(repo.store.root).models["chain"].check()


def test_channels_are_shared_out(repo: qv.ModelRepository) -> None:
    model = repo.add("clean", qv.Platform.ONNX)
    model.export_version(
        Pair(),
        input_shapes={"strain": [None, 16], "witness": [None, 3, 16]},
        output_names=["rest"],
        input_dtypes=dict.fromkeys(("strain", "witness"), "float64"),
    )
    stream = repo.add("stream", qv.Platform.ENSEMBLE)
    exposed = stream.add_streaming_inputs(
        [model.inputs["strain"], model.inputs["witness"]],
        stream_size=4,
        batch_size=3,
        streams_per_gpu=5,
        strategy="oldest",
        idle_time=7.0,
    )
    assert (exposed.name, exposed.shape, exposed.dtype) == ("stream", (1, 4, 12), np.float64)
    stream.add_output(model.outputs["rest"])
    stream.export_version(None)
    read = qv.ModelRepository(repo.store.root)
    read.check()
    sequences = read.models["snapshotter"].config.sequence_batching
    assert sequences.oldest.max_candidate_sequences == 5
    assert sequences.max_sequence_idle_microseconds == 7_000_000
    assert sequences.state[0].data_type == 12  # TYPE_FP64
    data = np.random.default_rng(0).standard_normal((4, 60))
    found = execute(read, "stream", [u[None] for u in np.split(data, 5, axis=1)])
    padded = np.concatenate([np.zeros((4, 16)), data], axis=1)
    windows = np.stack([padded[:, end : end + 16] for end in range(4, 61, 4)])
    expected = windows[:, 0] - windows[:, 1:].sum(1)
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("stride", "batch", "updates"), [(8, 4, 4), (6, 5, 3), (4, 1, 8), (8, 3, 1)]
)
def test_in_and_out_again(repo: qv.ModelRepository, stride: int, batch: int, updates: int) -> None:
    model = add(repo, "net", [None, 2, 32])
    stream = repo.add("stream", qv.Platform.ENSEMBLE)
    stream.add_streaming_inputs(model.inputs["x"], stride, batch)
    exposed = stream.add_streaming_output(model.outputs["y"], stride, updates, batch)
    assert (exposed.name, exposed.shape) == ("y", (1, 2, stride * batch))
    stream.export_version(None)
    read = qv.ModelRepository(repo.store.root)
    read.check()
    memory = read.models["stream"].memory
    # the oldest window in an answer, and the samples that it holds
    reach = (32 - stride + (updates - 1) * stride) / (stride * batch)
    assert memory == read.models["stream"].warm_up == ceil(reach)
    count = memory + 3
    data = 1 + np.random.default_rng(0).random((1, 2, count * stride * batch), np.float32)
    parts = np.split(data, count, axis=2)
    answers = execute(read, "stream", parts)
    delay = (updates - 1) * stride
    joined = np.concatenate(answers, axis=2)
    # doubled, late, and exact once no window looks at the zeros before the stream
    np.testing.assert_allclose(
        joined[..., delay:], 2 * data[..., : data.shape[2] - delay], rtol=1e-6
    )
    for kept in range(memory + 1):
        again = execute(read, "stream", parts[count - 1 - kept :])[-1]
        same = np.array_equal(again, answers[-1])
        assert same or kept < memory
        if kept >= memory:
            assert same


@pytest.mark.parametrize("batched", [True, False])
def test_what_feeds_a_state_keeps_the_order(
    repo: qv.ModelRepository, batched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server runs two copies of an ONNX model if nothing is said: updates would overtake."""
    model = add(repo, "net", [None if batched else 4, 2, 32])
    last = add(repo, "last", [None if batched else 4, 2, 32])
    model.add_instance_group(count=6)
    stream = repo.add("stream", qv.Platform.ENSEMBLE)
    stream.add_streaming_inputs(model.inputs["x"], 8, 4)
    stream.add_streaming_output(model.outputs["y"], 8, 2, 4)
    stream.pipe(model.outputs["y"], last.inputs["x"])
    stream.add_output(last.outputs["y"], key="last")
    texts = [Path(m.config_path).read_text() for m in (model, last)]
    with monkeypatch.context() as patch:
        patch.setattr("hermes.quiver.store.Store.publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream.export_version(None)
    assert [Path(m.config_path).read_text() for m in (model, last)] == texts
    stream.export_version(None)
    read = qv.ModelRepository(repo.store.root)
    read.check()
    config = read.models["net"].config
    if batched:
        assert config.dynamic_batching.preserve_ordering
        # a request by itself: its rounding does not depend on what else is on its way
        assert list(config.dynamic_batching.preferred_batch_size) == [4]
        assert config.instance_group[0].count == 6
        del read.models["net"].config.dynamic_batching.preferred_batch_size[:]
        read.models["net"].config.dynamic_batching.preserve_ordering = False
    else:
        assert [group.count for group in config.instance_group] == [1]
        read.models["net"].scale_instance_group(2)
    # nothing depends on the order of the last
    assert Path(last.config_path).read_text() == texts[1]
    with pytest.raises(qv.RepositoryError, match="net feeds a state, and may answer in another"):
        read.check()


def test_depths_along_a_chain(repo: qv.ModelRepository) -> None:
    """Models that count in windows add up exactly; others in updates; unknown stays unknown."""

    class Last(torch.nn.Module):
        def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            return x + state, x

    model = repo.add("last", qv.Platform.ONNX)
    model.export_version(
        Last(),
        input_shapes={"x": [4, 2, 16], "state": [4, 2, 16]},
        output_names=["y", "next"],
        states={"state": "next"},
        memory=1,
        warm_up=1,
    )
    chain = repo.add("chain", qv.Platform.ENSEMBLE)
    chain.add_streaming_inputs(model.inputs["x"], stream_size=8, batch_size=4)
    chain.add_output(model.outputs["y"])
    chain.export_version(None)
    assert (chain.memory, chain.warm_up) == (2, 2)
    outer = repo.add("outer", qv.Platform.ENSEMBLE)
    outer.add_input(chain.inputs["stream"])
    outer.add_output(chain.outputs["y"])
    outer.export_version(None)
    assert outer.stateful
    assert outer.memory == 2
    del model.config.parameters["hermes.memory"]
    model.write_config()
    chain.add_output(repo.models["snapshotter"].outputs["x"], key="windows")
    assert chain.memory is None


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ([None, 2, None], {}, "is not windows of a stream"),
        ([None, 2, 3, 32], {}, "is not windows of a stream"),
        ([8, 2, 32], {"batch_size": 4}, "batch_size is 4, but .* has batches of 8"),
        ([None, 2, 32], {"batch_size": 200}, "takes batches up to max_batch_size 128"),
        ([None, 2, 32], {"stream_size": 0}, "stride_size is 0"),
        ([None, 2, 32], {"name": "net"}, "net exists"),
        ([None, 2, 32], {"strategy": "best"}, "expected direct, oldest"),
    ],
)
def test_streams_that_cannot_be(
    repo: qv.ModelRepository, shape: list, arguments: dict, message: str
) -> None:
    model = add(repo, "net", shape)
    stream = repo.add("stream", qv.Platform.ENSEMBLE)
    with pytest.raises(qv.RepositoryError, match=message):
        stream.add_streaming_inputs(model.inputs["x"], **{"stream_size": 4, **arguments})
    assert sorted(repo.models) == ["net", "stream"]
    assert [path.name for path in Path(repo.store.root).iterdir()] == ["net"]


def test_a_streaming_model_that_cannot_join_is_taken_away(repo: qv.ModelRepository) -> None:
    model = add(repo, "net")
    stream = repo.add("stream", qv.Platform.ENSEMBLE)
    stream.add_input(model.inputs["x"])
    before = qv.format_config(stream.config)
    with pytest.raises(qv.RepositoryError, match="gets x already"):
        stream.add_streaming_inputs(model.inputs["x"], stream_size=4)
    with pytest.raises(qv.RepositoryError, match="has a tensor x already"):
        stream.add_streaming_output(model.outputs["y"], 4, 2, key="x")
    with pytest.raises(qv.RepositoryError, match=r"has 32 samples, fewer than .* = 36"):
        stream.add_streaming_output(model.outputs["y"], 4, 9)
    assert sorted(repo.models) == ["net", "stream"]
    assert qv.format_config(stream.config) == before
    assert [path.name for path in Path(repo.store.root).iterdir()] == ["net"]
