"""The whole chain with its store in a bucket, whose server is killed in the middle."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import LAW, PIPELINE, law_environment, run_law
from runtime import ExperimentError, storage
from runtime.storage import bucket
from runtime.storage.marker import COMPLETE, Marker, is_hidden

from aframe.analysis import load_analysis
from aframe.environment import REPOSITORY, ensure
from aframe.storage import bring

pytestmark = pytest.mark.chain

STORE = "s3://store/of/mine"
ARGUMENTS = ("--experiment", "smoke", "--workers", "2")
# Beside them lie what holds wall times or paths: runs, reports, records of stages.
SAME_BYTES = ("strain", "training-waveforms.hdf5", "validation-0.hdf5", "injections-0.hdf5")


def load_server():
    """The server that the tests of `runtime` use."""
    path = REPOSITORY / "libs" / "runtime" / "tests" / "s3.py"
    spec = importlib.util.spec_from_file_location("s3", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def use(monkeypatch, variables, cache):
    for name, value in (variables | {"AFRAME_CACHE": str(cache)}).items():
        monkeypatch.setenv(name, value)


class Chain:
    """A store in a bucket, in which the pipeline ran while the server was killed and restarted."""

    def __init__(self, server, folder: Path) -> None:
        for project in ("datagen", "train", "export", "infer", "evaluate"):
            ensure(REPOSITORY / "projects" / project)
        self.server, self.folder = server, folder
        self.log = folder / "law.log"
        self.machine = folder / "machine"
        with self.log.open("w") as log:
            law = subprocess.Popen(
                [str(LAW), "run", PIPELINE, *ARGUMENTS],
                cwd=REPOSITORY,
                env=law_environment(STORE, **self.variables(self.machine)),
                stdout=log,
                stderr=log,
            )
            try:
                self.wait_for("/.SimulateStrain-1.complete.json", law)
                server.kill()
                self.before = server.record.read_text()
                time.sleep(3)
                server.start()
                self.code = law.wait(900)
            finally:
                law.kill()
                law.wait()

    def variables(self, cache: Path) -> dict[str, str]:
        return self.server.variables | {"AFRAME_CACHE": str(cache)}

    def wait_for(self, name: str, law) -> None:
        """Wait until something was written to the bucket."""
        end = time.monotonic() + 300
        while name not in self.server.record.read_text():
            assert law.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < end, f"no {name} within 5 minutes"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    python = ensure(REPOSITORY / "libs" / "runtime")
    server = load_server().Server(tmp_path_factory.mktemp("s3"), str(python))
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("chain")
        use(patch, server.variables, folder / "cache")
        bucket._client().mkdir("store")
        try:
            chain = Chain(server, folder)
            chain.copy = storage.fetch(STORE)
            (chain.version,) = (chain.copy / "smoke").iterdir()
            yield chain
        finally:
            server.kill()


def test_the_pipeline_ends_well_though_the_server_was_killed(chain):
    log = chain.log.read_text()
    assert chain.code == 0, log[-3000:]
    assert "Report:" in log
    assert "report/.index" not in chain.before
    assert "/.report.complete.json" not in chain.before


def test_every_object_is_part_of_a_complete_product(chain):
    objects = bucket.objects_below(STORE)
    named = {}
    for name in (name for name in objects if name.endswith(COMPLETE)):
        folder, _, last = name.rpartition("/")
        product = f"{folder}/{last[1:].removesuffix(COMPLETE)}"
        marker = Marker.decode(bucket.read(f"{STORE}/{name}"), name)
        for inner, entry in marker.files.items():
            named[f"{product}/{inner}" if inner else product] = entry
    assert {name for name in objects if not is_hidden(name)} == set(named)
    assert {name.rpartition("/")[2] for name in objects} >= {"model.pt", "index.html", "log.txt"}
    for name, entry in named.items():
        assert hashlib.sha256((chain.copy / name).read_bytes()).hexdigest() == entry.sha256
    left = [name for name in objects if is_hidden(name) and not name.endswith(COMPLETE)]
    assert left == []


def test_a_rerun_on_another_machine_does_nothing(chain):
    before = chain.server.record.stat().st_size
    machine = chain.folder / "another"
    result = run_law(PIPELINE, *ARGUMENTS, store=STORE, **chain.variables(machine))
    assert result.returncode == 0, result.stderr[-3000:]
    assert "nothing to do, all is made" in result.stderr
    assert chain.server.record.stat().st_size == before
    assert [path for path in machine.rglob("*") if path.is_file()] == []


def test_what_is_lost_is_made_again_from_what_is_there(chain):
    version = f"{STORE}/smoke/{chain.version.name}"
    before = (chain.version / "injections-0.hdf5").read_bytes()
    shutil.copy(chain.version / "injections-0.hdf5", chain.folder)
    storage.remove(f"{version}/injections-0.hdf5")
    machine = chain.folder / "third"
    result = run_law(
        "aframe.Injections", *ARGUMENTS, "--fold", "0", store=STORE, **chain.variables(machine)
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert storage.fetch(f"{version}/injections-0.hdf5").read_bytes() == before
    stages = {path.parent.name for path in machine.rglob("log.txt")}
    assert stages == {"InjectionBranches-0-0"}
    brought = {path.name for path in machine.rglob("strain-*.hdf5")}
    assert brought
    assert all("search" in name for name in brought)


def test_products_are_those_of_a_store_on_this_machine(chain, tmp_path):
    result = run_law("aframe.pipelines.data.Data", *ARGUMENTS, store=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    (local,) = (tmp_path / "smoke").iterdir()
    assert local.name == chain.version.name
    names = [
        path.relative_to(local).as_posix()
        for path in local.rglob("*.hdf5")
        if path.relative_to(local).parts[0] in SAME_BYTES
    ]
    assert len(names) == 10
    for name in names:
        assert (chain.version / name).read_bytes() == (local / name).read_bytes(), name


def test_a_stage_alone_reads_and_writes_urls(chain, tmp_path):
    python = ensure(REPOSITORY / "projects" / "datagen")
    version = f"{STORE}/smoke/{chain.version.name}"

    def datagen(*words):
        result = subprocess.run(
            [str(python), "-m", "datagen", *words],
            env={"PATH": "/usr/bin", "HOME": str(tmp_path), **chain.variables(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-3000:]

    experiment = str(REPOSITORY / "configs" / "smoke")
    names = sorted(path.name for path in (chain.version / "strain").glob("strain-*.hdf5"))
    place = "s3://store/alone"
    for branch in range(6):
        output = f"{place}/strain/{names_in_order(chain, branch)}"
        datagen(
            "simulate", "--experiment", experiment, "--branch", str(branch), "--output", output
        )
    datagen("index", "--experiment", experiment, "--folder", f"{place}/strain")
    for name in (*names, "index.hdf5"):
        made = storage.fetch(f"{place}/strain/{name}")
        assert made.read_bytes() == (chain.version / "strain" / name).read_bytes(), name
    output = f"{place}/injections.hdf5"
    index = f"{version}/strain/index.hdf5"
    datagen(
        "injections", "--experiment", experiment, "--strain", index, "--fold", "0",
        "--output", output,
    )  # fmt: skip
    expected = (chain.version / "injections-0.hdf5").read_bytes()
    assert storage.fetch(output).read_bytes() == expected


def names_in_order(chain, branch: int) -> str:
    """Name of the file that a branch has made, as its records say."""
    folder = chain.version / "stages" / f"SimulateStrain-{branch}"
    words = (folder / "command.txt").read_text().split()
    return Path(words[words.index("--output") + 1]).name


def test_records_of_stages_are_in_the_bucket(chain):
    folder = chain.version / "stages" / "TrainLocal-0"
    assert json.loads((folder / "wall.json").read_text())["wall_s"] > 0
    assert (folder / "log.txt").is_file()


def test_an_unreachable_store_is_one_sentence(tmp_path):
    result = run_law(
        PIPELINE,
        *ARGUMENTS,
        store=STORE,
        AFRAME_CACHE=str(tmp_path),
        AFRAME_STORAGE_PATIENCE="1",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{load_server().free_port()}",
        **load_server().KEYS,
    )
    assert result.returncode != 0
    assert "did not answer for 1 s" in result.stderr


def test_strain_to_import_may_lie_in_a_bucket(chain, monkeypatch, tmp_path):
    for name in ("a.hdf5", "b.hdf5"):
        bucket.write(f"s3://store/theirs/{name}", name.encode())
    place = "s3://store/theirs"
    first = load_analysis.__wrapped__("open-events", place)
    assert first.strain == storage.local_path(place)
    use(monkeypatch, chain.server.variables, tmp_path)
    second = load_analysis.__wrapped__("open-events", place)
    assert (second.digest, second.strain != first.strain) == (first.digest, True)
    assert not second.strain.exists()  # it is brought when a stage reads it
    bring([second.strain])
    assert (second.strain / "b.hdf5").read_bytes() == b"b.hdf5"
    bucket.write(f"{place}/b.hdf5", b"other")
    assert load_analysis.__wrapped__("open-events", place).digest != first.digest
    with pytest.raises(ExperimentError, match="s3://store/none holds no file"):
        load_analysis.__wrapped__("open-events", "s3://store/none")
