"""How the server is run: from an environment on this machine, or from an image."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hermes.aeriel.serve.finding import VARIABLE, find_server
from hermes.errors import ServerError

RUNNERS = ("auto", "local", "apptainer", "docker")
# The release of Triton that nvidia-pytriton 0.7.0 brings.
IMAGE = "nvcr.io/nvidia/tritonserver:24.10-py3"


@dataclass(frozen=True)
class Command:
    """What to run.

    Attributes:
        arguments: The program and its arguments.
        variables: Variables to set in its environment.
        cleanup: Command that ends what would outlive the program; empty for none.
    """

    arguments: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    cleanup: list[str] = field(default_factory=list)


def build_command(
    runner: str,
    repository: Path,
    arguments: Sequence[str],
    *,
    name: str,
    gpus: Sequence[int | str] | None = None,
    image: str | Path | None = None,
) -> Command:
    """The command that starts a server.

    Args:
        runner: `local`, `apptainer`, `docker`; or `auto`: the first of these that there is, and
            the first of the latter two if an image is named.
        repository: Folder of the models; an image sees it under the same path, and cannot write.
        arguments: Those of `tritonserver`, without the repository.
        name: Name of the container, for docker.
        gpus: GPUs to use, by number or id. None for all that the environment sees; with an image
            None is for none.
        image: Image with a `tritonserver` on its search path. By default `triton.sif` in
            $AFRAME_CONTAINER_ROOT if that exists and the runner is apptainer, or NVIDIA's.

    Raises:
        ServerError: The runner is not there, or unknown.
    """
    runner = choose_runner(runner, image)
    arguments = [f"--model-repository={repository}", *arguments]
    if runner == "local":
        variables = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": _join(gpus)}
        return Command([str(_local_python()), "-P", "-m", "triton_server", *arguments], variables)
    if runner == "apptainer":
        return _apptainer(repository, arguments, gpus, image)
    return _docker(repository, arguments, name, gpus, image)


def choose_runner(runner: str, image: str | Path | None = None) -> str:
    """Resolve `auto`, and check that the runner is there.

    Raises:
        ServerError: It is not, or it is unknown.
    """
    if runner not in RUNNERS:
        raise ServerError(f"runner {runner} is not known, runners are {', '.join(RUNNERS)}")
    if runner == "local" and image is not None:
        raise ServerError(f"image {image} and runner local exclude each other: leave one out")
    if runner == "auto":
        if image is None and find_server() is not None:
            return "local"
        for program in ("apptainer", "docker"):
            if shutil.which(program):
                return program
        raise ServerError(
            "no Triton server found: make the environment projects/triton, or name the "
            f"interpreter of one in {VARIABLE}, or install apptainer or docker"
        )
    if runner == "local":
        _local_python()
    elif shutil.which(runner) is None:
        raise ServerError(f"runner {runner}: no program {runner} on the search path, install it")
    return runner


def _local_python() -> Path:
    python = find_server()
    if python is None:
        raise ServerError(
            "no environment with triton_server found: make the one of projects/triton, or name "
            f"its interpreter in {VARIABLE}"
        )
    return python


def _apptainer(
    repository: Path,
    arguments: Sequence[str],
    gpus: Sequence[int | str] | None,
    image: str | Path | None,
) -> Command:
    if image is None:
        own = Path(os.environ.get("AFRAME_CONTAINER_ROOT", "images")) / "triton.sif"
        image = own if own.is_file() else f"docker://{IMAGE}"
    command = ["apptainer", "exec", "--cleanenv", "--no-home"]
    if gpus:
        # The starter sets no devices of its own: the server sees what the variable names.
        command += ["--nv", "--env", f"CUDA_VISIBLE_DEVICES={_join(gpus)}"]
    command += ["--bind", f"{repository}:{repository}:ro", str(image), "tritonserver"]
    return Command([*command, *arguments])


def _docker(
    repository: Path,
    arguments: Sequence[str],
    name: str,
    gpus: Sequence[int | str] | None,
    image: str | Path | None,
) -> Command:
    # The network of the host, so that the server's own addresses, all loopback, are what counts.
    command = ["docker", "run", "--rm", "--init", "--name", name, "--network=host"]
    command += ["--shm-size=1g", "--volume", f"{repository}:{repository}:ro"]
    if gpus:
        command += ["--gpus", f'"device={_join(gpus)}"']
    command += [str(image or IMAGE), "tritonserver"]
    # The container belongs to docker's daemon: it outlives the program that asked for it.
    return Command([*command, *arguments], cleanup=["docker", "rm", "--force", name])


def _join(gpus: Sequence[int | str]) -> str:
    return ",".join(map(str, gpus))
