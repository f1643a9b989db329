"""Repositories in object storage, on servers that end with the tests."""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch
from hermes import quiver as qv
from hermes.quiver.store import Store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an S3 server on loopback."""
    program = shutil.which("moto_server", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs moto_server, an S3 server: pip install 'moto[server]'")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [program, "-H", "127.0.0.1", "-p", str(port)]
    log = tmp_path_factory.mktemp("s3") / "log"
    with (
        log.open("w") as stream,
        subprocess.Popen(command, stdout=stream, stderr=stream) as process,
    ):
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    connection = http.client.HTTPConnection("127.0.0.1", port)
                    connection.request("PUT", "/models", headers={"Host": f"127.0.0.1:{port}"})
                    if connection.getresponse().status == 200:
                        break
                time.sleep(0.1)
            else:
                pytest.fail(f"no S3 server: {log.read_text()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def place(
    server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """URL of an empty place in a bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    fsspec.filesystem("s3").clear_instance_cache()
    yield f"s3://models/{request.node.name}"
    fsspec.filesystem("s3").clear_instance_cache()


def objects(place: str) -> dict[str, bytes]:
    """All below a place, by another file system without caches."""
    fs, root = fsspec.core.url_to_fs(place, skip_instance_cache=True, use_listings_cache=False)
    return {name.removeprefix(root): fs.cat_file(name) for name in fs.find(root)}


NET = torch.nn.Linear(3, 2)
ARGUMENTS = {"input_shapes": {"x": [None, 2, 3]}, "output_names": ["y"]}


def test_the_example_in_a_bucket(place: str, tmp_path: Path) -> None:
    repo = qv.ModelRepository(place)
    assert not repo.models
    model = repo.add("my-nn", qv.Platform.ONNX)
    model.export_version(NET, **ARGUMENTS)
    model.export_version(NET)
    ensemble = repo.add("my-nn-stream", qv.Platform.ENSEMBLE)
    ensemble.add_streaming_inputs(model.inputs["x"], stream_size=2, batch_size=4)
    ensemble.add_output(model.outputs["y"])
    ensemble.export_version(None)
    assert sorted(objects(place)) == [
        "/my-nn-stream/1/model.empty",
        "/my-nn-stream/config.pbtxt",
        "/my-nn/1/model.onnx",
        "/my-nn/2/model.onnx",
        "/my-nn/config.pbtxt",
        "/snapshotter/1/model.onnx",
        "/snapshotter/config.pbtxt",
    ]
    read = qv.ModelRepository(place)
    read.check()
    model = read.models["my-nn"]
    assert model.versions == [1, 2]
    assert model.file() == model.file(2)
    assert model.file().read_bytes() == objects(place)["/my-nn/2/model.onnx"]
    # a local one has the same bytes
    local = qv.ModelRepository(tmp_path / "local").add("my-nn", qv.Platform.ONNX)
    local.export_version(NET, **ARGUMENTS)
    assert local.file(1).read_bytes() == model.file(1).read_bytes()
    with pytest.raises(qv.RepositoryError, match=r"s3://models/.*/my-nn: version 3 is not served"):
        model.resolve(3)
    with pytest.raises(FileNotFoundError):
        model.file(3)


def test_files_are_copied_once_and_anew_when_replaced(place: str) -> None:
    model = qv.ModelRepository(place).add("net", qv.Platform.ONNX)
    model.export_version(NET, **ARGUMENTS)
    first = model.file(1)
    stamp = first.stat().st_mtime_ns
    assert model.file(1).stat().st_mtime_ns == stamp
    fsspec.open(f"{place}/net/1/model.onnx", "wb").open().close()
    fs, root = fsspec.core.url_to_fs(place)
    fs.pipe_file(f"{root}/net/1/model.onnx", b"another")
    assert model.file(1).read_bytes() == b"another"
    assert first.read_bytes() != b"another"


def test_what_others_do_is_seen(place: str) -> None:
    mine, theirs = qv.ModelRepository(place), qv.ModelRepository(place)
    model = mine.add("net", qv.Platform.ONNX)
    model.export_version(NET, **ARGUMENTS)
    theirs.refresh()
    other = theirs.models["net"]
    model.export_version(NET)
    assert other.versions == [1, 2]
    model.pin(1)
    other.export_version(NET)
    assert other.pinned_versions == [1]
    assert other.keep_latest(1) == [2]
    assert model.versions == [1, 3]
    theirs.models["net"].unpin(1)
    mine.refresh()
    mine.remove("net")
    assert not objects(place)


def test_strays_in_a_bucket(place: str) -> None:
    model = qv.ModelRepository(place).add("net", qv.Platform.ONNX)
    model.export_version(NET, **ARGUMENTS)
    fs, root = fsspec.core.url_to_fs(place)
    fs.pipe_file(f"{root}/half/1/model.onnx", b"")
    fs.pipe_file(f"{root}/wrong/config.pbtxt", b"name;")
    repo = qv.ModelRepository(place)
    assert (list(repo.models), list(repo.strays)) == (["net"], ["half"])
    with pytest.raises(qv.RepositoryError, match=r"^s3://models/.*/wrong/config\.pbtxt: line 1"):
        repo.models["wrong"]
    repo.delete()
    assert list(objects(place)) == ["/half/1/model.onnx"]


@pytest.mark.parametrize("step", ["put_file", "pipe_file"])
@pytest.mark.parametrize("first", [True, False])
def test_a_failed_upload_leaves_nothing(
    place: str, step: str, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = qv.ModelRepository(place)
    model = repo.add("net", qv.Platform.ONNX)
    arguments: dict = ARGUMENTS
    if not first:
        model.export_version(NET, **arguments)
        arguments = {"memory": 2}
    before = objects(place)

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("connection lost")

    with monkeypatch.context() as patch:
        patch.setattr(repo.store.fs, step, fail)
        with pytest.raises(OSError, match="connection lost"):
            model.export_version(NET, **arguments)
    assert objects(place) == before
    model.export_version(NET, **arguments)
    assert len(model.versions) == 1 + (not first)


def test_the_configuration_comes_last(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = qv.ModelRepository(place)
    write, seen = Store.write, []

    def look(self: Store, *args: str) -> None:
        seen.append((sorted(objects(place)), list(qv.ModelRepository(place).models)))
        write(self, *args)

    monkeypatch.setattr(Store, "write", look)
    repo.add("net", qv.Platform.ONNX).export_version(NET, **ARGUMENTS)
    assert seen == [(["/net/1/model.onnx"], [])]


def test_other_stores_take_the_same_way() -> None:
    """`gs://` and all else that fsspec knows; here the one in memory."""
    repo = qv.ModelRepository("memory://bucket/models")
    model = repo.add("net", qv.Platform.ONNX)
    model.export_version(NET, **ARGUMENTS)
    read = qv.ModelRepository("memory://bucket/models")
    read.check()
    assert read.models["net"].file().read_bytes()[:1]
    read.delete()
    assert not qv.ModelRepository("memory://bucket/models").models
