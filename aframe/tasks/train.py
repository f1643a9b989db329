"""Training."""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from ledger import ProductError
from runtime.provenance import compare_settings

from aframe.base import FolderTarget, FoldTask, StageTask, options
from aframe.tasks.signals import TrainingWaveforms, ValidationWaveforms
from aframe.tasks.strain import Strain


class TrainLocal(StageTask, FoldTask):
    """Train the network of one fold on this machine."""

    project = "train"

    def requires(self) -> dict[str, Any]:
        """Strain, signals to train on, signals to choose on."""
        return {
            "strain": Strain.req(self),
            "waveforms": TrainingWaveforms.req(self),
            "validation": ValidationWaveforms.req(self),
        }

    def output(self) -> FolderTarget:
        """The run's folder, complete with the network and its description."""
        files = ("model.pt", "model.yaml", "metrics.csv", "config.yaml", "best.ckpt")
        return FolderTarget(self.path(f"train-{self.fold}"), files)

    def arguments(self, experiment: Path) -> list[str]:
        """`train fit`, with a copy of the experiment's training file."""
        config = experiment.with_name("train.yaml")
        config.write_text(self.analysis.train_config)
        inputs = self.input()
        return [
            "fit",
            *options(
                config=config,
                experiment=experiment,
                strain=inputs["strain"].path,
                waveforms=inputs["waveforms"].path,
                validation=inputs["validation"].path,
                fold=self.fold,
                run_dir=self.output().path,
            ),
        ]

    def check(self) -> None:
        """See that the description is that of this network and of this experiment."""
        super().check()
        folder = self.path(f"train-{self.fold}")
        description = yaml.safe_load((folder / "model.yaml").read_text())
        found = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
        if found != description["sha256"]:
            raise ProductError(
                f"{folder / 'model.pt'} has sha256 {found}, model.yaml beside it says "
                f"{description['sha256']}: train again"
            )
        experiment = self.analysis.experiment
        keys = tuple(experiment.settings())
        compare_settings(description["settings"], str(folder / "model.yaml"), experiment, keys)
