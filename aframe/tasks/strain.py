"""The strain to train on and to search: found, fetched, simulated or imported, and indexed."""

from pathlib import Path
from typing import Any

import law
from ledger import Product, SegmentList, StrainSegment, strain_file_name
from ledger import StrainIndex as StrainIndexFile
from ledger.strain import INDEX
from runtime import ExperimentError
from runtime.experiment import FetchedStrain, ImportedStrain, SimulatedStrain

from aframe.base import AframeTask, FolderTarget, StageTask, options
from aframe.storage import FileTarget
from aframe.workflow import StageWorkflow


class StrainTask(StageTask):
    """A task about strain, by the `datagen` stage."""

    project = "datagen"

    def strain_settings(
        self, *kinds: type[SimulatedStrain | ImportedStrain | FetchedStrain]
    ) -> Any:
        """The `strain` section of the experiment, if it is of one of these kinds.

        Raises:
            ExperimentError: It is of another kind.
        """
        strain = self.analysis.experiment.strain
        if not isinstance(strain, kinds):
            raise ExperimentError(
                f"experiment {self.analysis.experiment.name} has strain.source: {strain.source}, "
                f"which {type(self).__name__} is not for: run Strain, which knows what to do"
            )
        return strain

    def index_target(self) -> FileTarget:
        """The strain index."""
        return FileTarget(self.path("strain", INDEX))


class Query(StrainTask):
    """Find the times to analyse: science segments, less vetoes."""

    def output(self) -> FolderTarget:
        """The folder of the segments."""
        self.strain_settings(FetchedStrain)
        files = ("segments.hdf5", "segments.txt", "livetime.png")
        return FolderTarget(self.path("segments"), files)

    @property
    def file(self) -> Path:
        """The segments."""
        return self.path("segments", "segments.hdf5")

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen query`."""
        return ["query", *options(experiment=experiment, output=self.path("segments"))]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The segments."""
        return [(self.file, SegmentList)]


class StrainFileTask(StrainTask, StageWorkflow):
    """A workflow of one branch per strain file: role, GPS start and stop."""

    @property
    def file(self) -> Path:
        """The strain file of this branch."""
        role, start, stop = self.branch_data
        return self.path("strain", strain_file_name(role, start, stop - start))

    def products(self) -> list[tuple[Path, type[Product]]]:
        """One strain file."""
        return [(self.file, StrainSegment)]


class Fetch(StrainFileTask):
    """Fetch strain, one branch per file of the segments that were found."""

    def workflow_requires(self) -> Any:
        """The segments, without which there is no branch."""
        requirements = super().workflow_requires()
        requirements["segments"] = Query.req(self)
        return requirements

    def requires(self) -> Any:
        """The segments."""
        return Query.req(self)

    @law.dynamic_workflow_condition
    def workflow_condition(self) -> bool:
        """Whether the segments are there."""
        return Query.req(self).complete()

    @workflow_condition.create_branch_map
    def create_branch_map(self) -> dict[int, tuple[str, float, float]]:
        """Role and span of each branch's file."""
        strain = self.strain_settings(FetchedStrain)
        segments = SegmentList.read(Query.req(self).file)
        return dict(enumerate(segments.pieces(strain.file_length)))

    @workflow_condition.output
    def output(self) -> Any:
        """The strain file of this branch."""
        return FileTarget(self.file)

    def reads(self) -> list[Path]:
        """The folder of files, for experiments that take theirs from one."""
        return [self.analysis.strain] if self.analysis.strain else []

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen fetch`."""
        place = options(segments=Query.req(self).file, branch=self.branch, output=self.file)
        source = options(source=self.analysis.strain) if self.analysis.strain else []
        return ["fetch", *options(experiment=experiment), *place, *source]


class SimulateStrain(StrainFileTask):
    """Simulate strain, one branch per file."""

    def create_branch_map(self) -> dict[int, tuple[str, float, float]]:
        """Role and span of each branch's file."""
        strain = self.strain_settings(SimulatedStrain, FetchedStrain)
        return dict(enumerate(strain.simulated_files()))

    def output(self) -> Any:
        """The strain file of this branch."""
        return FileTarget(self.file)

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen simulate`."""
        place = options(branch=self.branch, output=self.file)
        return ["simulate", *options(experiment=experiment), *place]


class StrainIndex(StrainTask):
    """Say what each fetched or simulated strain file is for."""

    def requires(self) -> dict[str, Any]:
        """All strain files, and the segments of those that are fetched."""
        strain = self.strain_settings(SimulatedStrain, FetchedStrain)
        found: dict[str, Any] = {}
        if strain.simulated_files():
            found["simulated"] = SimulateStrain.req(self)
        if isinstance(strain, FetchedStrain):
            found["fetched"] = Fetch.req(self)
            found["segments"] = Query.req(self)
        return found

    def output(self) -> Any:
        """The strain index."""
        return self.index_target()

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen index`."""
        segments = []
        if isinstance(self.analysis.experiment.strain, FetchedStrain):
            segments = options(segments=Query.req(self).file)
        folder = options(experiment=experiment, folder=self.path("strain"))
        return ["index", *folder, *segments]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The strain index."""
        return [(Path(self.output().path), StrainIndexFile)]


class ImportStrain(StrainTask):
    """Bring a folder of strain files into the ledger's format."""

    def output(self) -> Any:
        """The folder of the strain files and their index, put in place whole."""
        return FolderTarget(self.path("strain"), (INDEX,))

    def source(self) -> Path:
        """The folder to import.

        Raises:
            ExperimentError: The experiment does not import its strain.
        """
        self.strain_settings(ImportedStrain)
        assert self.analysis.strain is not None  # an Analysis without it is refused when made
        return self.analysis.strain

    def reads(self) -> list[Path]:
        """The folder to import."""
        return [self.source()]

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen import`."""
        folders = options(source=self.source(), output=self.path("strain"))
        return ["import", *options(experiment=experiment), *folders]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The strain index."""
        return [(self.path("strain", INDEX), StrainIndexFile)]


class Strain(AframeTask):
    """The strain of an experiment: simulated, fetched or imported as its `strain.source` says."""

    def requires(self) -> Any:
        """The task that makes the strain index."""
        imported = isinstance(self.analysis.experiment.strain, ImportedStrain)
        return (ImportStrain if imported else StrainIndex).req(self)

    def output(self) -> Any:
        """The strain index."""
        return FileTarget(self.path("strain", INDEX))

    def run(self) -> None:
        """Nothing is left to do."""
