"""Products in a bucket, on a real S3 server in a process of its own."""

import hashlib
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ledger import Provenance, StrainSegment
from runtime import storage
from runtime.storage import bucket, receiving
from runtime.storage.keeping import discard, kept, state_url
from runtime.storage.marker import claim_url
from s3 import Server

BUCKET = "s3://store"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def place(server, tmp_path, monkeypatch, request):
    """URL of an empty place in a bucket, and an empty cache."""
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AFRAME_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AFRAME_STORAGE_PATIENCE", "30")
    client = bucket._client()
    if not client.exists("store"):
        client.mkdir("store")
    return f"{BUCKET}/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"


@pytest.fixture
def folder(tmp_path):
    """A folder with files at two levels, and a hidden one."""
    folder = tmp_path / "made" / "run"
    (folder / "deep").mkdir(parents=True)
    (folder / "model.pt").write_bytes(bytes(range(256)) * 100)
    (folder / "deep" / "log.txt").write_text("well\n")
    (folder / ".hidden").write_text("no part of it")
    return folder


def new_cache(monkeypatch, tmp_path, name):
    """Act as another machine."""
    monkeypatch.setenv("AFRAME_CACHE", str(tmp_path / name))
    receiving._listings.clear()
    receiving._seen.clear()


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_a_file_arrives_as_it_was_published(place, tmp_path):
    (tmp_path / "a.txt").write_text("one")
    assert not storage.exists(f"{place}/a.txt")
    assert storage.publish(tmp_path / "a.txt", f"{place}/a.txt")
    assert storage.exists(f"{place}/a.txt")
    path = storage.fetch(f"{place}/a.txt")
    assert path.read_text() == "one"
    assert storage.url_of(path) == f"{place}/a.txt"


def test_a_folder_arrives_whole_and_in_parts(place, folder, tmp_path, monkeypatch):
    storage.publish(folder, f"{place}/run")
    assert storage.exists(f"{place}/run")
    assert storage.exists(f"{place}/run/deep/log.txt")
    assert not storage.exists(f"{place}/run/other")
    new_cache(monkeypatch, tmp_path, "second")
    part = storage.fetch(f"{place}/run/deep/log.txt")
    assert contents(storage.cache_folder()) == {
        part.relative_to(storage.cache_folder()).as_posix(): b"well\n"
    }
    assert contents(storage.fetch(f"{place}/run")) == {
        "model.pt": bytes(range(256)) * 100,
        "deep/log.txt": b"well\n",
    }


def test_what_is_here_is_not_fetched_again(place, folder, tmp_path, monkeypatch):
    storage.publish(folder, f"{place}/run")
    new_cache(monkeypatch, tmp_path, "second")
    path = storage.fetch(f"{place}/run")
    before = {p: p.stat().st_ino for p in path.rglob("*")}
    monkeypatch.setattr(bucket, "download", lambda *_: pytest.fail("fetched again"))
    monkeypatch.setattr(receiving, "digest", lambda *_: pytest.fail("read again"))
    storage.fetch(f"{place}/run")
    assert {p: p.stat().st_ino for p in path.rglob("*")} == before


def test_publishing_the_same_again_changes_nothing(place, folder, monkeypatch):
    storage.publish(folder, f"{place}/run")
    monkeypatch.setattr(bucket, "upload", lambda *_: pytest.fail("uploaded again"))
    assert not storage.publish(folder, f"{place}/run")


def test_a_new_product_replaces_all_of_the_old_one(place, folder, tmp_path, monkeypatch):
    storage.publish(folder, f"{place}/run")
    new_cache(monkeypatch, tmp_path, "second")
    storage.fetch(f"{place}/run")
    (folder / "deep" / "log.txt").unlink()
    (folder / "model.pt").write_text("new")
    assert storage.publish(folder, f"{place}/run")
    assert contents(storage.fetch(f"{place}/run")) == {"model.pt": b"new"}
    assert list(bucket.objects_below(f"{place}/run")) == ["model.pt"]


