"""Training."""

import hashlib
import os
import statistics
from pathlib import Path
from typing import Any, ClassVar

import luigi
import yaml
from ledger import staged
from ledger.product import product_id
from runtime import ExperimentError
from runtime.provenance import compare_settings

from aframe.base import FolderTarget, FoldTask, options
from aframe.storage import FileTarget
from aframe.tasks.signals import TrainingWaveforms, ValidationWaveforms
from aframe.tasks.strain import Strain
from aframe.trained import RUN_FILES, read_description
from aframe.workflow import JobStage


class TrainingTask(FoldTask):
    """What a training may be told beside its experiment.

    None of it changes the products of another task. A training file of its own and data of its own
    become part of the name of the run's folder, where it would otherwise be `train-<fold>`.
    """

    exclude_index = True

    config = luigi.Parameter(
        default="",
        description="training file (path); default: train.yaml of the experiment",
    )
    data_dir = luigi.Parameter(
        default="",
        description="folder with strain/index.hdf5, training-waveforms.hdf5 and "
        "validation-<fold>.hdf5 (path), to train on without making them; default: they are made",
    )
    run_dir = luigi.Parameter(
        default="",
        description="folder to take the place of the store for the run (path): it lies in "
        "<run-dir>/<experiment>/<version>/; default: the store",
    )
    use_wandb = luigi.BoolParameter(
        default=False,
        significant=False,
        description="log to Weights & Biases (yes or no); default: no",
    )
    wandb_name = luigi.Parameter(
        default="", significant=False, description="name of the run there (no unit); default: none"
    )

    exclude_params_repr_empty: ClassVar[set[str]] = {"strain", "config", "data_dir", "run_dir"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.wandb_name and not self.use_wandb:
            raise ExperimentError(
                f"--wandb-name {self.wandb_name} has no effect without --use-wandb: give both"
            )
        for option, path in (("config", self.config), ("data-dir", self.data_dir)):
            if path and not Path(path).exists():
                raise ExperimentError(f"--{option} {path} does not exist")

    @property
    def training_file(self) -> str:
        """Text of the training file."""
        return Path(self.config).read_text() if self.config else self.analysis.train_config

    @property
    def tag(self) -> str:
        """Eight characters that change with what is not in the version; empty if all is."""
        parts = [self.training_file] if self.config else []
        if self.data_dir:
            parts += [product_id(path) for path in self.given_inputs().values()]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8] if parts else ""

    def given_inputs(self) -> dict[str, Path]:
        """The inputs in `--data-dir`."""
        folder = Path(self.data_dir).absolute()
        return {
            "strain": folder / "strain" / "index.hdf5",
            "waveforms": folder / "training-waveforms.hdf5",
            "validation": folder / f"validation-{self.fold}.hdf5",
        }

    def devices(self) -> list[str]:
        """Options by which the training uses every device that `--gpus` shows it.

        They stand on the command line and not in the training file, so that they are no part of
        the name: a batch is the same, shared by all. (A network with BatchNorm takes its
        statistics over a share, unless the training file sets `sync_batchnorm`.)
        """
        count = len([index for index in self.gpus.split(",") if index.strip()])
        if not count:
            return []
        trainer = (yaml.safe_load(self.training_file) or {}).get("trainer") or {}
        chosen = trainer.get("strategy", "auto") != "auto"
        strategy = {} if count == 1 or chosen else {"trainer.strategy": "ddp"}
        return options(**{"trainer.devices": count}, **strategy)

    def run_name(self, *more: str) -> str:
        """Name of the run's folder, or of what belongs to it."""
        return "-".join(str(part) for part in ("train", self.fold, self.tag, *more) if part != "")

    def path(self, *parts: str) -> Path:
        """Path in the folder of this experiment's version, in the store or in `--run-dir`."""
        if not self.run_dir:
            return super().path(*parts)
        place = Path(self.run_dir).absolute() / self.analysis.experiment.name / self.version
        return place.joinpath(*parts)


