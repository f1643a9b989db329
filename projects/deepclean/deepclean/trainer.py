"""Trains a version whenever enough new data have come."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepclean.trainings import Trainings, read_plan
from deepclean.trainings.folder import FAILED, VERSION
from deepclean.trainings.stretches import NothingToDoError

log = logging.getLogger("deepclean")


def run_command(words: Sequence[str]) -> int:
    """Run a command to its end; its exit code."""
    return subprocess.run(words, check=False).returncode


def run_verb(words: Sequence[str]) -> int:
    """Run a verb of this project in a process of its own, whose memory goes with it."""
    return run_command([sys.executable, "-P", "-m", "deepclean", *words])


def sibling_command() -> list[str]:
    """The training's command line, from its environment beside this project.

    Raises:
        FileNotFoundError: There is none.
    """
    python = Path(__file__).resolve().parents[2] / "train" / ".venv" / "bin" / "python"
    if not python.is_file():
        raise FileNotFoundError(
            f"no environment of the training at {python}: make it by `python -m "
            "aframe.environment projects/train`, or give --train_command"
        )
    return [str(python), "-m", "train"]


@dataclass
class Trainer:
    """Runs one training after another, each step as a process of its own.

    Ended at any moment and begun again, it goes on with the step that it was at, a fit from its
    last checkpoint.

    Attributes:
        trainings: Decides what is trained.
        train: What `train` is run by.
        run_verb: Runs the verbs of this project.
    """

    trainings: Trainings
    train: Sequence[str]
    run_verb: Callable[[Sequence[str]], int] = run_verb
    _said: str = field(default="", repr=False)

    def step(self) -> int | None:
        """Train once, if there is anything to train on.

        Returns:
            The version that was published; None if there was nothing to do, or it failed.
        """
        try:
            place = self.trainings.next()
        except NothingToDoError as error:
            # asked again every few seconds
            if str(error) != self._said:
                log.info("nothing to do: %s", error)
            self._said = str(error)
            return None
        return self._run(place)

    def _run(self, place: Path) -> int | None:
        for step in read_plan(place).steps:
            if step.output.exists():
                continue
            log.info("%s: %s", place.name, step.name)
            if step.project == "train":
                code = run_command([*self.train, *step.arguments])
            else:
                code = self.run_verb(step.arguments)
            if code or not step.output.exists():
                reason = f"{step.name} ended with {code}: its last words are in the log"
                log.warning("nothing came of the data of %s: %s", place.name, reason)
                (place / FAILED).write_text(f"{reason}\n")
                return None
        return int((place / VERSION).read_text())
