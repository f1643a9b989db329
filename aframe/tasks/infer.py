"""Inference."""

from pathlib import Path
from typing import Any, ClassVar

import luigi
from ledger import EventSet, Product, RecoveredInjections
from runtime import ExperimentError

from aframe.base import FolderTarget, FoldTask, StageTask, options
from aframe.environment import REPOSITORY, ensure
from aframe.tasks.export import ExportLocal, PlatformTask
from aframe.tasks.signals import Injections
from aframe.tasks.strain import Strain


class TransportTask(PlatformTask):
    """What a search may be told about where its networks run.

    Events of another transport lie beside those of the default one, since their last digits may
    differ.
    """

    transport = luigi.ChoiceParameter(
        choices=["inprocess", "triton"],
        default="inprocess",
        description="where the networks run (no unit): in the search's own process, or on a "
        "Triton server, which is started for it unless --server names one; default: inprocess",
    )
    server = luigi.Parameter(
        default="",
        significant=False,
        description="running Triton server that serves the search's repository (HOST:PORT), with "
        "--transport triton; default: one is started on this machine",
    )

    exclude_params_repr_empty: ClassVar[set[str]] = {"strain", "server"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.server and self.transport != "triton":
            raise ExperimentError(
                f"--server {self.server} has no effect without --transport triton: give both"
            )
        if self.transport == "triton" and self.environment != "venv" and not self.server:
            raise ExperimentError(
                "--transport triton in images needs --server HOST:PORT: start the server by "
                "`apptainer run triton.sif` on the search's repository"
            )

    def varied(self, name: str) -> str:
        """Name of a product that depends on platform and transport."""
        name = super().varied(name)
        return name if self.transport == "inprocess" else f"{name}-{self.transport}"


class InferLocal(StageTask, TransportTask, FoldTask):
    """Search the strain of one fold on this machine: time slides, injections, zero lag."""

    project = "infer"

    @property
    def stage(self) -> str:
        """Name of this search's records."""
        return self.varied(super().stage)

    def run(self) -> None:
        """Search; the server's environment is made before, if one is to be started."""
        if self.transport == "triton" and not self.server:
            ensure(REPOSITORY / "projects" / "triton")
        super().run()

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
            self.path(self.varied(f"events-{self.fold}")),
            ("background.hdf5", "foreground.hdf5", "zero-lag.hdf5"),
        )

    def arguments(self, experiment: Path) -> list[str]:
        """`infer search`."""
        inputs = {name: target.path for name, target in self.input().items()}
        where = {"transport": self.transport} if self.transport != "inprocess" else {}
        if self.server:
            where["server"] = self.server
        return [
            "search",
            *options(experiment=experiment, **inputs, fold=self.fold, output=self.output().path),
            *options(**where),
        ]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """Background, foreground and zero-lag events."""
        folder = Path(self.output().path)
        return [
            (folder / "background.hdf5", EventSet),
            (folder / "foreground.hdf5", RecoveredInjections),
            (folder / "zero-lag.hdf5", EventSet),
        ]
