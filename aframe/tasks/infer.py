"""Inference."""

import itertools
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi
from ledger import EventSet, InjectionDetails, Product, RecoveredInjections
from ledger import StrainIndex as StrainIndexFile
from runtime import ExperimentError

from aframe.base import FolderTarget, FoldTask, StageTask, options
from aframe.environment import REPOSITORY, ensure
from aframe.storage import FileTarget, remove
from aframe.tasks.export import ExportLocal, PlatformTask
from aframe.tasks.signals import Injections
from aframe.tasks.strain import Strain
from aframe.workflow import JobStage, StageWorkflow

# What is worth a process of its own, which takes a few seconds to start [s]. A search of fewer
# slides is one command as a whole.
LIVETIME_PER_BRANCH = 30 * 86400.0
STRAIN_PER_BRANCH = 20_000.0


class TransportTask(PlatformTask):
    """What a search may be told about where its networks run, and in how many parts.

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
    search_branches = luigi.IntParameter(
        default=law.config.get_expanded_int("aframe", "search_branches", 0),
        significant=False,
        description="parts that the slides and the injections of a fold are cut into (number); "
        "changes no result; default: one for each 30 days of background",
    )

    exclude_params_repr_empty: ClassVar[set[str]] = {"strain", "server"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.server and self.transport != "triton":
            raise ExperimentError(
                f"--server {self.server} has no effect without --transport triton: give both"
            )
        if self.transport == "triton" and self.sandbox.contained and not self.server:
            raise ExperimentError(
                "--transport triton in images needs --server HOST:PORT: start the server by "
                "`apptainer run triton.sif` on the search's repository"
            )

    def varied(self, name: str) -> str:
        """Name of a product that depends on platform and transport."""
        name = super().varied(name)
        return name if self.transport == "inprocess" else f"{name}-{self.transport}"


class InjectedTask(TransportTask):
    """What a search, beside that, may be told about injections.

    Events without injections lie beside those with them.
    """

    injections = luigi.BoolParameter(
        default=True,
        parsing=luigi.BoolParameter.EXPLICIT_PARSING,
        description="whether injections are searched for (true or false), without which there is "
        "no sensitive volume and no p_astro; default: true",
    )

    def varied(self, name: str) -> str:
        """Name of a product that depends on whether there are injections, too."""
        name = super().varied(name)
        return name if self.injections else f"{name}-without-injections"


class SearchStage(StageTask, InjectedTask, FoldTask):
    """A step of the search of one fold."""

    exclude_index = True
    project = "infer"

    @property
    def stage(self) -> str:
        """Name of this step's records."""
        branch = getattr(self, "branch", -1)
        name = f"{type(self).__name__}-{self.fold}" + (f"-{branch}" if branch >= 0 else "")
        return self.varied(name)

    @property
    def num_parts(self) -> int:
        """How many parts the slides, and the injections, are cut into."""
        livetime = self.analysis.experiment.search.background_livetime
        return self.search_branches or math.ceil(livetime / LIVETIME_PER_BRANCH)

    @property
    def parts(self) -> Path:
        """Folder of what branches make; removed when it has been merged."""
        return self.path("parts", self.varied(f"events-{self.fold}"))

    def part(self, name: str, branch: int) -> Path:
        """What a branch writes."""
        return self.parts / f"{name}-{branch}-of-{self.num_parts}.hdf5"

    def inputs(self) -> dict[str, Any]:
        """What every step reads: the exported network and the strain."""
        return {"repository": ExportLocal.req(self), "strain": Strain.req(self)}

    def common(self, experiment: Path) -> list[str]:
        """Options of every step."""
        paths = {name: task.output().path for name, task in self.inputs().items()}
        where = {"transport": self.transport} if self.transport != "inprocess" else {}
        if self.server:
            where["server"] = self.server
        return options(experiment=experiment, **paths, fold=self.fold, **where)

    def run(self) -> None:
        """Search; the server's environment is made before, if one is to be started."""
        if self.transport == "triton" and not self.server:
            ensure(REPOSITORY / "projects" / "triton")
        super().run()


class InferFrames(SearchStage, StageWorkflow):
    """Whiten the strain of a fold and pass it through the towers, some files in each branch."""

    def workflow_requires(self) -> Any:
        """The strain, without which there is no branch."""
        requirements = super().workflow_requires()
        requirements["inputs"] = list(self.inputs().values())
        return requirements

    def requires(self) -> Any:
        """The network and the strain."""
        return self.inputs()

    @law.dynamic_workflow_condition
    def workflow_condition(self) -> bool:
        """Whether the strain is there."""
        return Strain.req(self).complete()

    @workflow_condition.create_branch_map
    def create_branch_map(self) -> dict[int, list[int]]:
        """Numbers of the files of each branch: files in a row, branches alike in length."""
        path = Strain.req(self).output().path
        files = StrainIndexFile.read(path).files(path, "search", self.fold)
        ends = list(itertools.accumulate(file.gps_stop - file.gps_start for file in files))
        branches = math.ceil(ends[-1] / STRAIN_PER_BRANCH) if ends else 0
        groups: dict[int, list[int]] = {}
        for number, (begin, end) in enumerate(itertools.pairwise([0.0, *ends])):
            share = int((begin + end) / 2 / ends[-1] * branches)
            groups.setdefault(share, []).append(number)
        return dict(enumerate(groups.values()))

    @workflow_condition.output
    def output(self) -> Any:
        """A folder for each file."""
        return [
            FolderTarget(self.parts / "frames" / str(number), ("stretch.yaml",))
            for number in self.branch_data
        ]

    def arguments(self, experiment: Path) -> list[str]:
        """`infer frames`."""
        chosen = options(files=self.branch_data, output=self.parts / "frames")
        return ["frames", *self.common(experiment), *chosen]


