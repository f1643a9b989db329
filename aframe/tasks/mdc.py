"""Events as the mock data challenge MLGWSC-1 wants them."""

from pathlib import Path
from typing import Any

import luigi
from ledger.product import open_product
from runtime import require_same
from runtime.provenance import SAME_MODEL

from aframe.base import FoldTask, options
from aframe.environment import REPOSITORY, ensure
from aframe.storage import FileTarget
from aframe.tasks.export import ExportLocal
from aframe.tasks.infer import TransportTask
from aframe.tasks.strain import Strain
from aframe.workflow import JobStage


class ToleranceTask(TransportTask):
    """What a search of the challenge may be told."""

    exclude_index = True

    tolerance = luigi.FloatParameter(
        default=0.5,
        description="how far an event may be from a signal and be its, the `var` of the challenge "
        "(s); default: 0.5",
    )


class ChallengeEvents(JobStage, ToleranceTask, FoldTask):
    """Search a file of the challenge without sliding it."""

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
        """The strain and the exported network."""
        return {"input": Strain.req(self), "repository": ExportLocal.req(self)}

    def output(self) -> FileTarget:
        """The events."""
        return FileTarget(self.path(self.varied(f"events-{self.tolerance:g}.hdf5")))

    def arguments(self, experiment: Path) -> list[str]:
        """`infer mdc`; the settings are those of the repository."""
        inputs = {name: target.path for name, target in self.input().items()}
        where = {"transport": self.transport} if self.transport != "inprocess" else {}
        if self.server:
            where["server"] = self.server
        return [
            "mdc",
            *options(**inputs, output=self.output().path, tolerance=self.tolerance),
            *options(**where),
        ]

    def check(self) -> None:
        """See that they are such events, by a network of the same settings."""
        super().check()
        # no class for it here: the format is the challenge's, and one stage's alone
        open_product(self.output().path, "challenge-events").close()
        require_same(self.output().path, self.analysis.experiment, (*SAME_MODEL, "search"))
