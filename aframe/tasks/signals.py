"""Signals: to train on, to choose a network by, to measure the search with."""

import math
from pathlib import Path
from typing import Any

import law
from ledger import InjectionSet, Product, Role, WaveformSet
from ledger import StrainIndex as StrainIndexFile

from aframe.base import FoldTask, StageTask, options
from aframe.storage import FileTarget, remove
from aframe.tasks.strain import Strain
from aframe.workflow import StageWorkflow

# What is worth a process of its own: starting one takes a few seconds.
SIGNALS_PER_BRANCH = 10_000
STRAIN_PER_BRANCH = 4096.0


class SignalTask(StageTask):
    """A set of signals, and where the parts of it lie that branches make.

    A set that one branch makes has no parts: the branch writes the set itself.
    """

    project = "datagen"
    verb: str
    product: type[Product]

    @property
    def name(self) -> str:
        """Name of the set's file, without its end."""
        raise NotImplementedError

    @property
    def file(self) -> Path:
        """The set."""
        return self.path(f"{self.name}.hdf5")

    @property
    def parts(self) -> Path:
        """Folder of the parts."""
        return self.path("parts", self.name)

    def part(self, branch: int, branches: int) -> Path:
        """What a branch writes."""
        return self.file if branches == 1 else self.parts / f"{branch}.hdf5"


class SignalBranches(SignalTask, StageWorkflow):
    """The workflow whose branches make the parts. The data of a branch are how many there are."""

    exclude_index = True

    def more_arguments(self) -> list[str]:
        """Options beside those of all such tasks."""
        return []

    def arguments(self, experiment: Path) -> list[str]:
        """The verb of this kind of signals."""
        branches = self.branch_data
        place = options(
            branch=self.branch, branches=branches, output=self.part(self.branch, branches)
        )
        return [self.verb, *options(experiment=experiment), *self.more_arguments(), *place]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The part."""
        return [(self.part(self.branch, self.branch_data), self.product)]


class SignalSet(SignalTask):
    """Joins the parts."""

    exclude_index = True
    merge: str
    branches: type[SignalBranches]

    def requires(self) -> Any:
        """All parts."""
        return self.branches.req(self)

    def output(self) -> Any:
        """The set."""
        return FileTarget(self.file)

    def arguments(self, experiment: Path) -> list[str]:
        """The verb that merges."""
        numbers = self.branches.req(self).get_branch_map()
        parts = [str(self.parts / f"{branch}.hdf5") for branch in sorted(numbers)]
        return [
            self.merge,
            *options(experiment=experiment, output=self.file),
            "--parts",
            "[" + ", ".join(f'"{part}"' for part in parts) + "]",
        ]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The set."""
        return [(self.file, self.product)]

    def run(self) -> None:
        """Join the parts, and remove them."""
        if self.complete():
            return  # one branch alone has made it
        super().run()
        remove(self.parts)


class TrainingWaveformBranches(SignalBranches):
    """Draw signals to train on, a part in each branch."""

    verb = "training-waveforms"
    name = "training-waveforms"
    product = WaveformSet

    def create_branch_map(self) -> dict[int, int]:
        """Ten thousand signals a branch; parameters alone are drawn in no time."""
        waveforms = self.analysis.experiment.waveforms
        stored = waveforms.storage == "waveforms"
        branches = math.ceil(waveforms.num_training / SIGNALS_PER_BRANCH) if stored else 1
        return dict.fromkeys(range(branches), branches)

    def output(self) -> Any:
        """The part."""
        return FileTarget(self.part(self.branch, self.branch_data))


class TrainingWaveforms(SignalSet):
    """Draw signals to train on."""

    name = "training-waveforms"
    product = WaveformSet
    merge = "merge-training-waveforms"
    branches = TrainingWaveformBranches


class PlacedTask(FoldTask):
    """Signals placed in the strain of one fold."""

    prefix: str

    @property
    def name(self) -> str:
        """Name of the set's file, without its end."""
        return f"{self.prefix}-{self.fold}"

    @property
    def stage(self) -> str:
        """Name of the records: the task, its fold, its branch."""
        branch = getattr(self, "branch", -1)
        return f"{type(self).__name__}-{self.fold}" + (f"-{branch}" if branch >= 0 else "")


class PlacedBranches(PlacedTask, SignalBranches):
    """Place signals in the files of a role, a part of the files in each branch."""

    role: Role
    product = InjectionSet

    def workflow_requires(self) -> Any:
        """The strain, without which there is no branch."""
        requirements = super().workflow_requires()
        requirements["strain"] = Strain.req(self)
        return requirements

    def requires(self) -> Any:
        """The strain, whose local noise sets each signal's SNR."""
        return Strain.req(self)

    @law.dynamic_workflow_condition
    def workflow_condition(self) -> bool:
        """Whether the strain is there."""
        return Strain.req(self).complete()

    @workflow_condition.create_branch_map
    def create_branch_map(self) -> dict[int, int]:
        """A file a branch, or several short ones."""
        path = Strain.req(self).output().path
        files = StrainIndexFile.read(path).files(path, self.role, self.fold)
        total = sum(file.gps_stop - file.gps_start for file in files)
        branches = max(1, min(len(files), math.ceil(total / STRAIN_PER_BRANCH)))
        return dict.fromkeys(range(branches), branches)

    @workflow_condition.output
    def output(self) -> Any:
        """The part."""
        return FileTarget(self.part(self.branch, self.branch_data))

    def more_arguments(self) -> list[str]:
        """The strain."""
        return options(strain=Strain.req(self).output().path, fold=self.fold)


class ValidationBranches(PlacedBranches):
    """Draw and place the signals on which the network of a fold is chosen, part by part."""

    verb = "validation-waveforms"
    prefix = "validation"
    role = "validation"


class InjectionBranches(PlacedBranches):
    """Draw and place the signals by which the search of a fold is measured, part by part."""

    verb = "injections"
    prefix = "injections"
    role = "search"


class ValidationWaveforms(PlacedTask, SignalSet):
    """Draw and place the signals on which the network of a fold is chosen."""

    prefix = "validation"
    product = InjectionSet
    merge = "merge-injections"
    branches = ValidationBranches


class Injections(PlacedTask, SignalSet):
    """Draw and place the signals by which the search of a fold is measured."""

    prefix = "injections"
    product = InjectionSet
    merge = "merge-injections"
    branches = InjectionBranches
