"""Branches as jobs of a real batch system, some of them killed, the submitting process, too."""

import contextlib
import os
import re
import signal
import stat
import subprocess
import time
from collections import Counter
from pathlib import Path

import batch_systems
import pytest
from conftest import LAW, law_environment, run_law

from aframe.environment import REPOSITORY

pytestmark = pytest.mark.slurm

# Enough to have a network.
TRAINING = """\
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
model:
  class_path: Supervised
  init_args: {architecture: TwoTower, learning_rate: 0.003, pairings: 2}
data:
  batch_size: 32
  batches_per_epoch: 4
  signal_fraction: 0.5
  snr: {minimum: 10.0, maximum: 50.0, index: -3.0}
  coalescence: [0.45, 1.4]
  validation_livetime: 500
"""
SUBMIT = """\
#!/bin/bash
cat "${@: -1}" >> %s
exec %s "$@"
"""


@pytest.fixture(scope="module", params=["slurm", "htcondor"])
def system(request):
    """A batch system that answers."""
    with getattr(batch_systems, request.param)() as found:
        yield found


@pytest.fixture
def site(system, tmp_path):
    """A law.cfg for small jobs, which notes what is submitted in a file beside it."""
    submit = tmp_path / "submit"
    submit.write_text(SUBMIT % (tmp_path / "submitted", system.submit))
    submit.chmod(stat.S_IRWXU)
    config = tmp_path / "law.cfg"
    config.write_text(
        f"[core]\ninherit: {REPOSITORY}/configs/site/{system.name}.cfg\n"
        "[batch]\npoll_interval: 1s\nfile_delay: 0s\nmemory: 1G\ntime: 10m\ndisk: 100M\n"
        "[batch_infer]\ncpus: 1\nmemory: 1G\n[batch_train]\ncpus: 1\ngpus: 0\nmemory: 2G\n"
        f"[job]\n{system.name}_cmd_{'sbatch' if system.name == 'slurm' else 'submit'}: {submit}\n"
    )
    return config


def submitted(config: Path) -> Counter[str]:
    """How often which branch was submitted, as `InferSlides-0 1`."""
    text = config.with_name("submitted").read_text()
    # Slurm's arguments follow the script, those of HTCondor are on a line of their own
    found = re.findall(r"jobs/([^/\s]+)/job\.sh(?: |\n(?:.*\n)*?arguments = )(\d+)", text)
    return Counter(" ".join(job) for job in found)


def wait_for(condition, process, log: Path, limit: float = 180.0):
    """Wait until something is so, while a process runs."""
    end = time.monotonic() + limit
    while not (found := condition()):
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.2)
    return found


def test_a_search_by_jobs(system, site, mine, tmp_path):
    """Data and inference: a job killed and retried, the pipeline killed and resumed."""
    folder = mine(train=TRAINING)
    store = tmp_path / "store"
    arguments = ("--experiment", str(folder), "--search-branches", "2")
    variables = {"LAW_CONFIG_FILE": str(site)}
    log = tmp_path / "log.txt"

    def files():
        return list(store.glob("mine/*/strain/*.hdf5"))

    with log.open("w") as file:
        process = subprocess.Popen(
            [LAW, "run", "aframe.InferLocal", *arguments],
            cwd=REPOSITORY,
            env=law_environment(store, **variables),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        jobs = wait_for(lambda: system.jobs(store, only_running=True), process, log)
        subprocess.run([system.cancel, next(iter(jobs))], check=True)
        wait_for(lambda: "tried again" in log.read_text(), process, log)
        wait_for(files, process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert system.cancelled in log.read_text()
    assert system.jobs(store), "the jobs ended with the process that submitted them"

    # what --print-status says is what is there
    before = len(files())
    status = run_law(
        "aframe.SimulateStrain", *arguments[:2], "--print-status", "0", store=store, **variables
    )
    assert any(f"({number}/6)" in status.stdout for number in range(before, len(files()) + 1))

    result = run_law("aframe.InferLocal", *arguments, store=store, **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    (version,) = (store / "mine").iterdir()
    events = {path.name for path in (version / "events-0").iterdir()}
    assert {"background.hdf5", "foreground.hdf5", "zero-lag.hdf5"} <= events
    data = {f"SimulateStrain {branch}" for branch in range(6)}
    signals = {"TrainingWaveformBranches 0", "ValidationBranches-0 0", "InjectionBranches-0 0"}
    search = {f"Infer{name}-0 {branch}" for name in ("Slides", "Injections") for branch in (0, 1)}
    sole = {"TrainLocal-0 0", "InferZeroLag-0 0", "InferLocal-0 0"}
    counts = submitted(site)
    assert set(counts) >= data | signals | search | sole | {"InferFrames-0 0"}
    # each was submitted once, the killed one once more
    assert sorted(counts.values())[-2:] == [1, 2]
    logs = {path.parent.name for path in version.glob("stages/*/job.txt")}
    assert {job.replace(" ", "-") for job in data | signals | search} <= logs
    assert not list(version.glob("jobs/*")), "scripts, which may hold keys, are left"


def test_the_sentence_of_a_stage_that_failed(system, site, mine, tmp_path):
    folder = mine({"strain.noise_curves": {"H1": "curve.txt", "L1": "curve.txt"}})
    (folder / "curve.txt").write_text("10 not-a-number\n")

    def run(retries: int):
        return run_law(
            "aframe.SimulateStrain",
            *("--experiment", str(folder), "--branches", "0", "--retries", str(retries)),
            store=tmp_path / "store",
            LAW_CONFIG_FILE=str(site),
        )

    result = run(retries=1)
    assert result.returncode != 0
    said = result.stdout + result.stderr
    (log,) = (tmp_path / "store").rglob("log.txt")
    sentence = log.read_text().strip().splitlines()[-1]
    assert "curve.txt" in sentence
    assert f"SimulateStrain-0 failed: {sentence}" in said
    assert "tried again" in said
    assert "Traceback" not in said
    assert submitted(site) == {"SimulateStrain 0": 2}
    # the next run begins anew, not with the record of those that failed
    assert run(retries=0).returncode != 0
    assert submitted(site) == {"SimulateStrain 0": 3}
