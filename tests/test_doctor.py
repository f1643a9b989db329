"""`aframe doctor`: what is on the machine, without a word of what is secret."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from conftest import LAW

from aframe import doctor
from aframe.__main__ import main
from aframe.doctor import access, finding, machine

AFRAME = LAW.with_name("aframe")
ADDED = ("Slurm", "HTCondor", "apptainer", "GPU")


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with nothing but this environment; gives the folder of its programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in list(os.environ):
        if name.startswith(("AWS_", "WANDB_", "BEARER_", "SCITOKEN", "X509_", "KUBE", "GWDATA")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(access, "TOKEN_FILES", ("X509_USER_PROXY",))
    return programs


def put(folder: Path, name: str, script: str) -> None:
    """Put a program there."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def found(name: str, **options: bool) -> finding.Finding:
    return next(item for item in doctor.examine(**options) if item.name == name)


def test_what_is_missing_says_what_it_would_enable(bare, capsys):
    findings = doctor.examine()
    for name in (*ADDED, "Kubernetes", "S3", "Weights & Biases", "GWDataFind"):
        item = next(item for item in findings if item.name == name)
        assert item.state == "missing"
        assert item.enables in doctor.describe(findings)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("`make sandbox` can run here")


def test_programs_are_asked_and_not_only_found(bare):
    put(bare, "sinfo", "echo 'gpu up 4 nodes'")
    assert found("Slurm").found == "answers, gpu up 4 nodes"
    put(bare, "sinfo", "echo 'sinfo: Unable to contact slurm controller' >&2; exit 1")
    item = found("Slurm")
    assert not item.there
    assert "Unable to contact" in item.found
    put(bare, "nvidia-smi", "exit 9")
    assert found("GPU").found == "nvidia-smi fails: exit code 9"
    put(bare, "nvidia-smi", "echo 'A100, 81920 MiB, 570.00'")
    assert found("GPU").there


def test_a_program_that_hangs_is_left(bare, monkeypatch):
    put(bare, "condor_q", "exec /bin/sleep 30")
    monkeypatch.setattr(finding, "PATIENCE", 0.3)
    assert found("HTCondor").found == "condor_q gives no answer within 0.3 s"


def test_images_are_counted(bare, tmp_path, monkeypatch):
    put(bare, "singularity", "echo 'singularity-ce version 4.1'")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train.sif").touch()
    monkeypatch.setenv("AFRAME_CONTAINER_ROOT", str(tmp_path / "images"))
    assert found("apptainer").found == "singularity-ce version 4.1; images: train"


def test_no_key_is_shown(bare, tmp_path, monkeypatch, capsys):
    secret = "hidden-word"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "BEARER_TOKEN"):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://me:{secret}@s3.example.org")
    monkeypatch.setenv("AFRAME_STORE", f"s3://me:{secret}@bucket/store")
    for arguments in (["doctor"], ["doctor", "--json"]):
        assert main(arguments) == 0
        output = capsys.readouterr().out
        assert secret not in output
        assert "s3.example.org" in output
    for name in ("S3", "Weights & Biases", "LIGO token"):
        assert found(name).there


def test_keys_in_files(bare, tmp_path, monkeypatch):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\n")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password hidden\n")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / "proxy").touch()
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").touch()
    for name in ("S3", "Weights & Biases", "LIGO token", "Kubernetes"):
        assert found(name).there, name
    (tmp_path / ".netrc").write_text("machine elsewhere login user password hidden\n")
    assert not found("Weights & Biases").there


def test_what_the_sandbox_needs_decides_the_exit_code(bare, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "file" / "store"))
    assert main(["doctor"]) == 1
    output = capsys.readouterr().out
    assert output.rstrip().endswith("`make sandbox` needs: store")
    assert "AFRAME_STORE names another place" in output


def test_an_old_python_a_full_disk_a_small_memory(bare, monkeypatch):
    monkeypatch.setattr(machine, "LEAST_MEMORY", 1e15)
    monkeypatch.setattr(machine, "LEAST_STORE", 1e18)
    assert found("memory").state == "needed"
    assert found("store").state == "needed"
    # copies are needed where products lie elsewhere
    assert found("cache").state == "missing"
    with monkeypatch.context() as patch:
        patch.setenv("AFRAME_STORE", "s3://bucket/store")
        assert [found("store").state, found("cache").state] == ["there", "needed"]
    version = namedtuple("version", "major minor micro")
    assert machine.python().state == "there"
    monkeypatch.setattr(machine.sys, "version_info", version(3, 10, 2))
    assert machine.python().state == "needed"


def test_environments_that_are_not_made_need_space(bare, monkeypatch):
    monkeypatch.setattr(machine, "is_current", lambda folder: folder.name != "train")
    item = found("environments")
    assert item.state == "missing"
    assert item.enables.endswith("python -m aframe.environment projects/train")
    monkeypatch.setattr(machine, "LEAST_ENVIRONMENTS", 1e18)
    assert found("environments").state == "needed"


@pytest.fixture
def archive():
    """A server on loopback."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_archive_is_asked_only_if_wanted(bare, archive, monkeypatch):
    monkeypatch.setenv("GWOSC_SERVER_URL", archive)
    assert found("GWOSC", network=True).there
    monkeypatch.setenv("GWOSC_SERVER_URL", archive + "/nothing/there")
    assert "404" in found("GWOSC", network=True).found
    assert "GWOSC" not in [item.name for item in doctor.examine()]


def test_the_command_line():
    """The installed script and the module give the same, here with what this machine has."""
    outputs = []
    for command in ([AFRAME], [sys.executable, "-m", "aframe"]):
        done = subprocess.run(
            [*map(str, command), "doctor", "--json"], capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
        outputs.append([item["name"] for item in json.loads(done.stdout)])
    assert outputs[0] == outputs[1]
    assert {"Python", "GPU", "Slurm", "store"} <= set(outputs[0])
