"""Branches as jobs, as far as it can be seen without a batch system."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import law
import pytest
from conftest import run_law

from aframe.batch.resources import Resources
from aframe.batch.script import variables, write_script
from aframe.environment import REPOSITORY

SITES = REPOSITORY / "configs" / "site"


@pytest.fixture
def configured(monkeypatch):
    """Set options of sections of law's configuration for one test."""

    def configure(**sections):
        for section, options in sections.items():
            law.config.add_section(section)
            for option, value in options.items():
                law.config.set(section, option, value)

    before = [name for name in law.config.sections() if name.startswith("batch")]
    for name in before:
        monkeypatch.setitem(law.config.Config.instance()._sections, name, {})
    yield configure
    for name in law.config.sections():
        if name.startswith("batch") and name not in before:
            law.config.remove_section(name)


def test_the_most_special_section_wins(configured):
    configured(
        batch={"cpus": "1", "memory": "4G", "time": "2h", "retries": "3"},
        batch_infer={"cpus": "2", "memory": "1.5G"},
        batch_InferSlides={"memory": "800M", "time": "1d", "gpus": "1"},
    )
    slides = Resources.read("InferSlides", "infer")
    assert (slides.cpus, slides.memory, slides.time, slides.gpus) == (2, 800, 86400.0, 1)
    frames = Resources.read("InferFrames", "infer")
    assert (frames.cpus, frames.memory, frames.time, frames.gpus) == (2, 1536, 7200.0, 0)
    assert Resources.read("SimulateStrain", "datagen").memory == 4096


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("memory", "4", r"\[batch\] memory: 4: expected a number with its unit, as 800M or 4G"),
        ("time", "long", r"\[batch\] time: long: expected a duration"),
        ("cpus", "0", r"\[batch\] cpus: 0: expected a whole number"),
        ("gpus", "1.5", r"\[batch\] gpus: 1.5: expected a whole number"),
        ("mem", "4G", r"\[batch\] mem: there is no such option; known are account, .*memory"),
    ],
)
def test_a_value_that_is_not_understood(configured, option, value, sentence):
    configured(batch={option: value})
    with pytest.raises(ValueError, match=sentence):
        Resources.read("SimulateStrain", "datagen")


def test_what_slurm_and_htcondor_are_asked_for():
    asked = Resources(
        cpus=2, gpus=1, memory=1500, disk=10, time=90.0, partition="p", accounting_group="ligo.dev"
    )
    slurm = asked.for_slurm()
    assert {("cpus-per-task", "2"), ("mem", "1500M"), ("time", "2"), ("partition", "p")} < {*slurm}
    assert ("gres", "gpu:1") in slurm
    condor = asked.for_htcondor()
    # MiB, seconds, and KiB of disk
    expected = {("request_memory", "1500"), ("allowed_execute_duration", "90")}
    assert expected | {("request_disk", "10240"), ("accounting_group", "ligo.dev")} < {*condor}
    assert not any("partition" in name for name, _ in condor)
    lines = Resources(lines=("--constraint=a100",)).for_slurm()
    assert lines[-1] == "#SBATCH --constraint=a100"


@pytest.mark.parametrize("site", ["local", "slurm", "htcondor"])
def test_every_site_file_is_understood(site, tmp_path):
    """Inherited by a file of the user's own, too."""
    mine = tmp_path / "law.cfg"
    mine.write_text(f"[core]\ninherit: {SITES / site}.cfg\n[batch_infer]\nmemory: 16G\n")
    code = (
        "import aframe, json; from aframe.batch.resources import Resources as R\n"
        "task = aframe.SimulateStrain(experiment='smoke')\n"
        "resources = R.read('InferSlides', 'infer')\n"
        "print(json.dumps([task.workflow, task.effective_workflow, resources.memory]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | {"LAW_CONFIG_FILE": str(mine), "AFRAME_STORE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [site, site, 16384]


def test_a_job_sees_what_it_needs_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "it's secret")
    monkeypatch.setenv("AFRAME_STORE", "relative/store")
    monkeypatch.setenv("AFRAME_CONTAINER_ROOT", "s3://bucket/images")
    monkeypatch.setenv("SECRET_OF_MINE", "1")
    monkeypatch.setenv("MODULE", "gcc")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    report = tmp_path / "report.py"
    report.write_text(
        "import json, os, sys\nprint(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))"
    )
    script = tmp_path / "job.sh"
    command = [sys.executable, str(report), "a b"]
    write_script(script, command, variables(["MODULE"], 3), branched=True, gpus=True)
    assert stat.S_IMODE(script.stat().st_mode) == 0o700
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5,GPU-6")
    monkeypatch.setenv("LOGIN_SHELL_RUBBISH", "1")
    done = subprocess.run(
        ["bash", script, "4", "5"], cwd="/", capture_output=True, text=True, check=True
    )
    (first, folder, seen), (second, _, _) = map(json.loads, done.stdout.splitlines())
    assert folder == str(Path.cwd())
    assert first == ["a b", "--branch", "4", "--gpus", "GPU-5,GPU-6"]
    assert second == ["a b", "--branch", "5", "--gpus", "GPU-5,GPU-6"]
    assert seen["AWS_SECRET_ACCESS_KEY"] == "it's secret"
    assert seen["AFRAME_STORE"] == str(Path.cwd() / "relative/store")
    assert seen["AFRAME_CONTAINER_ROOT"] == "s3://bucket/images"
    assert (seen["MODULE"], seen["SLURM_JOB_ID"], seen["OMP_NUM_THREADS"]) == ("gcc", "7", "3")
    assert not {"SECRET_OF_MINE", "LOGIN_SHELL_RUBBISH", "TMPDIR"} & set(seen)


