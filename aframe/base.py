"""What all tasks share: parameters, paths, and running one stage's command."""

import contextlib
import json
import logging
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi
from ledger import Product, staged
from ledger.product import open_product
from runtime import ExperimentError, require_same, storage

from aframe import errors
from aframe.analysis import Analysis, load_analysis
from aframe.batch.options import BatchTask
from aframe.sandbox import Sandbox, reserved, run_stage
from aframe.storage import FolderTarget as FolderTarget
from aframe.storage import bring, is_here, publish, store_folder, targets_in

errors.install()
log = logging.getLogger("aframe")


def _default(option: str, fallback: str) -> str:
    """Default of a parameter that says where to run: `[aframe]` of the law configuration."""
    return str(law.config.get_expanded("aframe", option, fallback) or fallback)


def options(**values: object) -> list[str]:
    """Options of a command, `--name value` each."""
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


class AframeTask(BatchTask):
    """A task on one experiment. Products lie in `$AFRAME_STORE/<experiment>/<version>/`."""

    experiment = luigi.Parameter(
        description="name of a folder in configs/, or path of a folder with experiment.yaml and "
        "train.yaml (no unit)"
    )
    label = luigi.Parameter(
        default="v1", description="first part of the version's name (no unit); default: v1"
    )
    strain = luigi.Parameter(
        default="",
        description="folder of strain files (path), for experiments that take their strain from "
        "one; its file names, sizes and times of change are part of the version; default: none",
    )
    environment = luigi.ChoiceParameter(
        choices=["venv", "apptainer"],
        default=_default("environment", "venv"),
        significant=False,
        description="where a stage's command runs (no unit): in the project's .venv, made on "
        "first use, or in its image; changes no result; default: venv",
    )
    image = luigi.Parameter(
        default="",
        significant=False,
        description="image file of this one task's stage (path), not handed to its requirements; "
        "asks for apptainer, too; default: $AFRAME_CONTAINER_ROOT/<project>.sif",
    )
    dev = luigi.BoolParameter(
        default=False,
        significant=False,
        description="bind this checkout over the code in the image (yes or no); default: no",
    )
    gpus = luigi.Parameter(
        default=_default("gpus", ""),
        significant=False,
        description="indices of the visible CUDA devices (integers separated by commas); "
        "default: those that the machine shows",
    )

    exclude_params_req: ClassVar[set[str]] = {"image"}
    # Where a task runs is no part of what it is: keep its name in logs short.
    exclude_params_repr: ClassVar[set[str]] = {"image", "dev", "gpus", "environment", "strain"}
    exclude_params_repr_empty: ClassVar[set[str]] = {"strain"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Bad input ends here, before anything runs.
        self.analysis: Analysis = self.load()

    def load(self) -> Analysis:
        """Read all that decides a result."""
        return load_analysis(self.experiment, self.strain)

    @property
    def sandbox(self) -> Sandbox:
        """Where a stage's command runs."""
        return Sandbox(self.environment, self.image, self.dev, self.gpus)

    @property
    def version(self) -> str:
        """Name of the version: label and digest of all that can change a byte."""
        return f"{self.label}-{self.analysis.digest}"

    def path(self, *parts: str) -> Path:
        """Path in the folder of this experiment's version; all products' paths come from here."""
        return store_folder().joinpath(self.analysis.experiment.name, self.version, *parts)

    def bring_inputs(self) -> None:
        """Have here what the task requires, where the store is a bucket."""
        if storage.url_of(store_folder()):
            bring(target.path for target in targets_in(self.input()))

    def publish_outputs(self) -> None:
        """Put what the task has made where it belongs, where the store is a bucket."""
        for target in targets_in(self.output()):
            publish([target.path])
            storage.discard(Path(target.path))


class FoldTask(AframeTask):
    """A task on one fold of the experiment."""

    fold = luigi.IntParameter(
        default=0, description="fold of the experiment (index from 0); default: 0"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        folds = self.analysis.experiment.folds
        if not 0 <= self.fold < folds:
            raise ExperimentError(
                f"--fold {self.fold}: experiment {self.analysis.experiment.name} has folds 0 to "
                f"{folds - 1}"
            )


class StageTask(AframeTask):
    """A task that runs a stage's command and checks what it made.

    A subclass says which project, which arguments, which output, and which products to check.
    """

    project: ClassVar[str]
    # Whether an interrupted stage goes on from what it has left in its output.
    resumes: ClassVar[bool] = False

    @property
    def stage(self) -> str:
        """Name of this stage's records: the task, and its branch or fold."""
        branch = getattr(self, "branch", getattr(self, "fold", -1))
        return type(self).__name__ + (f"-{branch}" if branch >= 0 else "")

    def arguments(self, experiment: Path) -> list[str]:
        """Verb and options of the stage's command.

        Args:
            experiment: The resolved experiment file that the stage is to read.
        """
        raise NotImplementedError

    def reads(self) -> list[Path]:
        """Folders outside the version's own that the stage reads."""
        return []

    def products(self) -> list[tuple[Path, type[Product]]]:
        """Products that the stage makes, to be checked when it has ended."""
        return []

    def run(self) -> None:
        """Run the stage's command, check its products, and record how long it took."""
        folder = self.path("stages", self.stage)
        with staged(folder / "task.txt") as partial:
            partial.write_text(f"{self}\n")
        with reserved(folder, self.stage):
            if self.complete():
                return
            self.bring_inputs()
            bring(self.reads())
            with contextlib.ExitStack() as stack:
                for target in targets_in(self.output()) if self.resumes else []:
                    stack.enter_context(storage.kept(Path(target.path)))
                wall = run_stage(
                    self.sandbox,
                    name=self.stage,
                    project=self.project,
                    arguments=self.arguments(self.analysis.write_experiment(folder)),
                    folder=folder,
                    writes=self.path(),
                    reads=self.reads(),
                )
            self.validate()
            with staged(folder / "wall.json") as partial:
                partial.write_text(json.dumps({"stage": self.stage, "wall_s": round(wall, 3)}))
            publish([folder])
            self.publish_outputs()
        log.info("%s: done in %.1f s", self.stage, wall)

    def check(self) -> None:
        """Open what the stage made and see whether it is what was asked for.

        Raises:
            ProductError: A product is another one, or was made with other settings.
            FileNotFoundError: A product is missing.
        """
        settings = tuple(self.analysis.experiment.settings())
        for path, product in self.products():
            open_product(path, product.product, product.schema).close()
            require_same(path, self.analysis.experiment, settings)
        for target in targets_in(self.output()):
            if not is_here(target):
                raise FileNotFoundError(f"{self.stage} ended well but left no {target.path}")

    def validate(self) -> None:
        """Check what the stage made, and remove it if it is not what was asked for."""
        try:
            self.check()
        except (ValueError, FileNotFoundError):
            # Left in place it would count as done in the next run.
            for target in targets_in(self.output()):
                target.remove()
            raise
