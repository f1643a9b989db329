"""Inference."""

from pathlib import Path
from typing import Any

from ledger import EventSet, Product, RecoveredInjections

from aframe.base import FolderTarget, FoldTask, StageTask, options
from aframe.tasks.export import ExportLocal
from aframe.tasks.signals import Injections
from aframe.tasks.strain import Strain


class InferLocal(StageTask, FoldTask):
    """Search the strain of one fold on this machine: time slides, injections, zero lag."""

    project = "infer"

    def requires(self) -> dict[str, Any]:
        """The exported network, the strain, the injections."""
        return {
            "repository": ExportLocal.req(self),
            "strain": Strain.req(self),
            "injections": Injections.req(self),
        }

    def output(self) -> FolderTarget:
        """The folder of the three sets of events."""
        return FolderTarget(
            self.path(f"events-{self.fold}"),
            ("background.hdf5", "foreground.hdf5", "zero-lag.hdf5"),
        )

    def arguments(self, experiment: Path) -> list[str]:
        """`infer search`."""
        inputs = {name: target.path for name, target in self.input().items()}
        return [
            "search",
            *options(experiment=experiment, **inputs, fold=self.fold, output=self.output().path),
        ]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """Background, foreground and zero-lag events."""
        folder = self.path(f"events-{self.fold}")
        return [
            (folder / "background.hdf5", EventSet),
            (folder / "foreground.hdf5", RecoveredInjections),
            (folder / "zero-lag.hdf5", EventSet),
        ]
