"""Repositories: the example of the documentation, reading, adding and removing."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hermes import quiver as qv


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, hidden things too."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def make_network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv1d(2, 4, 5, stride=4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(60, 1),
    )


@pytest.fixture
def repo(tmp_path: Path) -> qv.ModelRepository:
    return qv.ModelRepository(tmp_path / "models")


def test_the_example(tmp_path: Path) -> None:
    path = str(tmp_path / "repo")
    nn = make_network()
    repo = qv.ModelRepository(path)
    model = repo.add("my-nn", platform=qv.Platform.ONNX)
    model.export_version(nn, input_shapes={"h_of_t": [None, 2, 64]}, output_names=["det_stat"])
    assert model.versions == [1]
    model.export_version(nn)
    assert model.versions == [1, 2]
    ensemble = repo.add("my-nn-stream", platform=qv.Platform.ENSEMBLE)
    ensemble.add_streaming_inputs(model.inputs["h_of_t"], stream_size=8, batch_size=16)
    ensemble.add_output(model.outputs["det_stat"])
    ensemble.export_version(None)

    read = qv.ModelRepository(path)
    read.check()
    assert sorted(read.models) == ["my-nn", "my-nn-stream", "snapshotter"]
    model, ensemble = read.models["my-nn"], read.models["my-nn-stream"]
    assert model.inputs["h_of_t"].shape == (None, 2, 64)
    assert model.inputs["h_of_t"].dtype == np.float32
    assert model.outputs["det_stat"].shape == (None, 1)
    assert model.served_versions == [2]
    assert not model.config.instance_group  # as the server likes best
    assert ensemble.inputs["stream"].shape == (1, 2, 128)
    assert ensemble.outputs["det_stat"].shape == (None, 1)
    # windows of 64 samples every 8: 7 windows back, less than the 16 of an update
    assert (ensemble.memory, ensemble.warm_up, ensemble.stateful) == (1, 1, True)

    # the same numbers as the network over the windows of the stream
    stream = np.random.default_rng(0).standard_normal((2, 3 * 128)).astype(np.float32)
    padded = np.concatenate([np.zeros((2, 64), np.float32), stream], axis=1)
    windows = np.stack([padded[:, end : end + 64] for end in range(8, 3 * 128 + 1, 8)])
    with torch.no_grad():
        expected = nn(torch.from_numpy(windows)).numpy()
    snapshotter = read.models["snapshotter"]
    cut = onnxruntime.InferenceSession(snapshotter.file())
    score = onnxruntime.InferenceSession(model.file(2))
    state, found = np.zeros((1, 2, 64), np.float32), []
    for update in np.split(stream, 3, axis=1):
        snapshots, state = cut.run(
            ["h_of_t", "next_snapshot"], {"stream": update[None], "snapshot": state}
        )
        found.append(score.run(None, {"h_of_t": snapshots})[0])
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)


def write(folder: Path, text: str, *versions: int) -> None:
    folder.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(text)
    for version in versions:
        (folder / str(version)).mkdir()
        (folder / str(version) / "model.onnx").touch()


GOOD = """\
# by hand
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP16 dims: [ 3, -1 ] } ]
output [ { name: "y" data_type: TYPE_INT64 dims: [ 1 ] } ]
"""


def test_strays_and_broken_models_leave_the_others_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "good", GOOD, 1, 3)
    write(tmp_path / "bad", GOOD.replace("FP16", "FP17"), 1)
    (tmp_path / "stray" / "1").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "good" / "01").mkdir()
    (tmp_path / "good" / ".hidden").mkdir()
    with caplog.at_level(logging.WARNING, "hermes"):
        repo = qv.ModelRepository(str(tmp_path))
    assert list(repo.models) == ["good"]
    assert list(repo.strays) == ["stray"]
    assert "stray: no model" in caplog.text
    model = repo.models["good"]
    assert model.versions == [1, 3]
    assert model.inputs["x"].shape == (None, 3, None)
    assert model.inputs["x"].dtype == np.float16
    assert model.outputs["y"].dtype == np.int64
    assert model.file().parent.name == "3"
    assert model.file(1).parent.name == "1"
    with pytest.raises(FileNotFoundError, match=r"no file .*/2/model\.onnx"):
        model.file(2)
    with pytest.raises(qv.RepositoryError, match=r"bad/config\.pbtxt: line 4: .*TYPE_FP17"):
        repo.models["bad"]
    with pytest.raises(qv.RepositoryError, match=r"no model best in .*: it has good"):
        repo.models["best"]
    model.check()
    with pytest.raises(qv.RepositoryError, match="line 4"):
        repo.check()
    (tmp_path / "good" / "3" / "model.onnx").unlink()
    with pytest.raises(qv.RepositoryError, match=r"3/model\.onnx is missing"):
        model.check()


def test_new_versions_and_models_are_seen(tmp_path: Path) -> None:
    write(tmp_path / "one", GOOD, 1)
    repo = qv.ModelRepository(tmp_path)
    added = repo.add("two", qv.Platform.ONNX)
    (tmp_path / "one" / "2").mkdir()
    assert repo.models["one"].versions == [1, 2]
    write(tmp_path / "three", GOOD, 1)
    repo.refresh()
    assert sorted(repo.models) == ["one", "three", "two"]
    assert repo.models["two"] is added


def test_names(repo: qv.ModelRepository) -> None:
    repo.add("net", qv.Platform.ONNX)
    with pytest.raises(qv.RepositoryError, match="exists: take another name"):
        repo.add("net", qv.Platform.ONNX)
    assert repo.add("net", "ensemble", force=True).name == "net_0"
    assert repo.add("net", qv.Platform.TORCHSCRIPT, force=True).name == "net_1"
    for name in ("", "a/b", ".hidden", "..", "a b"):
        with pytest.raises(qv.RepositoryError, match="cannot be the name of a model"):
            repo.add(name, qv.Platform.ONNX)
    with pytest.raises(qv.RepositoryError, match="expected ONNX, TORCHSCRIPT"):
        repo.add("other", "keras")
    # nothing is written before there is something to serve
    assert not Path(repo.store.root).exists()


def test_remove_clean_delete(tmp_path: Path) -> None:
    root = tmp_path / "models"
    for name in ("one", "two", "three"):
        write(root / name, GOOD, 1)
    (root / "mine").mkdir()
    repo = qv.ModelRepository(root)
    repo.remove("one")
    repo.remove(repo.models["two"])
    assert sorted(path.name for path in root.iterdir()) == ["mine", "three"]
    with pytest.raises(qv.RepositoryError, match="no model one"):
        repo.remove("one")
    repo.models["three"].pin(1)
    for remove in (repo.clean, repo.delete, lambda: repo.remove("three")):
        with pytest.raises(qv.RepositoryError, match=r"pinned versions \[1\]"):
            remove()
    repo.models["three"].unpin(1)
    repo.delete()
    assert [path.name for path in root.iterdir()] == ["mine"]
    (root / "mine").rmdir()
    write(root / "four", GOOD, 1)
    assert not qv.ModelRepository(root, clean=True).models
    repo.delete()
    assert not root.exists()
    assert [path.name for path in tmp_path.iterdir()] == []


def test_edits_by_hand_survive(repo: qv.ModelRepository) -> None:
    model = repo.add("net", qv.Platform.ONNX)
    model.export_version(make_network(), input_shapes={"x": [None, 2, 64]}, output_names=["y"])
    path = Path(model.config_path)
    text = "# slow on the old card\n" + path.read_text().replace(": 128", ": 32")
    text += "instance_group { count: 3 kind: KIND_CPU }\n"
    path.write_text(text)
    model.export_version(make_network(1))
    assert path.read_text() == text  # nothing to change: comments stay too
    assert model.config.max_batch_size == 32
    model.pin(1)
    assert model.config.max_batch_size == 32
    assert "count: 3" in path.read_text()
    assert model.served_versions == [1, 2]
    path.write_text(path.read_text().replace("count: 3", "count: 4"))
    model.config.max_batch_size = 16
    with pytest.raises(qv.RepositoryError, match=r"changed by someone.*refresh"):
        model.write_config()
    model.refresh()
    model.config.max_batch_size = 16
    model.write_config()
    read = qv.ModelRepository(repo.store.root).models["net"].config
    assert (read.max_batch_size, read.instance_group[0].count) == (16, 4)
    assert qv.parse_config(qv.format_config(read), path) == read


def test_a_broken_edit_is_named_at_export(repo: qv.ModelRepository) -> None:
    model = repo.add("net", qv.Platform.ONNX)
    model.export_version(make_network(), input_shapes={"x": [None, 2, 64]}, output_names=["y"])
    path = Path(model.config_path)
    path.write_text(path.read_text() + "colour: 3\n")
    before = tree(Path(repo.store.root))
    with pytest.raises(
        qv.RepositoryError, match=r'config\.pbtxt: line \d+: unknown field "colour"'
    ):
        model.export_version(make_network())
    assert tree(Path(repo.store.root)) == before


def test_reading_needs_neither_torch_nor_onnxruntime() -> None:
    program = "import sys; import hermes.quiver; print(*sys.modules)"
    command = [sys.executable, "-P", "-c", program]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "hermes.quiver.model" in loaded
    assert not {"torch", "onnx", "onnxruntime"} & set(loaded)


def test_how_it_is_run(repo: qv.ModelRepository) -> None:
    model = repo.add("net", qv.Platform.ONNX)
    model.scale_instance_group(2)
    model.use_dynamic_batching(delay=0.002, preferred=[8])
    model.export_version(make_network(), input_shapes={"x": [None, 2, 64]}, output_names=["y"])
    model.scale_instance_group(3)
    model.add_instance_group("gpu", count=2, gpus=[0, 1], name="cards")
    config = qv.ModelRepository(repo.store.root).models["net"].config
    assert [group.count for group in config.instance_group] == [3, 2]
    assert [group.kind for group in config.instance_group] == [0, 1]  # auto, gpu
    assert list(config.instance_group[1].gpus) == [0, 1]
    assert config.dynamic_batching.max_queue_delay_microseconds == 2000
    model.scale_instance_group(1, "cards")
    assert model.config.instance_group[1].count == 1
    before = Path(model.config_path).read_text()
    for wrong, message in (
        (lambda: model.scale_instance_group(4), "say which instance group"),
        (lambda: model.scale_instance_group(-4, "cards"), "count is -4"),
        (lambda: model.add_instance_group("tpu"), "kind is tpu, expected auto, gpu, cpu"),
        (lambda: model.add_instance_group("cpu", gpus=[0]), "kind is KIND_CPU, but gpus"),
        (lambda: model.use_sequences("random"), "expected direct, oldest"),
        (lambda: model.use_sequences("oldest", candidates=0), "max_candidate_sequences is 0"),
        (lambda: model.use_sequences(idle_time=0), "idle_time is 0"),
    ):
        with pytest.raises(qv.RepositoryError, match=message):
            wrong()
        assert Path(model.config_path).read_text() == before
    model.use_sequences("oldest", idle_time=2.5, candidates=6)
    assert model.config.sequence_batching.max_sequence_idle_microseconds == 2_500_000
    assert model.config.sequence_batching.oldest.max_candidate_sequences == 6
    with pytest.raises(qv.RepositoryError, match="has sequences"):
        model.use_dynamic_batching()