class FramesTask(SearchStage):
    """A step that scores what `InferFrames` made."""

    def frames(self) -> list[str]:
        """Option that names them."""
        return options(frames=self.parts / "frames")

    def prepared(self) -> dict[str, Any]:
        """The network, the strain, and its frames."""
        return self.inputs() | {"frames": InferFrames.req(self, branch=-1)}

    def requires(self) -> Any:
        """What is to be scored."""
        return self.prepared()


class SearchBranches(FramesTask, StageWorkflow):
    """Slides or injections, a part of them in each branch."""

    verb: str
    product: type[Product]

    def workflow_requires(self) -> Any:
        """What the branches require."""
        requirements = super().workflow_requires()
        requirements["prepared"] = list(self.prepared().values())
        return requirements

    def create_branch_map(self) -> dict[int, int]:
        """As many branches as the livetime asks for; the stage makes them alike in length."""
        return dict.fromkeys(range(self.num_parts), self.num_parts)

    def output(self) -> Any:
        """The part."""
        return FileTarget(self.part(self.verb, self.branch))

    def arguments(self, experiment: Path) -> list[str]:
        """The verb, for this branch."""
        place = options(
            branch=self.branch, branches=self.branch_data, output=self.part(self.verb, self.branch)
        )
        return [self.verb, *self.common(experiment), *self.frames(), *place]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The part."""
        return [(self.part(self.verb, self.branch), self.product)]


class InferSlides(SearchBranches):
    """Search the time slides of a fold."""

    verb = "slides"
    product = EventSet


class InferInjections(SearchBranches):
    """Search for the injections of a fold."""

    verb = "injections"
    product = RecoveredInjections

    def inputs(self) -> dict[str, Any]:
        """The injections, too."""
        return super().inputs() | {"injections": Injections.req(self)}


class InferZeroLag(FramesTask, JobStage):
    """Search the data of a fold as they are."""

    def output(self) -> Any:
        """The events."""
        return FileTarget(self.parts / "zero-lag.hdf5")

    def arguments(self, experiment: Path) -> list[str]:
        """`infer zero-lag`."""
        place = options(output=self.output().path)
        return ["zero-lag", *self.common(experiment), *self.frames(), *place]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The events."""
        return [(Path(self.output().path), EventSet)]


class InferLocal(SearchStage, JobStage):
    """Search the strain of one fold on this machine: time slides, injections, zero lag.

    Without injections it needs no waveforms.

    A short background is searched by one command. For a longer one this task joins what
    `InferSlides`, `InferInjections` and `InferZeroLag` make, to the same bytes.
    """

    exclude_index = False

    def inputs(self) -> dict[str, Any]:
        """The exported network, the strain, the injections."""
        placed = {"injections": Injections.req(self)} if self.injections else {}
        return super().inputs() | placed

    def requires(self) -> dict[str, Any]:
        """What one command searches, or what branches have found."""
        if self.num_parts == 1:
            return self.inputs()
        found = {"slides": InferSlides.req(self), "zero_lag": InferZeroLag.req(self)}
        return found | ({"injections": InferInjections.req(self)} if self.injections else {})

    def output(self) -> FolderTarget:
        """The folder of the sets of events."""
        folder = self.path(self.varied(f"events-{self.fold}"))
        return FolderTarget(folder, [f"{name}.hdf5" for name in self.sets()])

    def sets(self) -> dict[str, type[Product]]:
        """Background and zero-lag events; the injections, and some of them in detail."""
        found: dict[str, type[Product]] = {"background": EventSet, "zero-lag": EventSet}
        if self.injections:
            found |= {"foreground": RecoveredInjections, "injection-details": InjectionDetails}
        return found

    def arguments(self, experiment: Path) -> list[str]:
        """`infer search`, or `infer merge`."""
        output = options(output=self.output().path)
        if self.num_parts == 1:
            return ["search", *self.common(experiment), *output]
        found = {"slides": self._all_parts("slides"), "zero_lag": self.input()["zero_lag"].path}
        if self.injections:
            found["recovered"] = self._all_parts("injections")
        frames = options(frames=self.parts / "frames", **found)
        return ["merge", *self.common(experiment), *frames, *output]

    def _all_parts(self, name: str) -> str:
        """What all branches wrote, as an option."""
        return json.dumps([str(self.part(name, branch)) for branch in range(self.num_parts)])

    def run(self) -> None:
        """Search or join, and remove the parts."""
        super().run()
        remove(self.parts)

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The sets of events."""
        folder = Path(self.output().path)
        return [(folder / f"{name}.hdf5", product) for name, product in self.sets().items()]
