"""One trial: the stage's own training command, followed epoch by epoch."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ray import tune
from runtime.guard import guarded

from train.tune.space import apply_values

# Everything of a run that going on, or using its network, needs.
KEPT = (
    "last.ckpt",
    "best.ckpt",
    "metrics.csv",
    "config.yaml",
    "trial.yaml",
    "model.pt",
    "model.yaml",
    "log.txt",
    "wandb-id.txt",
)
POLL_INTERVAL = 0.2
PATIENCE = 10.0


class TrialError(RuntimeError):
    """The training of a trial failed; carries its last sentence."""


@dataclass(frozen=True)
class Plan:
    """What all trials of a study share.

    Attributes:
        study: Name of the study; the group of its runs in Weights & Biases.
        config: The whole training configuration, into which a trial puts its values.
        directory: Working directory of the trainings, to which relative paths refer.
        temp_dir: Folder of the runs at work, on the machine of the trial.
        metric: Measure by which trials are compared.
        command: What Python runs to train, without its options.
        variables: Environment variables of the training besides those of the machine.
    """

    study: str
    config: dict[str, Any]
    directory: str
    temp_dir: str
    metric: str
    command: Sequence[str] = ("-m", "train", "fit")
    variables: Mapping[str, str] = field(default_factory=dict)


class Trial(tune.Trainable):
    """Trains with the values drawn for it; a step of Ray Tune is an epoch.

    The training is a process of its own, with the command that a user would run: a crash, a leak
    of memory or a leftover on the device ends with it, and every family of networks can be tuned.
    It does not wait for the scheduler's verdict on an epoch before it begins the next one.
    """

    plan: Plan

    def setup(self, config: dict[str, Any]) -> None:
        """Make ready for the first trial of this process."""
        self._prepare(config)

    def _prepare(self, config: dict[str, Any]) -> None:
        """Write the configuration of the trial into an empty folder."""
        self.values = config
        self.folder = Path(self.plan.temp_dir, self.plan.study, self.trial_id).absolute()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        trial = self.folder / "trial.yaml"
        whole = apply_values(self.plan.config, config)
        trial.write_text(yaml.safe_dump(whole, sort_keys=False))
        self.epochs = (whole.get("trainer") or {}).get("max_epochs")
        self.num_reported = 0
        self.last: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def step(self) -> dict[str, Any]:
        """Wait for the end of an epoch.

        Returns:
            The row of the epoch in `metrics.csv`, `complete` if the training has ended.

        Raises:
            TrialError: The training failed.
            ValueError: It does not measure what trials are compared by.
        """
        process = self.process = self.process or self._start()
        while True:
            # In this order: what is written before the end is there when the end is seen.
            code = process.poll()
            rows = self._rows()
            if len(rows) > self.num_reported:
                self.last = rows[self.num_reported]
                self.num_reported += 1
                last = self.num_reported == len(rows) and self._is_last(self.last)
                if last:
                    code = process.wait()
                    self._check(code)
                elif code is not None and self.num_reported == len(rows):
                    self._check(code)
                    last = True
                return self._result(last)
            if code is not None:
                # Stopped early by its own rule, which the row before could not know.
                self._check(code)
                if not self.last:
                    raise TrialError(f"trial {self.trial_id} ended without a validation")
                return self._result(True)
            time.sleep(POLL_INTERVAL)

    def _result(self, complete: bool) -> dict[str, Any]:
        if self.plan.metric not in self.last:
            raise ValueError(
                f"the training does not measure {self.plan.metric}: --tune.metric is one of "
                f"{', '.join(name for name in self.last if name != 'epoch')}"
            )
        return {**self.last, "complete": complete, "done": complete}

    def _is_last(self, row: Mapping[str, Any]) -> bool:
        return self.epochs is not None and row["epoch"] + 1 >= self.epochs

    def _start(self) -> subprocess.Popen[bytes]:
        if not Path(self.plan.directory).is_dir():
            raise TrialError(
                f"no folder {self.plan.directory} on this machine: the study was begun there, "
                "and its trials read their inputs relative to it"
            )
        variables = {
            **os.environ,
            "WANDB_RUN_GROUP": self.plan.study,
            "WANDB_NAME": self.trial_id,
            **self.plan.variables,
        }
        options = [f"--config={self.folder / 'trial.yaml'}", f"--run_dir={self.folder}"]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                guarded([sys.executable, *self.plan.command, *options], [os.getpid()]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.plan.directory,
                env=variables,
                start_new_session=True,
            )

    def _rows(self) -> list[dict[str, Any]]:
        with (
            contextlib.suppress(FileNotFoundError),
            (self.folder / "metrics.csv").open(newline="") as file,
        ):
            return [
                {name: float(value) for name, value in row.items() if value != ""}
                for row in csv.DictReader(file)
            ]
        return []

    def _check(self, code: int) -> None:
        if code == 0:
            return
        lines = (self.folder / "log.txt").read_text(errors="replace").strip().splitlines()
        sentence = lines[-1] if lines else f"exit code {code}"
        raise TrialError(
            f"trial {self.trial_id} ({self.values}) failed: {sentence}\n"
            f"  log: {self.folder / 'log.txt'} on {os.uname().nodename}"
        )

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copy what the training has left so far."""
        for name in KEPT:
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, Path(checkpoint_dir, name))
        state = {"num_reported": self.num_reported, "last": self.last}
        Path(checkpoint_dir, "trial-state.yaml").write_text(yaml.safe_dump(state))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Lay out what an interrupted trial had left, for the training to go on from."""
        for name in KEPT:
            source = Path(checkpoint_dir, name)
            if source.exists() and name != "trial.yaml":
                shutil.copyfile(source, self.folder / name)
        state = yaml.safe_load(Path(checkpoint_dir, "trial-state.yaml").read_text())
        # Rows already reported may be written again, where the last epoch's row was seen before
        # its checkpoint was: they are the same rows, and are not reported twice.
        self.num_reported = state["num_reported"]
        self.last = state["last"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in this process, which saves the start of one."""
        self.cleanup()
        self._prepare(new_config)
        return True

    def cleanup(self) -> None:
        """End the training, if it runs, and remove its folder.

        The folder of one that failed stays, and what waits there to be sent to W&B.
        """
        if self.process is None:
            return
        if self.process.poll() is None:
            self._end(self.process)
        elif self.process.returncode:
            return
        if not list(self.folder.glob("wandb/offline-run-*")):
            shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        for ask, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, ask)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)


def make_trainable(plan: Plan) -> type[Trial]:
    """The trials of a study.

    The plan travels with the class: what `tune.with_parameters` hands over does not arrive at a
    cluster that is joined by its endpoint.

    Args:
        plan: What the trials share.
    """
    return type("PlannedTrial", (Trial,), {"plan": plan})