class TrainLocal(JobStage, TrainingTask):
    """Train the network of one fold, here or as a job."""

    project = "train"
    resumes = True

    seed = luigi.IntParameter(
        default=0,
        description="added to the experiment's seed (number): another training of the same; "
        "default: 0",
    )

    @property
    def stage(self) -> str:
        """Name of this run's records."""
        return self.run_name(*self._seed_name).replace("train", "TrainLocal", 1)

    @property
    def _seed_name(self) -> list[str]:
        return [f"seed{self.seed}"] if self.seed else []

    def requires(self) -> dict[str, Any]:
        """Strain, signals to train on, signals to choose on; nothing where they are given."""
        if self.data_dir:
            return {}
        return {
            "strain": Strain.req(self),
            "waveforms": TrainingWaveforms.req(self),
            "validation": ValidationWaveforms.req(self),
        }

    def inputs(self) -> dict[str, Path]:
        """Paths of the three inputs."""
        if self.data_dir:
            return self.given_inputs()
        return {name: Path(target.path) for name, target in self.input().items()}

    def reads(self) -> list[Path]:
        """Folders of inputs that do not lie beside the run."""
        if not (self.data_dir or self.run_dir):
            return []
        inputs = self.inputs()
        return [Path(os.path.commonpath([path.parent for path in inputs.values()]))]

    def output(self) -> FolderTarget:
        """The run's folder, complete with the network and its description."""
        return FolderTarget(self.path(self.run_name(*self._seed_name)), RUN_FILES)

    def arguments(self, experiment: Path) -> list[str]:
        """`train fit`, with a copy of the training file."""
        config = experiment.with_name("train.yaml")
        config.write_text(self.training_file)
        arguments = [
            "fit",
            *options(config=config, experiment=experiment, **self.inputs(), fold=self.fold),
            *options(run_dir=self.output().path, seed_offset=self.seed),
            *self.devices(),
        ]
        if self.use_wandb:
            arguments.append("--use-wandb")
        if self.wandb_name:
            arguments += ["--wandb-name", "-".join([self.wandb_name, *self._seed_name])]
        return arguments

    def check(self) -> None:
        """See that the description is that of this network and of this experiment."""
        super().check()
        folder = Path(self.output().path)
        description = read_description(folder)
        experiment = self.analysis.experiment
        keys = tuple(experiment.settings())
        compare_settings(description["settings"], str(folder / "model.yaml"), experiment, keys)


class Train(TrainingTask):
    """Train the network of one fold several times, each time from another seed.

    How much the measures of equal trainings differ is the error bar of any comparison of two.
    """

    seeds = luigi.IntParameter(
        default=3, description="trainings, of seeds 0, 1, ... (number); default: 3"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.seeds < 1:
            raise ExperimentError(f"--seeds {self.seeds}: at least one training is needed")

    def requires(self) -> dict[int, TrainLocal]:
        """A training for each seed."""
        return {seed: TrainLocal.req(self, seed=seed) for seed in range(self.seeds)}

    def output(self) -> FileTarget:
        """Mean and standard deviation of each measure."""
        return FileTarget(self.path(f"{self.run_name()}-seeds-{self.seeds}.yaml"))

    def run(self) -> None:
        """Compare the runs' measures."""
        self.bring_inputs()
        folders = [Path(target.path) for target in self.input().values()]
        measures = [
            yaml.safe_load((folder / "model.yaml").read_text())["measures"] for folder in folders
        ]
        with staged(Path(self.output().path)) as partial:
            content = {"runs": [folder.name for folder in folders], "measures": spread(measures)}
            partial.write_text(yaml.safe_dump(content, sort_keys=False))
        self.publish_outputs()


def spread(measures: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of each measure that all runs have.

    Args:
        measures: Measures of each run.

    Returns:
        For each measure `mean`, and `standard_deviation` of a single run where there are several.
    """
    result = {}
    for name in measures[0]:
        values = [found[name] for found in measures if name in found]
        if len(values) < len(measures):
            continue
        result[name] = {"mean": statistics.fmean(values)}
        if len(values) > 1:
            result[name]["standard_deviation"] = statistics.stdev(values)
    return result
