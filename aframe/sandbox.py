"""The one place that runs a stage's command, in its virtual environment or in its image.

Both kinds run the same command line, `python -m <project> <verb> ...`, with the same absolute
paths, and give the same result.
"""

import contextlib
import fcntl
import logging
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger import staged
from runtime.guard import guarded
from runtime.provenance import code_version

from aframe import environment

log = logging.getLogger("aframe")

REPOSITORY = environment.REPOSITORY
# Where the images hold this repository; `--dev` binds the checkout there.
CODE_IN_IMAGE = "/opt/aframe"
RUNTIMES = ("apptainer", "singularity")
# Settings of the caller that reach a stage in an image; a stage in a venv sees all but PYTHON*.
FORWARDED = (
    "AFRAME_CACHE",
    "AFRAME_LOG_LEVEL",
    "AFRAME_STORAGE_PATIENCE",
    "AFRAME_TRACEBACK",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "GWDATAFIND_SERVER",
    "GWOSC_SERVER_URL",
    "MKL_NUM_THREADS",
    "NDSSERVER",
    "OMP_NUM_THREADS",
    "TERM",
    "WANDB_BASE_URL",
    "WANDB_MODE",
)

# Keys, too, but never on a command line, which all users of the machine can read.
SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "RAY_AUTH_TOKEN",
    "WANDB_API_KEY",
)

# Idle threads sleep. Spinning ones, the default of OpenMP, make a stage several times slower where
# it shares its cores with anything else, another stage of `--workers 2` for one.
THREADING = {"OMP_WAIT_POLICY": "PASSIVE"}


class StageError(RuntimeError):
    """A stage ended with an error; carries the stage's own last sentence."""


