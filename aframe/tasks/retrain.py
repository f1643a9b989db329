"""Versions of a live cleaner, trained as its data come.

What a training is made of is decided by `deepclean plan`, as for the verb `trainer`: here is only
in which environment, or as which job, each of its steps runs.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import luigi
import yaml
from runtime import ExperimentError
from runtime.locking import held

from aframe.analysis import find_experiment
from aframe.base import AframeTask, StageTask, options
from aframe.cleaning import CleaningAnalysis, CleaningSettings
from aframe.storage import FileTarget
from aframe.trained import read_description
from aframe.workflow import JobStage


class LiveTask(AframeTask):
    """A task on the folder of a live installation, where all that it makes goes."""

    exclude_index = True

    analysis: CleaningAnalysis  # type: ignore[assignment]

    live = luigi.Parameter(description="folder of a live installation (path)")
    frames = luigi.Parameter(
        default="",
        description="folder with strain/ and witness/ (path); default: frames in the folder of "
        "the installation",
    )
    # Neither decides a path here: no options.
    strain = ""
    label = ""

    exclude_params_repr_empty: ClassVar[set[str]] = {"frames"}

    def load(self) -> CleaningAnalysis:  # type: ignore[override]
        """Read the experiment; the stages check what it says."""
        folder = find_experiment(self.experiment)
        content = yaml.safe_load((folder / "experiment.yaml").read_text())
        training = folder / "train.yaml"
        if not isinstance(content, dict) or "problem" not in content:
            raise ExperimentError(
                f"{folder / 'experiment.yaml'} names no problem: give a cleaning experiment"
            )
        if not training.is_file():
            raise ExperimentError(f"no training file {training}: it goes beside experiment.yaml")
        settings = CleaningSettings(folder.name, content, num_layers=0)
        # the name of no path follows from what is read
        return CleaningAnalysis(folder, settings, training.read_text(), None, digest="")

    def path(self, *parts: str) -> Path:
        """Path in the folder of the installation."""
        return Path(self.live).absolute().joinpath(*parts)

    @property
    def frames_folder(self) -> Path:
        """Folder of the frames."""
        return Path(self.frames).absolute() if self.frames else self.path("frames")

    def reads(self) -> list[Path]:
        """Frames that lie elsewhere."""
        return [Path(self.frames).absolute()] if self.frames else []


class TrainingTask(LiveTask):
    """A task that may be told when a version is trained, and on what."""

    exclude_index = True

    training_duration = luigi.IntParameter(
        default=0,
        description="data that a training learns from (s); default: that of the experiment",
    )
    cadence = luigi.IntParameter(
        default=0,
        description="time from the end of one training's data to that of the next (s); default: "
        "half of the training's",
    )
    usable = luigi.FloatParameter(
        default=0.5,
        description="part of the data that must be there and analysed (fraction); default: 0.5",
    )


class PlanTraining(TrainingTask, StageTask):
    """Decide on the next training, or that there is none yet."""

    project = "deepclean"

    def output(self) -> FileTarget:
        """Which training is next; true for a moment only."""
        return FileTarget(self.path("trainings", "next.yaml"))

    def arguments(self, experiment: Path) -> list[str]:
        """`deepclean plan`."""
        config = experiment.with_name("train.yaml")
        config.write_text(self.analysis.train_config)
        given = options(experiment=experiment, train_config=config, frames=self.frames_folder)
        given += options(store=self.path("models"), output=self.path("trainings"))
        given += options(result=self.output().path, usable=self.usable)
        for name in ("training_duration", "cadence"):
            if value := getattr(self, name):
                given += options(**{name: value})
        return ["plan", *given]

    def check(self) -> None:
        """See that there is an answer."""
        self.answer()

    def answer(self) -> dict[str, Any]:
        """Folder of the training, or the reason why there is none."""
        answer: dict[str, Any] = yaml.safe_load(Path(self.output().path).read_text())
        return answer


class TrainingStep(LiveTask, StageTask):
    """A step of a training that was decided on."""

    training = luigi.Parameter(description="name of the training's folder in trainings/ (no unit)")
    step = luigi.IntParameter(description="which step of its plan (index from 0)")

    @property
    def project(self) -> str:  # type: ignore[override]
        """Whose command line it is."""
        return str(self._step["project"])

    @property
    def stage(self) -> str:
        """Name of this step's records."""
        return f"{type(self).__name__}-{self.training}-{self._step['name']}"

    @property
    def _step(self) -> dict[str, Any]:
        return read_steps(self.path("trainings", self.training))[self.step]

    def requires(self) -> "list[TrainingStep]":
        """The step before this one."""
        return [step_task(self, self.training, self.step - 1)] if self.step else []

    def output(self) -> FileTarget:
        """What is there when it is done."""
        return FileTarget(Path(self._step["output"]))

    def arguments(self, experiment: Path) -> list[str]:
        """The command that was decided on, whatever became of the experiment since."""
        return list(self._step["arguments"])

    def check(self) -> None:
        """See that it left what it was to make."""
        if not self.output().is_here():
            raise FileNotFoundError(f"{self.stage} ended well but left no {self.output().path}")


class FitStep(JobStage, TrainingStep):
    """A step that fits a network, here or as a job."""

    def check(self) -> None:
        """See that the description is that of this network."""
        super().check()
        read_description(Path(self.output().path).parent)


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """Steps of the training in a folder."""
    steps: list[dict[str, Any]] = yaml.safe_load((folder / "plan.yaml").read_text())["steps"]
    return steps


def step_task(task: LiveTask, training: str, step: int) -> TrainingStep:
    """The task of a step.

    Args:
        task: Any task on the same installation.
        training: Name of the training's folder.
        step: Index of the step.
    """
    plan = read_steps(task.path("trainings", training))
    kind = FitStep if plan[step]["project"] == "train" else TrainingStep
    found: TrainingStep = kind.req(task, training=training, step=step)
    return found


@contextlib.contextmanager
def sole_trainer(folder: Path) -> Iterator[None]:
    """Be the only one that trains in a folder, beside the verb `trainer`, too.

    Args:
        folder: Folder of all trainings.

    Raises:
        ExperimentError: Another process does.
    """
    # the file that the verb locks
    with held(folder / ".trainer") as mine:
        if not mine:
            raise ExperimentError(
                f"a trainer is already at work in {folder}: end it, or let it do its work"
            )
        yield
