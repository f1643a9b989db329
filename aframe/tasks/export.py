"""Export."""

from pathlib import Path
from typing import Any

import law

from aframe.base import FoldTask, StageTask, options
from aframe.tasks.train import TrainLocal


class ExportLocal(StageTask, FoldTask):
    """Export the network of one fold to a model repository."""

    project = "export"

    def requires(self) -> Any:
        """The trained network."""
        return TrainLocal.req(self)

    def output(self) -> Any:
        """The model repository, put in place whole."""
        return law.LocalDirectoryTarget(str(self.path(f"repository-{self.fold}")))

    def arguments(self, experiment: Path) -> list[str]:
        """`export build`."""
        folders = options(run_dir=self.input().path, output=self.output().path)
        return ["build", *options(experiment=experiment), *folders]

    def check(self) -> None:
        """See that the repository holds models."""
        super().check()
        folder = Path(self.output().path)
        if not list(folder.glob("*/config.pbtxt")):
            raise FileNotFoundError(f"no */config.pbtxt in {folder}: no model was exported")