def test_a_removed_product_is_gone(place, folder):
    storage.publish(folder, f"{place}/run")
    storage.remove(f"{place}/run")
    assert not storage.exists(f"{place}/run")
    assert bucket.objects_below(place) == {}
    with pytest.raises(FileNotFoundError, match="nothing at"):
        storage.fetch(f"{place}/run")


def test_an_interrupted_upload_is_not_there(place, folder, monkeypatch):
    storage.publish(folder, f"{place}/run")
    (folder / "deep" / "log.txt").write_text("other\n")
    (folder / "model.pt").write_text("other")
    upload = bucket.upload

    def break_down(path, url):
        if path.name == "model.pt":
            raise KeyboardInterrupt
        upload(path, url)

    monkeypatch.setattr(bucket, "upload", break_down)
    with pytest.raises(KeyboardInterrupt):
        storage.publish(folder, f"{place}/run")
    assert not storage.exists(f"{place}/run")
    assert not storage.exists(f"{place}/run/model.pt")
    with pytest.raises(storage.StorageError, match="incomplete"):
        storage.fetch(f"{place}/run/model.pt")
    monkeypatch.setattr(bucket, "upload", upload)
    storage.publish(folder, f"{place}/run")
    assert contents(storage.fetch(f"{place}/run"))["model.pt"] == b"other"
    assert bucket.look_up(claim_url(f"{place}/run")) is None


def test_a_damaged_object_is_refused(place, folder, tmp_path, monkeypatch):
    storage.publish(folder, f"{place}/run")
    bucket.write(f"{place}/run/model.pt", bytes(range(256)) * 99 + bytes(256))
    new_cache(monkeypatch, tmp_path, "second")
    with pytest.raises(storage.StorageError, match=r"model\.pt has 25600 bytes and sha256"):
        storage.fetch(f"{place}/run")
    assert not storage.local_path(f"{place}/run/model.pt").exists()


def test_a_reader_in_the_middle_of_a_replacement_gets_the_new_product(
    place, folder, tmp_path, monkeypatch
):
    storage.publish(folder, f"{place}/run")
    second = tmp_path / "again"
    second.mkdir()
    for name in ("model.pt", "other.pt"):
        (second / name).write_text(f"new {name}")
    new_cache(monkeypatch, tmp_path, "second")
    download, done = bucket.download, []

    def replace_first(url, path):
        if not done:
            done.append(url)
            storage.publish(second, f"{place}/run")
        download(url, path)

    monkeypatch.setattr(bucket, "download", replace_first)
    # the publisher is another machine: it must not wait for this one's lock
    monkeypatch.setattr("runtime.storage.publishing.records.locked", lambda path: no_lock())
    path = storage.fetch(f"{place}/run")
    assert done
    assert contents(path) == {"model.pt": b"new model.pt", "other.pt": b"new other.pt"}


class no_lock:  # noqa: N801
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def fetch_in_process(url, ready, results):
    download, count = bucket.download, []

    def slow_download(url, path):
        count.append(url)
        time.sleep(1)
        download(url, path)

    bucket.download = slow_download
    ready.wait()
    path = storage.fetch(url)
    results.put((hashlib.sha256((path / "large.bin").read_bytes()).hexdigest(), len(count)))