@dataclass(frozen=True)
class Sandbox:
    """Where stages run. None of this changes a result.

    Attributes:
        kind: `venv` (the project's own `.venv`, made on first use) or `apptainer`.
        image: Image file, which asks for `apptainer`, too; if empty, its image is
            `$AFRAME_CONTAINER_ROOT/<project>.sif`.
        dev: Bind this checkout over the code in the image. Only for `apptainer`.
        gpus: Indices of the visible CUDA devices, separated by commas; empty leaves the
            environment as it is in a venv, and shows no device to an image.
    """

    kind: str = "venv"
    image: str = ""
    dev: bool = False
    gpus: str = ""

    @property
    def contained(self) -> bool:
        """Whether stages run in an image."""
        return self.kind == "apptainer" or bool(self.image)

    def command(
        self, project: str, arguments: Sequence[str], writes: Path, reads: Sequence[Path] = ()
    ) -> list[str]:
        """The command to run, its environment made.

        Args:
            project: Name of the stage.
            arguments: Its verb and options, all paths absolute.
            writes: The one folder that the stage may write to.
            reads: Further folders that it reads.

        Raises:
            StageError: The image or apptainer is missing.
            SetupError: The environment cannot be made.
        """
        if not self.contained:
            python = environment.ensure(REPOSITORY / "projects" / project)
            return [str(python), "-m", project, *arguments]
        binds = [f"{writes}:{writes}", *(f"{path}:{path}:ro" for path in reads)]
        variables = THREADING | {n: os.environ[n] for n in FORWARDED if n in os.environ}
        if cache := os.environ.get("AFRAME_CACHE"):
            kept = Path(cache).absolute()
            kept.mkdir(parents=True, exist_ok=True)
            binds.append(f"{kept}:{kept}")
            variables["AFRAME_CACHE"] = str(kept)
        if self.dev:
            binds.append(f"{REPOSITORY}:{CODE_IN_IMAGE}:ro")
            # The image knows the commit that it was built from.
            variables["AFRAME_COMMIT"] = code_version().partition("+")[2]
        command = [_find_apptainer(), "--quiet", "run"]
        command += ["--containall", "--cleanenv", "--no-home"]
        command += [part for bind in binds for part in ("--bind", bind)]
        if self.gpus:
            command.append("--nv")
            variables["CUDA_VISIBLE_DEVICES"] = self.gpus
        command += [part for item in variables.items() for part in ("--env", "=".join(item))]
        return [*command, "--pwd", str(writes), str(self._find_image(project)), *arguments]

    def variables(self) -> dict[str, str]:
        """Environment variables of the command."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_"))}
        kept = THREADING | kept
        kept["PYTHONUNBUFFERED"] = "1"
        kept["PYTHONNOUSERSITE"] = "1"
        if not self.contained:
            return kept | ({"CUDA_VISIBLE_DEVICES": self.gpus} if self.gpus else {})
        # What these prefixes mark reaches the image under its own name, `--cleanenv` or not.
        for name in (name for name in SECRETS if name in kept):
            kept |= {f"{runtime.upper()}ENV_{name}": kept[name] for runtime in RUNTIMES}
        return kept

    def _find_image(self, project: str) -> Path:
        root = os.environ.get("AFRAME_CONTAINER_ROOT", "")
        if not (self.image or root):
            raise StageError(
                f"no image for {project}: give --image FILE, or set AFRAME_CONTAINER_ROOT to the "
                f"folder that holds {project}.sif (`make images` builds them)"
            )
        image = Path(self.image) if self.image else Path(root) / f"{project}.sif"
        if not image.exists():
            raise StageError(f"no image {image}: `make images` builds the images")
        return image.resolve()


def _find_apptainer() -> str:
    program = next(filter(None, map(shutil.which, RUNTIMES)), None)
    if program is None:
        raise StageError(
            "apptainer is not installed: get it from https://apptainer.org (or ask the cluster's "
            "administrators), or run with --environment venv"
        )
    return program


@contextlib.contextmanager
def reserved(folder: Path, name: str) -> Iterator[None]:
    """Keep another run on the same store from doing the same stage at the same time.

    Args:
        folder: Folder of the stage's records, which must exist.
        name: Name of the stage, for messages.
    """
    # a file open for writing, which network file systems can lock, too
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another run is at it, waiting for it to end", name)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def run_stage(
    sandbox: Sandbox,
    name: str,
    project: str,
    arguments: Sequence[str],
    folder: Path,
    writes: Path,
    reads: Sequence[Path] = (),
) -> float:
    """Run a stage's command to its end, its output live on stderr and kept in a file.

    Leaves `command.txt` and `log.txt` in `folder`. The command dies with this process.

    Args:
        sandbox: Where to run.
        name: Name of the stage for messages.
        project: The stage's project.
        arguments: Verb and options, all paths absolute.
        folder: Where the records of this stage go; exists.
        writes: The one folder that the stage may write to.
        reads: Further folders that it reads.

    Returns:
        Wall time [s].

    Raises:
        StageError: The stage failed; the message carries its last sentence.
    """
    command = sandbox.command(project, arguments, writes, reads)
    with staged(folder / "command.txt") as partial:
        partial.write_text(shlex.join(command) + "\n")
    log.info("%s: %s %s", name, project, arguments[0] if arguments else "")
    begun = time.monotonic()
    with _temporary_folder(sandbox) as variables:
        variables = sandbox.variables() | variables
        code, sentence = _stream(command, name, folder / "log.txt", variables, cwd=folder)
    if code:
        if number := -code if code < 0 else max(code - 128, 0):
            sentence = f"ended by signal {number} ({_signal_name(number)})"
        reason = sentence or f"exit code {code}"
        raise StageError(f"{name} failed: {reason}\n  log: {folder / 'log.txt'}")
    return time.monotonic() - begun


@contextlib.contextmanager
def _temporary_folder(sandbox: Sandbox) -> Iterator[dict[str, str]]:
    """Variables that put /tmp of an image on the disk, for as long as the command runs.

    By default it lies in memory, and in many installations holds 64 MB.
    """
    if not sandbox.contained or any(f"{r.upper()}_WORKDIR" in os.environ for r in RUNTIMES):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="aframe-", ignore_cleanup_errors=True) as folder:
        yield {f"{runtime.upper()}_WORKDIR": folder for runtime in RUNTIMES}


def _signal_name(number: int) -> str:
    if number == signal.SIGKILL:
        return "SIGKILL; out of memory, or killed from outside"
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"


def _watched() -> list[int]:
    """Processes without which a stage has no reason to go on.

    With several workers a task runs in a child of law's process, and outlives a killed law.
    """
    parent = multiprocessing.parent_process()
    return [os.getpid(), *([parent.pid] if parent is not None and parent.pid else [])]


def _stream(
    command: Sequence[str], name: str, record: Path, variables: dict[str, str], cwd: Path
) -> tuple[int, str]:
    """Run a command under guard; its exit code and its last line."""
    last = ""
    # Unbuffered: what could not be written to a full disk must not come up again on closing.
    with record.open("wb", buffering=0) as file:

        def show(line: str) -> None:
            nonlocal last
            sys.stderr.write(f"[{name}] {line.rstrip()}\n")
            sys.stderr.flush()
            # A full disk must not cost the reader the stage's own sentence about it.
            with contextlib.suppress(OSError):
                file.write(line.encode())
            last = line.strip() or last

        process = subprocess.Popen(
            guarded(command, _watched()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=variables,
            cwd=cwd,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                show(line)
            return process.wait(), last
        except BaseException:
            _end(process)
            for line in process.stdout:
                show(line)
            raise


def _end(process: "subprocess.Popen[str]") -> None:
    """End a command and all that it started: ask, then insist."""
    for ask, patience in ((signal.SIGINT, 5.0), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, ask)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
