"""Subtraction of witnessed noise: from frames to a report."""

import json
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi
from ledger import Product, WitnessSet
from ledger.product import open_product

from aframe.base import AframeTask, FolderTarget, StageTask, options
from aframe.cleaning import CleaningAnalysis, load_cleaning
from aframe.storage import FileTarget
from aframe.trained import RUN_FILES, read_description
from aframe.workflow import JobStage


class CleaningTask(AframeTask):
    """A task on one cleaning experiment."""

    exclude_index = True

    analysis: CleaningAnalysis  # type: ignore[assignment]

    frames = luigi.Parameter(
        default="",
        description="folder with strain/ and witness/, frame files (path), for experiments that "
        "simulate none; names, sizes and times of change are part of the version; default: none",
    )
    # Frames take the place of a search's strain: no option here.
    strain = ""

    exclude_params_repr_empty: ClassVar[set[str]] = {"frames"}

    def load(self) -> CleaningAnalysis:  # type: ignore[override]
        """Read all that decides a result."""
        return load_cleaning(self.experiment, self.frames)


class CleaningStage(StageTask, CleaningTask):
    """A stage of a cleaning experiment, in the project `deepclean` unless it says otherwise."""

    exclude_index = True

    project = "deepclean"

    def frames_of(self, span: str) -> Path:
        """Folder of the frames of a span, given, simulated or fetched."""
        return self.analysis.frames or Path(self.input()[span].path)

    def frames_needed(self, span: str) -> dict[str, Any]:
        """What makes the frames of a span; nothing where they are given."""
        if self.analysis.frames is not None:
            return {}
        made = FetchFrames if self.analysis.experiment.fetched else SimulateFrames
        return {span: made.req(self, span=span)}

    def reads(self) -> list[Path]:
        """Frames that are given."""
        return [] if self.analysis.frames is None else [self.analysis.frames]

    def check(self) -> None:
        """See that all is there that the stage was to make."""
        for path, product in self.products():
            open_product(path, product.product, product.schema).close()
        for target in [self.output()]:
            if not target.is_here():
                raise FileNotFoundError(f"{self.stage} ended well but left no {target.path}")


class SpanTask(CleaningTask):
    """A task on one span of the experiment."""

    exclude_index = True

    span = luigi.ChoiceParameter(
        choices=["training", "evaluation"], description="span of the experiment (no unit)"
    )


class SimulateFrames(CleaningStage, SpanTask):
    """Simulate the frames of a span, and keep the truth beside them."""

    @property
    def stage(self) -> str:
        """Name of this stage's records."""
        return f"{super().stage}-{self.span}"

    def output(self) -> FolderTarget:
        """The frames, put in place whole."""
        return FolderTarget(self.path(f"frames-{self.span}"))

    def arguments(self, experiment: Path) -> list[str]:
        """`deepclean simulate`; evaluation in frames of one second, as observatories write."""
        length = 1 if self.span == "evaluation" else 64
        given = options(span=self.span, frame_length=length, output=self.output().path)
        return ["simulate", *options(experiment=experiment), *given]


class FetchFrames(CleaningStage, SpanTask):
    """Get the frames of a span from the observatory; what is there already is not asked again."""

    @property
    def stage(self) -> str:
        """Name of this stage's records."""
        return f"{super().stage}-{self.span}"

    def output(self) -> FolderTarget:
        """The frames, complete with the word on what is missing."""
        return FolderTarget(self.path(f"frames-{self.span}"), ("fetched.json",))

    def arguments(self, experiment: Path) -> list[str]:
        """`deepclean fetch`."""
        given = options(span=self.span, output=self.output().path)
        return ["fetch", *options(experiment=experiment), *given]


class LayerTask(CleaningTask):
    """A task on one layer of the problem."""

    exclude_index = True

    layer = luigi.IntParameter(
        default=0, description="layer of the problem (index from 0); default: 0"
    )


