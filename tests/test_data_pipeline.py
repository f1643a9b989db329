"""All data of an experiment, fetched from a server on loopback; a worker is killed meanwhile."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from conftest import LAW, REPOSITORY, law_environment, run_law
from ledger import InjectionSet, SegmentList, StrainIndex, WaveformSet

from aframe.environment import ensure

pytestmark = pytest.mark.chain

PIPELINE = "aframe.pipelines.data.Data"
TOOLS = REPOSITORY / "projects" / "datagen" / "tests"
# One archive file of 4096 s for each detector; L1 has a gap of 300 s in it.
ARCHIVE = (1240649728, 1240653824)
GAP = (1240652000, 1240652300)
CHANGES = {
    "sample_rate": 1024,
    "lowpass": 400,
    "strain": {
        "source": "fetch",
        "events": "gwosc",
        "minimum_length": {"training": 200, "validation": 200, "search": 100},
        "file_length": 300,
        "training": [1240648000, 1240648600],
        "validation": [1240650000, 1240650300],
        "search": [1240651500, 1240652600],
        "simulated": ["training"],
        "noise": {"noise_curves": dict.fromkeys(("H1", "L1"), "aLIGO_O4_high_asd.txt")},
    },
    "waveforms.num_training": 60,
    "injections.storage": "parameters",
}


class Archive:
    """A GWOSC-compatible server, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.python = ensure(REPOSITORY / "projects" / "datagen")
        spans = [f"H1:{ARCHIVE[0]}:{ARCHIVE[1]}"]
        spans += [f"L1:{ARCHIVE[0]}:{GAP[0]}", f"L1:{GAP[1]}:{ARCHIVE[1]}"]
        self.run(
            "make_gwosc_files.py", "--folder", folder, "--span", *ARCHIVE,
            *(part for span in spans for part in ("--segment", span)),
        )  # fmt: skip
        self.process = subprocess.Popen(
            # slow enough for a branch to be killed while it is at work
            self.command("gwosc_server.py", "--folder", folder, "--delay", "0.3"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def command(self, script: str, *arguments: object) -> list[str]:
        return [str(self.python), str(TOOLS / script), *map(str, arguments)]

    def run(self, *command: object) -> None:
        subprocess.run(self.command(*command), check=True, capture_output=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    server = Archive(tmp_path_factory.mktemp("archive"))
    assert server.url.startswith("http://127.0.0.1:")
    yield server.url
    server.process.kill()
    server.process.wait()


def stage_process(store: Path, verb: str) -> int | None:
    """A running stage of this store, by the verb in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        line = b" ".join(words)
        # the guard has the same words behind its own
        if verb.encode() in words and str(store).encode() in line and b"guard.py" not in line:
            return int(path.parent.name)
    return None


def test_a_killed_worker_costs_its_branch_alone(archive, mine, tmp_path):
    folder, store = mine(CHANGES), tmp_path / "store"
    arguments = (PIPELINE, "--experiment", str(folder), "--workers", "2")
    with (tmp_path / "first.log").open("w") as log:
        law = subprocess.Popen(
            [str(LAW), "run", *arguments],
            cwd=REPOSITORY,
            env=law_environment(store, GWOSC_SERVER_URL=archive),
            stdout=log,
            stderr=log,
        )
        end = time.monotonic() + 300
        while (victim := stage_process(store, "fetch")) is None:
            assert law.poll() is None, (tmp_path / "first.log").read_text()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.02)
        os.kill(victim, signal.SIGKILL)
        assert law.wait(timeout=600) != 0
    text = (tmp_path / "first.log").read_text()
    assert "ended by signal 9 (SIGKILL" in text
    (version,) = (store / "mine").iterdir()
    made = {p: p.stat().st_mtime_ns for p in version.rglob("*.hdf5") if p.name[0] != "."}
    names = {p.name.split("-")[1] for p in made if p.name.startswith("strain-")}
    # other branches of the same workflow went on
    assert {"training", "search"} <= names
    segments = SegmentList.read(version / "segments" / "segments.hdf5")
    files = segments.pieces(300)
    assert sum(p.name.startswith(("strain-search", "strain-val")) for p in made) == len(files) - 1

    second = run_law(*arguments, store=store, GWOSC_SERVER_URL=archive)
    assert second.returncode == 0, second.stderr[-3000:]
    assert f"Data: {version}" in second.stderr
    assert {p: p.stat().st_mtime_ns for p in made if p.exists()} == made

    # what was asked for is there, and fits together
    assert segments.livetime("validation") == 300
    assert segments.livetime("search") == 1100 - 300
    index = StrainIndex.read(version / "strain" / "index.hdf5")
    assert len(index.path) == len(files) + 2
    searched = index.files(version / "strain" / "index.hdf5", "search")
    assert all(f.gps_stop <= GAP[0] or f.gps_start >= GAP[1] for f in searched)
    injections = InjectionSet.read(version / "injections-0.hdf5")
    assert len(injections.time) > 20
    assert not len(injections.response)
    # the PSD of what the anti-alias filter took divides nothing
    assert injections.snr.max() < 500
    assert len(WaveformSet.read(version / "training-waveforms.hdf5").plus) == 60
    assert not (version / "parts").exists() or not list((version / "parts").iterdir())
    ledger = LAW.parent / "ledger"
    check = subprocess.run([ledger, "check", version], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout

    third = run_law(*arguments, store=store, GWOSC_SERVER_URL=archive)
    assert "nothing to do, all is made" in third.stderr


def test_a_branch_alone_and_the_status(archive, mine, tmp_path):
    """Every task runs by itself, and law's own view of a workflow works before and after."""
    folder, store = mine(CHANGES), tmp_path / "store"
    common = ("--experiment", str(folder))
    query = run_law("aframe.Query", *common, store=store, GWOSC_SERVER_URL=archive)
    assert query.returncode == 0, query.stderr[-2000:]
    status = run_law("aframe.StrainIndex", *common, "--print-status", "2", store=store)
    assert status.returncode == 0, status.stderr[-2000:]
    assert "Fetch" in status.stdout
    branch = run_law("aframe.Fetch", *common, "--branch", "1", store=store,
                     GWOSC_SERVER_URL=archive)  # fmt: skip
    assert branch.returncode == 0, branch.stderr[-2000:]
    (version,) = (store / "mine").iterdir()
    assert len(list((version / "strain").glob("strain-*.hdf5"))) == 1


def test_the_open_run_is_shipped_as_it_is_documented():
    content = yaml.safe_load((REPOSITORY / "configs/open-run/experiment.yaml").read_text())
    strain = content["strain"]
    day = max(strain["search"]) - min(strain["training"])
    assert day == 86400
