"""The batch systems that tests ask for, and how to talk to each."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from aframe.environment import REPOSITORY

START_SLURM = REPOSITORY.parent / "shared" / "tools" / "start-slurm.sh"
SLURM_DAEMONS = {
    "slurmctld": "/run/slurmctld.pid",
    "slurmd": "/run/slurmd.pid",
    "munged": "/run/munge/munged.pid",
}


def ask(*command: str) -> str:
    """What a command prints; nothing if it is not there or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


@dataclass(frozen=True)
class BatchSystem:
    """A batch system.

    Attributes:
        name: Value of `--workflow`.
        submit: Command that submits.
        cancel: Command that cancels a job.
        cancelled: What it says of a job that was cancelled.
    """

    name: str
    submit: str
    cancel: str
    cancelled: str

    def jobs(self, folder: Path, only_running: bool = False) -> dict[str, str]:
        """What each job under a folder runs, by the job's id."""
        if self.name == "slurm":
            states = "RUNNING" if only_running else "RUNNING,PENDING"
            said = ask("squeue", "-h", "-t", states, "-o", "%i %o")
        else:
            states = "JobStatus == 2" if only_running else "JobStatus <= 2"
            columns = ("ClusterId", "ProcId", "Cmd", "Args")
            rows = ask("condor_q", "-constraint", states, "-af", *columns).splitlines()
            said = "\n".join(row.replace(" ", ".", 1) for row in rows)
        found = (line.split(maxsplit=1) for line in said.splitlines())
        return {number: what for number, what in found if what.startswith(str(folder))}


SLURM = BatchSystem("slurm", "sbatch", "scancel", "Slurm says CANCELLED")
HTCONDOR = BatchSystem("htcondor", "condor_submit", "condor_rm", "condor_rm")


def _daemon(name: str, file: str) -> int | None:
    """Process id of a daemon of Slurm."""
    try:
        number = int(Path(file).read_text())
        return number if name in Path(f"/proc/{number}/comm").read_text() else None
    except (OSError, ValueError):
        return None


@contextmanager
def slurm() -> Iterator[BatchSystem]:
    """The machine's own Slurm, or one of one node for as long as it is needed."""
    if any(state in ask("sinfo", "-h", "-o", "%T") for state in ("idle", "mixed", "allocated")):
        yield SLURM
        return
    if os.getuid() != 0 or not START_SLURM.exists():
        pytest.skip(f"no Slurm answers, and it takes root and {START_SLURM} to start one")
    before = {name for name, file in SLURM_DAEMONS.items() if _daemon(name, file)}
    done = subprocess.run(
        ["bash", START_SLURM], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        pytest.skip(f"Slurm cannot be started: {(done.stdout + done.stderr).strip()[-300:]}")
    try:
        yield SLURM
    finally:
        for name, file in SLURM_DAEMONS.items():
            if name not in before and (number := _daemon(name, file)):
                os.kill(number, signal.SIGTERM)


@contextmanager
def htcondor() -> Iterator[BatchSystem]:
    """The machine's own HTCondor."""
    if not ask("condor_status", "-af", "Name").strip():
        pytest.skip("no HTCondor answers here: tests/htcondor.sh, on a machine that has one")
    yield HTCONDOR
