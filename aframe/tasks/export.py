"""Export."""

from pathlib import Path
from typing import Any

import luigi

from aframe.base import AframeTask, FoldTask, options
from aframe.storage import FolderTarget
from aframe.tasks.train import TrainLocal
from aframe.workflow import JobStage


class PlatformTask(AframeTask):
    """What an export, and all that follows from it, may be told about what runs the networks.

    Products of another platform lie beside those of the default one, since their last digits may
    differ.
    """

    platform = luigi.ChoiceParameter(
        choices=["onnx", "torchscript", "tensorrt"],
        default="onnx",
        description="what the networks are exported to (no unit); default: onnx",
    )

    def varied(self, name: str) -> str:
        """Name of a product that depends on it."""
        return name if self.platform == "onnx" else f"{name}-{self.platform}"


class ExportLocal(JobStage, PlatformTask, FoldTask):
    """Export the network of one fold to a model repository."""

    project = "export"

    @property
    def stage(self) -> str:
        """Name of this export's records."""
        return self.varied(super().stage)

    def requires(self) -> Any:
        """The trained network."""
        return TrainLocal.req(self)

    def output(self) -> Any:
        """The model repository, put in place whole."""
        return FolderTarget(self.path(self.varied(f"repository-{self.fold}")))

    def arguments(self, experiment: Path) -> list[str]:
        """`export build`."""
        folders = options(run_dir=self.input().path, output=self.output().path)
        platform = options(platform=self.platform)
        return ["build", *options(experiment=experiment), *folders, *platform]

    def check(self) -> None:
        """See that the repository holds models."""
        super().check()
        folder = Path(self.output().path)
        if not list(folder.glob("*/config.pbtxt")):
            raise FileNotFoundError(f"no */config.pbtxt in {folder}: no model was exported")
