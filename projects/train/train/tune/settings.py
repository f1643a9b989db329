"""What `--tune.*` sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ray.tune.schedulers import TrialScheduler
from ray.tune.search import SearchAlgorithm, Searcher


@dataclass
class Settings:
    """How to tune.

    Attributes:
        name: Name of the study: of its folder in `storage_dir`, and of the group of its runs in
            Weights & Biases. The same name again goes on with a study that was interrupted.
        storage_dir: Where studies are kept: a folder that all machines see, or an address as
            `s3://bucket/place`.
        space: What is drawn: `{dotted name of the training configuration: {distribution:
            arguments}}`, or the path of a YAML file with that. Distributions: uniform,
            loguniform, randint, quniform, choice.
        temp_dir: Folder of the runs at work, on each machine; default: the system's.
        copy_dir: Folder, or address as `s3://bucket/place`, that gets a copy of the result,
            `trials.csv`, `trials.html` and `best`, where the study is kept elsewhere; default:
            none.
        num_samples: How many trials.
        num_workers: How many trials run side by side, at most.
        gpus_per_worker: GPUs of a trial; a fraction lets trials share one, 0 trains on the CPU.
        cpus_per_gpu: CPUs that a trial reserves for each of its GPUs; without a GPU, for itself.
        endpoint: Address of a running Ray cluster, as `ray://HOST:10001`; default: a cluster on
            this machine, for the time of the study.
        metric: Measure by which trials are compared, a column of `metrics.csv`.
        mode: Whether its best value is the largest or the smallest.
        scheduler: What stops trials early; default: ASHA, with the trainer's `max_epochs`.
        searcher: What chooses values; default: random draws that follow from the experiment's
            seed.
        max_failures: How often a trial that failed, or whose machine was lost, goes on from its
            last epoch.
    """

    name: str
    storage_dir: str
    space: dict[str, Any] | str
    temp_dir: Path | None = None
    copy_dir: Path | None = None
    num_samples: int = 8
    num_workers: int = 4
    gpus_per_worker: float = 1
    cpus_per_gpu: int = 6
    endpoint: str | None = None
    metric: str = "valid_auroc"
    mode: Literal["max", "min"] = "max"
    scheduler: TrialScheduler | None = None
    searcher: Searcher | SearchAlgorithm | None = None
    max_failures: int = 1

    def check(self) -> None:
        """See that the numbers make sense.

        Raises:
            ValueError: One does not.
        """
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise ValueError(f"--tune.name {self.name!r} cannot be the name of a folder")
        for name, least in (("num_samples", 1), ("num_workers", 1), ("cpus_per_gpu", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"--tune.{name} {getattr(self, name)}: expected {least} or more")
        if self.endpoint is not None and not self.endpoint.startswith("ray://"):
            raise ValueError(f"--tune.endpoint {self.endpoint}: expected ray://HOST:PORT")
        gpus = self.gpus_per_worker
        if gpus < 0 or (gpus > 1 and gpus != int(gpus)):
            raise ValueError(
                f"--tune.gpus_per_worker {gpus}: expected 0, a fraction of one, or whole GPUs"
            )

    @property
    def resources(self) -> dict[str, float]:
        """What a trial reserves."""
        cpus = max(1.0, self.cpus_per_gpu * (self.gpus_per_worker or 1))
        return {"cpu": float(int(cpus)), "gpu": float(self.gpus_per_worker)}