class CollectWitnesses(CleaningStage, LayerTask):
    """Make the data that a layer's network learns from."""

    @property
    def stage(self) -> str:
        """Name of this stage's records."""
        return f"{super().stage}-{self.layer}"

    def requires(self) -> dict[str, Any]:
        """Frames, and the networks of the layers before this one."""
        earlier = [TrainCleaner.req(self, layer=layer) for layer in range(self.layer)]
        return {**self.frames_needed("training"), "earlier": earlier}

    def output(self) -> FileTarget:
        """Strain and witnesses."""
        return FileTarget(self.path(f"witnesses-{self.layer}.hdf5"))

    def products(self) -> list[tuple[Path, type[Product]]]:
        """Strain and witnesses."""
        return [(Path(self.output().path), WitnessSet)]

    def arguments(self, experiment: Path) -> list[str]:
        """`deepclean collect`."""
        arguments = [
            "collect",
            *options(experiment=experiment, frames=self.frames_of("training")),
            *options(output=self.output().path, layer=self.layer),
        ]
        if self.layer:
            earlier = [target.path for target in self.input()["earlier"]]
            arguments += options(earlier=json.dumps(earlier))
        return arguments


class TrainCleaner(JobStage, CleaningStage, LayerTask):
    """Train the network of a layer, here or as a job."""

    project = "train"

    @property
    def stage(self) -> str:
        """Name of this stage's records."""
        return f"{super().stage}-{self.layer}"

    def requires(self) -> CollectWitnesses:
        """What it learns from."""
        return CollectWitnesses.req(self)

    def reads(self) -> list[Path]:
        """Nothing outside of this version."""
        return []

    def output(self) -> FolderTarget:
        """The run's folder, complete with the network and its description."""
        return FolderTarget(self.path(f"train-{self.layer}"), RUN_FILES)

    def arguments(self, experiment: Path) -> list[str]:
        """`train fit`, with copies of the training file and of the experiment, for this layer."""
        folder = experiment.parent
        experiment = self.analysis.write_experiment(folder, self.layer)
        config = folder / "train.yaml"
        config.write_text(self.analysis.train_config)
        data = {"data.init_args.witnesses": self.input().path}
        given = options(config=config, experiment=experiment, **data)
        return ["fit", *given, *options(run_dir=self.output().path)]

    def check(self) -> None:
        """See that the description is that of this network."""
        super().check()
        read_description(Path(self.output().path))


class PublishCleaner(CleaningStage):
    """Make the networks of all layers the first version that a cleaner can load."""

    def requires(self) -> list[TrainCleaner]:
        """A network for each layer."""
        layers = range(self.analysis.experiment.num_layers)
        return [TrainCleaner.req(self, layer=layer) for layer in layers]

    def output(self) -> FileTarget:
        """What is written last: the version's manifest."""
        return FileTarget(self.path("models", "0001", "manifest.yaml"))

    def arguments(self, experiment: Path) -> list[str]:
        """`deepclean publish`, into production: what is not yet live needs no trial."""
        runs = json.dumps([target.path for target in self.input()])
        given = options(runs=runs, store=self.path("models"), promote="true")
        return ["publish", *options(experiment=experiment), *given]


class CleanFrames(JobStage, CleaningStage):
    """Clean the evaluation span, here or as a job."""

    clean_processes = luigi.IntParameter(
        default=law.config.get_expanded_int("aframe", "clean_processes", 1),
        significant=False,
        description="processes that clean on each device (number); changes no result; default: 1",
    )

    def requires(self) -> dict[str, Any]:
        """Frames and a version to clean them with."""
        return {**self.frames_needed("evaluation"), "version": PublishCleaner.req(self)}

    def output(self) -> FolderTarget:
        """The cleaned frames, put in place whole."""
        return FolderTarget(self.path("cleaned"))

    def arguments(self, experiment: Path) -> list[str]:
        """`deepclean clean`."""
        given = options(store=self.path("models"), version=1, output=self.output().path)
        given += options(frames=self.frames_of("evaluation"), workers=self.clean_processes)
        return ["clean", *options(experiment=experiment), *given]


class CleaningReport(CleaningStage):
    """Say what cleaning did to the evaluation span."""

    def requires(self) -> dict[str, Any]:
        """Frames before and after."""
        return {**self.frames_needed("evaluation"), "cleaned": CleanFrames.req(self)}

    def output(self) -> FolderTarget:
        """The report and its numbers."""
        return FolderTarget(self.path("report"), ("index.html", "summary.json"))

    def arguments(self, experiment: Path) -> list[str]:
        """`deepclean report`, with the truth where it is known."""
        frames = self.frames_of("evaluation")
        given = options(frames=frames, cleaned=self.input()["cleaned"].path)
        if self.analysis.experiment.simulated:
            given += options(truth=frames / "truth")
        return [
            "report",
            *options(experiment=experiment),
            *given,
            *options(output=self.output().path),
        ]
