"""Data to train on and to search: strain, signals."""

from pathlib import Path
from typing import Any

import law
from ledger import InjectionSet, Product, StrainSegment, WaveformSet
from ledger import StrainIndex as StrainIndexFile
from runtime import ExperimentError
from runtime.experiment import SimulatedStrain

from aframe.base import AframeTask, FolderTarget, FoldTask, StageTask, options


def _number(value: float) -> str:
    """Shortest text of a time in a file name, as `datagen index` expects it."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


class SimulateStrain(StageTask, law.LocalWorkflow):
    """Simulate the strain of an experiment, one branch per file."""

    project = "datagen"
    # Branches are plain requirements: no process shared between law's workers is needed.
    local_workflow_require_branches = True

    def create_branch_map(self) -> dict[int, Path]:
        """File of each branch."""
        strain = self.analysis.experiment.strain
        if not isinstance(strain, SimulatedStrain):
            raise ExperimentError(
                f"experiment {self.analysis.experiment.name} imports its strain: run ImportStrain"
            )
        files = {}
        for branch, (role, start, stop) in enumerate(strain.files()):
            name = f"strain-{role}-{_number(start)}-{_number(stop - start)}.hdf5"
            files[branch] = self.path("strain", name)
        return files

    def output(self) -> Any:
        """The strain file of this branch."""
        return law.LocalFileTarget(str(self.branch_data))

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen simulate`."""
        place = options(branch=self.branch, output=self.branch_data)
        return ["simulate", *options(experiment=experiment), *place]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """One strain file."""
        return [(self.branch_data, StrainSegment)]


class StrainIndex(StageTask):
    """Say what each simulated strain file is for."""

    project = "datagen"

    def requires(self) -> Any:
        """All strain files."""
        return SimulateStrain.req(self)

    def output(self) -> Any:
        """The strain index."""
        return law.LocalFileTarget(str(self.path("strain", "index.hdf5")))

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen index`."""
        return ["index", *options(experiment=experiment, folder=self.path("strain"))]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The strain index."""
        return [(self.path("strain", "index.hdf5"), StrainIndexFile)]


class ImportStrain(StageTask):
    """Bring a folder of strain files into the ledger's format."""

    project = "datagen"

    def output(self) -> Any:
        """The folder of the strain files and their index, put in place whole."""
        return FolderTarget(self.path("strain"), ("index.hdf5",))

    def source(self) -> Path:
        """The folder to import.

        Raises:
            ExperimentError: The experiment simulates its strain.
        """
        if self.analysis.strain is None:
            raise ExperimentError(
                f"experiment {self.analysis.experiment.name} simulates its strain: run StrainIndex"
            )
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
        return [(self.path("strain", "index.hdf5"), StrainIndexFile)]


class Strain(AframeTask):
    """The strain of an experiment, simulated or imported as its `strain.source` says."""

    def requires(self) -> Any:
        """The task that makes the strain index."""
        simulated = isinstance(self.analysis.experiment.strain, SimulatedStrain)
        return (StrainIndex if simulated else ImportStrain).req(self)

    def output(self) -> Any:
        """The strain index."""
        return law.LocalFileTarget(str(self.path("strain", "index.hdf5")))

    def run(self) -> None:
        """Nothing is left to do."""


class TrainingWaveforms(StageTask):
    """Draw signals to train on."""

    project = "datagen"

    def output(self) -> Any:
        """The waveforms."""
        return law.LocalFileTarget(str(self.path("training-waveforms.hdf5")))

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen training-waveforms`."""
        output = self.path("training-waveforms.hdf5")
        return ["training-waveforms", *options(experiment=experiment, output=output)]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The waveforms."""
        return [(self.path("training-waveforms.hdf5"), WaveformSet)]


class _Placed(StageTask, FoldTask):
    """Signals placed in the strain of one fold."""

    project = "datagen"
    verb: str
    prefix: str

    @property
    def file(self) -> Path:
        """The set of injections."""
        return self.path(f"{self.prefix}-{self.fold}.hdf5")

    def requires(self) -> Any:
        """The strain, whose local noise sets each signal's SNR."""
        return Strain.req(self)

    def output(self) -> Any:
        """The set of injections."""
        return law.LocalFileTarget(str(self.file))

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen` with this task's verb."""
        strain = options(strain=self.input().path, fold=self.fold)
        return [self.verb, *options(experiment=experiment), *strain, *options(output=self.file)]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The set of injections."""
        return [(self.file, InjectionSet)]


class ValidationWaveforms(_Placed):
    """Draw and place the signals on which the network of a fold is chosen."""

    verb = "validation-waveforms"
    prefix = "validation"


class Injections(_Placed):
    """Draw and place the signals by which the search of a fold is measured."""

    verb = "injections"
    prefix = "injections"
