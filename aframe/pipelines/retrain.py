"""The newest version that the data of a live installation allow, once or on a schedule."""

import logging
import time
from pathlib import Path
from typing import Any

import luigi
from luigi.worker import TaskProcess

from aframe.pipelines.pipeline import Pipeline
from aframe.sandbox import StageError
from aframe.tasks.retrain import (
    PlanTraining,
    TrainingStep,
    TrainingTask,
    read_steps,
    sole_trainer,
    step_task,
)

log = logging.getLogger("aframe")

PROJECTS = ("deepclean", "train")


class Retrain(Pipeline, TrainingTask):
    """Train a version on the newest data, going on from what is in production.

    What is to be trained is known only when the frames were looked at, and again each time: the
    steps are run here, in their order, under one lock.
    """

    every = luigi.FloatParameter(
        default=0.0,
        significant=False,
        description="time between two looks at the frames, for ever (s); default: 0, once",
    )

    def ends(self) -> list[Any]:
        """Nothing that is known beforehand."""
        return []

    def run(self) -> None:
        """Train once, or look again and again."""
        for project in PROJECTS:
            # where an environment is missing, the data are not to blame
            self.sandbox.command(project, [], self.path())
        with sole_trainer(self.path("trainings")):
            while True:
                begun = time.monotonic()
                try:
                    self.train()
                except StageError as error:
                    if not self.every:
                        raise
                    log.error("%s", error)
                if not self.every:
                    return
                time.sleep(max(0.0, self.every - (time.monotonic() - begun)))

    def train(self) -> None:
        """Train a version, if there is anything to train on.

        Raises:
            StageError: A step failed. Its training is not tried again.
        """
        plan = PlanTraining.req(self)
        # what it said before holds no more
        Path(plan.output().path).unlink(missing_ok=True)
        plan.run()
        answer = plan.answer()
        if answer["training"] is None:
            log.info("nothing to do: %s", answer["reason"])
            return
        training = Path(answer["training"])
        last = step_task(self, training.name, len(read_steps(training)) - 1)
        try:
            self._make(last)
        except StageError as error:
            (training / "failed").write_text(f"{error}\n")
            raise
        version = int(Path(last.output().path).read_text())
        log.info("version %d: %s", version, self.path("models", f"{version:04d}"))

    def _make(self, task: TrainingStep) -> None:
        """Run a step after those that it requires, as far as they are not done."""
        if task.complete():
            return
        for before in task.requires():
            self._make(before)
        # what luigi gives a task that it runs, to tell its scheduler of progress
        for name in TaskProcess.forward_reporter_attributes.values():
            setattr(task, name, getattr(self, name, None))
        task.run()
