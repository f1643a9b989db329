"""Which command starts a server; images are not run here, only their command lines are read."""

import sys
from pathlib import Path

import pytest
from hermes.aeriel.serve import find_server
from hermes.aeriel.serve.runners import IMAGE, build_command, choose_runner
from hermes.errors import ServerError

REPOSITORY = Path("/models")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs of given names on the search path, in the place of all others."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HERMES_TRITON", sys.executable)

    def install(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)

    return install


def test_the_variable_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("HERMES_TRITON", sys.executable)
    assert find_server() == Path(sys.executable)
    monkeypatch.setenv("HERMES_TRITON", str(tmp_path / "python"))
    with pytest.raises(ServerError, match=r"HERMES_TRITON is .*python, which is no file"):
        find_server()


def test_a_checkout_is_found_above_the_library(monkeypatch, tmp_path):
    monkeypatch.delenv("HERMES_TRITON", raising=False)
    library = tmp_path / "libs" / "hermes" / "finding.py"
    monkeypatch.setattr("hermes.aeriel.serve.finding.__file__", str(library))
    assert find_server() is None
    python = tmp_path / "projects" / "triton" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert find_server() == python


def test_the_local_one_sees_the_devices_that_are_asked_for(programs):
    command = build_command("local", REPOSITORY, ["--x=1"], name="n", gpus=[0, 2])
    assert command.arguments[1:] == [
        *("-P", "-m", "triton_server", "--model-repository=/models", "--x=1")
    ]
    assert command.variables == {"CUDA_VISIBLE_DEVICES": "0,2"}
    assert build_command("local", REPOSITORY, [], name="n").variables == {}
    assert build_command("local", REPOSITORY, [], name="n", gpus=[]).variables == {
        "CUDA_VISIBLE_DEVICES": ""
    }


def test_apptainer_binds_the_repository_to_read(programs, monkeypatch, tmp_path):
    programs("apptainer")
    monkeypatch.setenv("AFRAME_CONTAINER_ROOT", str(tmp_path))
    command = build_command("apptainer", REPOSITORY, ["--x=1"], name="n").arguments
    assert command[:2] == ["apptainer", "exec"]
    assert command[-4:] == [
        *(f"docker://{IMAGE}", "tritonserver", "--model-repository=/models", "--x=1")
    ]
    assert "/models:/models:ro" in command
    assert "--nv" not in command
    (tmp_path / "triton.sif").touch()
    command = build_command("apptainer", REPOSITORY, [], name="n", gpus=[1]).arguments
    assert command[-3] == str(tmp_path / "triton.sif")
    assert "--nv" in command
    assert "CUDA_VISIBLE_DEVICES=1" in command


def test_docker_takes_its_container_away(programs):
    programs("docker")
    command = build_command("docker", REPOSITORY, [], name="n", gpus=[0, 1], image="mine:1")
    assert command.arguments[:3] == ["docker", "run", "--rm"]
    assert command.arguments[-3:] == ["mine:1", "tritonserver", "--model-repository=/models"]
    assert command.arguments[command.arguments.index("--gpus") + 1] == '"device=0,1"'
    # The network of the host: the server itself listens on the loopback interface alone.
    assert "--network=host" in command.arguments
    assert command.cleanup == ["docker", "rm", "--force", "n"]


def test_auto_takes_what_there_is(programs, monkeypatch):
    assert choose_runner("auto") == "local"
    monkeypatch.setattr("hermes.aeriel.serve.runners.find_server", lambda: None)
    with pytest.raises(ServerError, match=r"no Triton server found: make .* projects/triton"):
        choose_runner("auto")
    programs("docker")
    assert choose_runner("auto") == "docker"
    programs("apptainer")
    assert choose_runner("auto") == "apptainer"


def test_an_image_is_not_run_from_an_environment(programs):
    programs("docker")
    assert choose_runner("auto", "image:1") == "docker"
    with pytest.raises(ServerError, match="exclude each other"):
        choose_runner("local", "image:1")
    with pytest.raises(ServerError, match="no program apptainer"):
        choose_runner("apptainer")
    with pytest.raises(ServerError, match="runner podman is not known"):
        choose_runner("podman")