def test_processes_share_one_copy(place, tmp_path, monkeypatch):
    made = tmp_path / "made"
    made.mkdir()
    (made / "large.bin").write_bytes(bytes(range(256)) * 40_000)
    storage.publish(made, f"{place}/run")
    new_cache(monkeypatch, tmp_path, "second")
    context = multiprocessing.get_context("fork")  # as law's workers are made
    results, ready = context.Queue(), context.Barrier(4)
    arguments = (f"{place}/run", ready, results)
    readers = [context.Process(target=fetch_in_process, args=arguments) for _ in range(4)]
    for reader in readers:
        reader.start()
    found = [results.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join()
    expected = hashlib.sha256((made / "large.bin").read_bytes()).hexdigest()
    assert {digest for digest, _ in found} == {expected}
    assert sum(count for _, count in found) == 1


def test_plain_objects_and_folders_of_products(place, folder, tmp_path):
    bucket.write(f"{place}/mixed/plain.txt", b"of another program")
    storage.publish(folder, f"{place}/mixed/run")
    storage.publish(folder / "model.pt", f"{place}/mixed/model.pt")
    assert not storage.exists(f"{place}/mixed/plain.txt")
    sizes = [(name, size) for name, size, _ in storage.listing(f"{place}/mixed")]
    assert sizes == [
        ("model.pt", 25600),
        ("plain.txt", 18),
        ("run/deep/log.txt", 5),
        ("run/model.pt", 25600),
    ]
    assert set(contents(storage.fetch(f"{place}/mixed"))) == {
        "plain.txt",
        "model.pt",
        "run/model.pt",
        "run/deep/log.txt",
    }
    assert storage.fetch(f"{place}/mixed/plain.txt").read_bytes() == b"of another program"


@pytest.fixture
def strain():
    return StrainSegment(
        strain={"H1": np.arange(64, dtype=np.float32)}, gps_start=1e9, sample_rate=16.0
    )


@pytest.fixture
def provenance():
    return Provenance(generator="test", code_version="0", settings={}, seed=None, parents={})


def test_products_are_brought_when_they_are_opened(
    place, tmp_path, monkeypatch, strain, provenance
):
    for name in ("a.hdf5", "b.hdf5"):
        strain.write(tmp_path / name, provenance)
        storage.publish(tmp_path / name, f"{place}/{name}")
    new_cache(monkeypatch, tmp_path, "second")
    path = storage.fetch(f"{place}/a.hdf5").with_name("b.hdf5")
    assert not path.exists()
    assert StrainSegment.read(path).strain["H1"][5] == 5
    with pytest.raises(FileNotFoundError, match="no file"):
        StrainSegment.read(path.with_name("c.hdf5"))


def test_work_that_is_not_published_yet_is_left_alone(
    place, tmp_path, monkeypatch, strain, provenance
):
    strain.write(tmp_path / "a.hdf5", provenance)
    storage.publish(tmp_path / "a.hdf5", f"{place}/a.hdf5")
    path = storage.fetch(f"{place}/a.hdf5")
    strain.strain["H1"][5] = 7
    strain.write(path, provenance)
    receiving._seen.clear()
    assert StrainSegment.read(path).strain["H1"][5] == 7


def test_a_copy_follows_what_is_published_elsewhere(
    place, tmp_path, monkeypatch, strain, provenance
):
    strain.write(tmp_path / "a.hdf5", provenance)
    storage.publish(tmp_path / "a.hdf5", f"{place}/a.hdf5")
    path = storage.fetch(f"{place}/a.hdf5")
    strain.strain["H1"][5] = 7
    strain.write(tmp_path / "a.hdf5", provenance)
    storage.publish(tmp_path / "a.hdf5", f"{place}/a.hdf5")
    receiving._seen.clear()
    assert StrainSegment.read(path).strain["H1"][5] == 7


def test_the_state_of_unfinished_work_goes_to_another_machine(place, tmp_path, monkeypatch):
    path = storage.local_path(f"{place}/train-0")

    def train():
        with kept(path, every=0.1):
            path.mkdir(parents=True)
            (path / "last.ckpt").write_text("epoch 3")
            end = time.monotonic() + 20
            while not storage.exists(state_url(f"{place}/train-0")):
                assert time.monotonic() < end
                time.sleep(0.05)
            (path / "last.ckpt").write_text("epoch 4")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert not storage.exists(f"{place}/train-0")
    new_cache(monkeypatch, tmp_path, "second")
    path = storage.local_path(f"{place}/train-0")
    with kept(path):
        assert (path / "last.ckpt").read_text() == "epoch 4"
    storage.publish(path, f"{place}/train-0")
    discard(path)
    assert not storage.exists(state_url(f"{place}/train-0"))
    assert sorted(bucket.objects_below(place)) == [".train-0.complete.json", "train-0/last.ckpt"]


@pytest.fixture
def mortal(tmp_path_factory, monkeypatch, tmp_path):
    """A server for one test, to be killed."""
    server = Server(tmp_path_factory.mktemp("mortal"))
    server.start()
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AFRAME_CACHE", str(tmp_path / "cache"))
    bucket._client().mkdir("store")
    yield server
    server.kill()


# the claim, the old marker, three files, the marker: in a large file, and before the marker
@pytest.mark.parametrize("die_at", [4, 6])
def test_a_server_killed_in_an_upload_and_restarted(die_at, mortal, folder, tmp_path, monkeypatch):
    (folder / "large.bin").write_bytes(bytes(5_000_000))
    mortal.kill()
    mortal.start(die_at)

    def restart():
        mortal.wait_until_dead()
        # what the server holds now: the request that it died of, and nothing after it
        changes.extend(json.loads(line)["url"] for line in mortal.record.open())
        mortal.start()

    changes = []
    helper = threading.Thread(target=restart)
    helper.start()
    storage.publish(folder, f"{BUCKET}/run")
    helper.join()
    assert len(changes) == die_at  # the bucket, and all before the request that it died of
    new_cache(monkeypatch, tmp_path, "second")
    assert contents(storage.fetch(f"{BUCKET}/run")) == contents(folder)


def test_a_server_that_does_not_come_back(mortal, folder, monkeypatch):
    monkeypatch.setenv("AFRAME_STORAGE_PATIENCE", "1")
    mortal.kill()
    begun = time.monotonic()
    with pytest.raises(storage.StorageError, match="did not answer for 1 s"):
        storage.publish(folder, f"{BUCKET}/run")
    assert time.monotonic() - begun < 60
    mortal.start()
    assert not storage.exists(f"{BUCKET}/run")


def test_a_missing_bucket_has_a_sentence(place, folder):
    with pytest.raises(storage.StorageError, match="no bucket nowhere"):
        storage.fetch("s3://nowhere/run")
    with pytest.raises(storage.StorageError, match="no bucket nowhere"):
        storage.publish(folder, "s3://nowhere/run")


def test_missing_keys_have_a_sentence(server, tmp_path):
    code = "from runtime import storage; storage.fetch('s3://store/run')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": server.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "StorageError: no keys for s3://store: set AWS_ACCESS_KEY_ID" in result.stderr


@pytest.mark.parametrize("url", ["s3://bucket", "s3://", "s3://bucket/a/../b", "s3://bucket/"])
def test_a_url_that_names_no_place_is_refused(url):
    with pytest.raises(storage.StorageError, match="no place in a bucket"):
        storage.as_url(url)


def test_urls_survive_as_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("AFRAME_CACHE", str(tmp_path))
    assert storage.is_url(Path("s3://bucket/a"))
    assert storage.as_url(Path("s3://bucket/a") / "b") == "s3://bucket/a/b"
    assert storage.url_of(storage.local_path("s3://bucket/a//b/")) == "s3://bucket/a/b"
    assert storage.url_of(tmp_path / "elsewhere") is None
    assert not storage.is_url("/data/s3:/bucket")
    text = storage.with_urls(f"no file {storage.local_path('s3://bucket/a')}: make it")
    assert text == "no file s3://bucket/a: make it"


STAGE = '''
"""A stage that copies."""
import sys
from pathlib import Path
from runtime import command_line


def copy(source: Path, output: Path, more: list[Path] | None = None) -> None:
    """Copy files.

    Args:
        source: What to copy.
        output: Where to.
        more: What to append.
    """
    text = "".join(path.read_text() for path in [source, *(more or [])])
    if "bad" in text:
        raise ValueError(f"{source} is bad")
    output.write_text(text)


def add(folder: Path) -> None:
    """Add a file that says how many there are."""
    count = len(list(folder.glob("*.txt")))
    (folder / "count").write_text(str(count))


def train(run_dir: Path, epochs: int) -> None:
    """Count epochs, going on from where it was."""
    run_dir.mkdir(parents=True, exist_ok=True)
    last = run_dir / "last.ckpt"
    done = int(last.read_text()) if last.exists() else 0
    last.write_text(str(done + epochs))
    if epochs == 13:
        raise ValueError("an unlucky number")


def look(run_dir: Path) -> None:
    """Say how far a run is."""
    print((run_dir / "last.ckpt").read_text())


sys.modules["stage"] = sys.modules["__main__"]
command_line("stage", {"copy": copy, "add": add, "train": train, "look": look})
'''


@pytest.fixture
def stage(server, place, tmp_path):
    (tmp_path / "stage.py").write_text(STAGE)
    number = iter(range(100))

    def run(*words):
        """Each run on a machine of its own."""
        cache = tmp_path / f"machine-{next(number)}"
        return subprocess.run(
            [sys.executable, str(tmp_path / "stage.py"), *words],
            env={"HOME": str(tmp_path), "AFRAME_CACHE": str(cache), **server.variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def read(url):
    return bucket.read(url).decode()


def test_a_verb_reads_and_writes_urls(stage, place, tmp_path):
    for name in ("a", "b"):
        bucket.write(f"{place}/{name}.txt", name.encode())
    result = stage("copy", "--source", f"{place}/a.txt", f"--output={place}/c.txt")
    assert result.returncode == 0, result.stderr
    assert read(f"{place}/c.txt") == "a"
    assert storage.exists(f"{place}/c.txt")
    more = json.dumps([f"{place}/b.txt", f"{place}/c.txt"])
    config = tmp_path / "options.yaml"
    config.write_text(f"source: {place}/a.txt\nmore: {more}\noutput: {place}/d.txt\n")
    result = stage("copy", "--config", str(config))
    assert result.returncode == 0, result.stderr
    assert read(f"{place}/d.txt") == "aba"


def test_a_verb_that_fails_publishes_nothing_and_names_the_url(stage, place):
    bucket.write(f"{place}/a.txt", b"bad")
    result = stage("copy", "--source", f"{place}/a.txt", "--output", f"{place}/c.txt")
    assert result.returncode == 1
    assert result.stderr.endswith(f"stage copy: {place}/a.txt is bad\n")
    assert not storage.exists(f"{place}/c.txt")


def test_a_missing_input_is_one_sentence(stage, place):
    result = stage("copy", "--source", f"{place}/none.txt", "--output", f"{place}/c.txt")
    assert result.returncode == 1
    assert result.stderr == f"stage copy: nothing at {place}/none.txt\n"


def test_a_verb_adds_to_a_folder_of_products(stage, place, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name)
        storage.publish(tmp_path / f"{name}.txt", f"{place}/all/{name}.txt")
    result = stage("add", "--folder", f"{place}/all")
    assert result.returncode == 0, result.stderr
    assert read(f"{place}/all/count") == "2"
    assert storage.exists(f"{place}/all/count")
    assert not storage.exists(f"{place}/all")


def test_a_run_goes_on_on_another_machine(stage, place):
    assert stage("train", "--run_dir", f"{place}/run", "--epochs", "13").returncode == 1
    assert not storage.exists(f"{place}/run")
    result = stage("train", "--run_dir", f"{place}/run", "--epochs", "4")
    assert result.returncode == 0, result.stderr
    assert read(f"{place}/run/last.ckpt") == "17"
    # the answer of before may be given once more, until it is so old
    time.sleep(receiving.LISTING_AGE)
    assert storage.exists(f"{place}/run")


def test_a_verb_that_only_reads_a_run_leaves_the_bucket_as_it_is(stage, place):
    stage("train", "--run_dir", f"{place}/run", "--epochs", "13")
    bucket.write(f"{place}/plain/last.ckpt", b"5")
    before = bucket.objects_below(place)
    for name, epochs in (("run", "13"), ("plain", "5")):
        result = stage("look", "--run_dir", f"{place}/{name}")
        assert (result.returncode, result.stdout) == (0, f"{epochs}\n"), result.stderr
    assert bucket.objects_below(place) == before


def test_local_paths_import_no_client(tmp_path):
    (tmp_path / "stage.py").write_text(STAGE + "")
    (tmp_path / "a.txt").write_text("a")
    result = subprocess.run(
        [
            sys.executable, "-X", "importtime", str(tmp_path / "stage.py"), "copy",
            "--source", str(tmp_path / "a.txt"), "--output", str(tmp_path / "b.txt"),
        ],
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0
    assert (tmp_path / "b.txt").read_text() == "a"
    assert not [name for name in ("fsspec", "botocore", "aiohttp") if name in result.stderr]
