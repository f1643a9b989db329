"""Tuning."""

import hashlib
from pathlib import Path
from typing import Any

import luigi
from ledger import ProductError
from runtime import ExperimentError

from aframe.base import AframeTask, FolderTarget, options
from aframe.tasks.train import TrainingTask, TrainLocal
from aframe.workflow import JobStage


class TuningTask(AframeTask):
    """What a study may be told beside its experiment."""

    exclude_index = True

    space = luigi.Parameter(
        default="",
        description="file with the search space and further options of the study (path); "
        "default: tune.yaml of the experiment",
    )
    num_samples = luigi.IntParameter(default=8, description="trials (number); default: 8")
    num_workers = luigi.IntParameter(
        default=4,
        significant=False,
        description="trials that run side by side, at most (number); default: 4",
    )
    gpus_per_worker = luigi.FloatParameter(
        default=1.0,
        significant=False,
        description="GPUs of a trial (number, or a fraction of one); 0 trains on the CPU; "
        "default: 1",
    )
    cpus_per_gpu = luigi.IntParameter(
        default=6,
        significant=False,
        description="CPUs that a trial reserves for each of its GPUs, or for itself where it has "
        "none (number); default: 6",
    )
    endpoint = luigi.Parameter(
        default="",
        significant=False,
        description="running Ray cluster, as ray://HOST:10001 (address), whose machines see the "
        "store at the same path; default: one on this machine",
    )

    storage_dir = luigi.Parameter(
        default="",
        significant=False,
        description="where trials and their checkpoints are kept, as s3://bucket/place (address; "
        "AWS_ENDPOINT_URL and keys come from the environment); the table and the best network "
        "are then copied to the store; default: the store",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.storage_dir and "://" not in self.storage_dir:
            raise ExperimentError(
                f"--storage-dir {self.storage_dir}: expected an address as s3://bucket/place; a "
                "folder of your own is --run-dir"
            )
        if "@" in self.storage_dir:
            raise ExperimentError(
                "--storage-dir holds an @, which looks like a key: keys come from the "
                "environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        path = Path(self.space) if self.space else self.analysis.folder / "tune.yaml"
        if not path.is_file():
            raise ExperimentError(
                f"no search space {path}: write it, or give another by --space FILE"
            )
        # Read once: an edit while trials run does not reach them.
        self.study_file = path.read_text()


class Tune(JobStage, TuningTask, TrainingTask):
    """Tune the training of one fold: many trials side by side, the poor ones stopped early."""

    project = "train"

    @property
    def study(self) -> str:
        """Name of the study, another one for another space."""
        text = f"{self.num_samples}\n{self.study_file}"
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return self.run_name(digest).replace("train", "tune", 1)

    @property
    def stage(self) -> str:
        """Name of this study's records."""
        return self.study.replace("tune", "Tune", 1)

    @property
    def training(self) -> TrainLocal:
        """The training that is tuned, for what it needs."""
        return TrainLocal.req(self)

    def requires(self) -> Any:
        """What a training needs."""
        return self.training.requires()

    def reads(self) -> list[Path]:
        """Folders that a training reads."""
        return self.training.reads()

    def output(self) -> FolderTarget:
        """The study's folder, complete with its table and the best network."""
        best = ("model.pt", "model.yaml", "best.ckpt", "train.yaml")
        files = ("trials.csv", "trials.html", *(f"best/{name}" for name in best))
        return FolderTarget(self.path(self.study), files)

    @property
    def storage(self) -> str:
        """Folder or address of the folder that the study lies in."""
        if not self.storage_dir:
            return str(self.path())
        place = (self.storage_dir.rstrip("/"), self.analysis.experiment.name, self.version)
        return "/".join(place)

    def arguments(self, experiment: Path) -> list[str]:
        """`train tune`, with copies of the training file and of the search space."""
        config, study = (experiment.with_name(name) for name in ("train.yaml", "tune.yaml"))
        config.write_text(self.training_file)
        study.write_text(self.study_file)
        chosen: dict[str, object] = {
            "name": self.study,
            "storage_dir": self.storage,
            "temp_dir": experiment.with_name("trials"),
            "num_samples": self.num_samples,
            "num_workers": self.num_workers,
            "gpus_per_worker": self.gpus_per_worker,
            "cpus_per_gpu": self.cpus_per_gpu,
        }
        if self.storage_dir:
            chosen["copy_dir"] = self.output().path
        if self.endpoint:
            chosen["endpoint"] = self.endpoint
        arguments = [
            "tune",
            *options(tune=study, **{f"tune.{name}": value for name, value in chosen.items()}),
            *options(config=config, experiment=experiment, **self.training.inputs()),
            *options(fold=self.fold),
        ]
        if self.use_wandb:
            arguments.append("--use-wandb")
        if self.wandb_name:
            # The trials are one group, each under a name of its own.
            arguments += ["--wandb-group", self.wandb_name]
        return arguments

    def check(self) -> None:
        """See that the best network is whole."""
        super().check()
        folder = Path(self.output().path) / "best"
        found = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
        if found not in (folder / "model.yaml").read_text():
            raise ProductError(
                f"{folder / 'model.pt'} has sha256 {found}, which model.yaml beside it does not "
                "name: tune again"
            )