def test_the_branches_after_one_that_failed_are_not_run(tmp_path):
    script = tmp_path / "job.sh"
    write_script(script, ["/bin/bash", "-c", 'echo "$2"; false', "-"], {}, branched=True)
    done = subprocess.run(["bash", script, "1", "2"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "1\n")


CONDOR_SUBMIT = """\
#!/bin/bash
cp "$1" "$COPIES"
echo "Submitting job(s)."
echo "$(grep -c ^queue "$1") job(s) submitted to cluster 5."
"""


def read_submit_file(text: str) -> list[dict[str, str]]:
    """Commands of each job: those set before its `queue`."""
    jobs, commands = [], {}
    for line in text.splitlines():
        if line.strip() == "queue":
            jobs.append(dict(commands))
        elif line.strip():
            name, value = re.fullmatch(r"([+\w]+) = (.*)", line).groups()
            commands[name] = value
    return jobs


def test_submit_files_of_htcondor(tmp_path):
    """By a `condor_submit` that keeps what it is given."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "condor_submit").write_text(CONDOR_SUBMIT)
    (programs / "condor_version").write_text("echo '$CondorVersion: 23.9.6 2024-08-08 $'")
    for program in programs.iterdir():
        program.chmod(0o755)
    config = tmp_path / "law.cfg"
    config.write_text(
        f"[core]\ninherit: {SITES / 'htcondor.cfg'}\n[batch]\npoll_interval: 0s\n"
        "accounting_group: ligo.dev.o4\naccounting_group_user: a.b\n"
        "lines: requirements = HasSingularity\n  +Extra = 1\n"
    )
    result = run_law(
        "aframe.SimulateStrain",
        *("--experiment", "smoke", "--branches", "0,2:4", "--no-poll"),
        store=tmp_path / "store",
        LAW_CONFIG_FILE=str(config),
        PATH=f"{programs}:{os.environ['PATH']}",
        COPIES=str(tmp_path / "submitted"),
        WANDB_API_KEY="very-secret",
    )
    assert result.returncode == 0 or "absent" in result.stderr, result.stderr
    text = (tmp_path / "submitted").read_text()
    jobs = read_submit_file(text)
    assert [job["arguments"] for job in jobs] == ["0", "2", "3"]
    for job in jobs:
        assert (job["universe"], job["request_cpus"], job["request_memory"]) == (
            "vanilla",
            "1",
            "4096",
        )
        assert job["request_disk"] == str(2048 * 1024)
        assert job["allowed_execute_duration"] == "7200"
        assert (job["accounting_group"], job["accounting_group_user"]) == ("ligo.dev.o4", "a.b")
        assert (job["requirements"], job["+Extra"]) == ("HasSingularity", "1")
        log = Path(job["output"])
        assert log.parts[-2:] == (f"SimulateStrain-{job['arguments']}", "job.txt")
        assert log.parent.is_dir()
        assert stat.S_IMODE(Path(job["executable"]).stat().st_mode) == 0o700
    # keys are in the script of the owner's alone
    assert "very-secret" in Path(jobs[0]["executable"]).read_text()
    holders = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    others = [path for path in holders if path.stat().st_mode & 0o077]
    assert others
    assert not any("very-secret" in path.read_text(errors="replace") for path in others)


@pytest.mark.parametrize("system", ["slurm", "htcondor"])
def test_what_a_batch_system_says_that_takes_no_job(system, tmp_path):
    """As of a partition that is not there; nothing waits for it, nothing is tried again."""
    program = tmp_path / "refuse"
    program.write_text("#!/bin/bash\necho 'error: no such place' >&2\nexit 1\n")
    program.chmod(0o755)
    command = {"slurm": "slurm_cmd_sbatch", "htcondor": "htcondor_cmd_submit"}[system]
    config = tmp_path / "law.cfg"
    config.write_text(f"[core]\ninherit: {SITES / system}.cfg\n[job]\n{command}: {program}\n")
    result = run_law(
        "aframe.SimulateStrain",
        *("--experiment", "smoke", "--branches", "0"),
        store=tmp_path / "store",
        LAW_CONFIG_FILE=str(config),
    )
    assert result.returncode != 0
    said = result.stdout + result.stderr
    assert f"SimulateStrain: {system} takes no job: error: no such place" in said
    assert "Traceback" not in said


def test_a_machine_that_submits_no_jobs(tmp_path):
    result = run_law(
        "aframe.SimulateStrain",
        *("--experiment", "smoke", "--branches", "0", "--workflow", "slurm"),
        store=tmp_path / "store",
        PATH="/nowhere",
    )
    assert result.returncode != 0
    sentence = "--workflow slurm: no sbatch here: run on a machine that submits jobs"
    assert sentence in result.stdout + result.stderr
