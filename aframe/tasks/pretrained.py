"""What takes the place of strain and of training in a search by a network trained before."""

import shutil
from pathlib import Path
from typing import Any

import luigi
from ledger import Product, staged
from ledger import StrainIndex as StrainIndexFile
from ledger.strain import INDEX

from aframe.base import AframeTask, FolderTarget, StageTask, options
from aframe.pretrained import Pretrained, load_pretrained
from aframe.tasks.evaluate import Evaluate
from aframe.tasks.export import ExportLocal
from aframe.tasks.strain import StrainTask


class PretrainedTask(AframeTask):
    """A task of a search by a network trained before."""

    exclude_index = True

    model = luigi.Parameter(
        default="",
        description="folder of a trained network or of a model repository (path), or name of one "
        "in models/ (no unit); default: the only one in models/",
    )

    @property
    def pretrained(self) -> Pretrained:
        """The network."""
        return load_pretrained(self.model)


class ImportSearched(StrainTask):
    """Bring the files to be searched into the ledger's format, where strain is looked for."""

    exclude_index = True

    source = luigi.Parameter(description="file or folder of strain to search (path)")

    def output(self) -> FolderTarget:
        """The folder of the strain files and their index, put in place whole."""
        return FolderTarget(self.path("strain"), (INDEX,))

    def reads(self) -> list[Path]:
        """The files."""
        path = Path(self.source).absolute()
        return [path if path.is_dir() else path.parent]

    def arguments(self, experiment: Path) -> list[str]:
        """`datagen import`."""
        folders = options(source=Path(self.source).absolute(), output=self.path("strain"))
        return ["import", *options(experiment=experiment), *folders]

    def products(self) -> list[tuple[Path, type[Product]]]:
        """The strain index."""
        return [(self.path("strain", INDEX), StrainIndexFile)]


class GivenFolder(FolderTarget):
    """A folder that was there before, and that law must not remove."""

    def remove(self, silent: bool = True, **_: Any) -> bool:
        """Leave it."""
        return False


class RestoreModel(StageTask, PretrainedTask):
    """Make of a kept network what a training leaves; a training's own folder stays where it is."""

    project = "train"

    def output(self) -> FolderTarget:
        """The folder of the network and its description."""
        files = ("model.pt", "model.yaml")
        if self.pretrained.kind == "run":
            return GivenFolder(self.pretrained.folder, files)
        return FolderTarget(self.path("model"), files)

    def reads(self) -> list[Path]:
        """The kept network."""
        return [self.pretrained.folder]

    def arguments(self, experiment: Path) -> list[str]:
        """`train restore`; all that it needs is in the model's description."""
        return ["restore", *options(model=self.pretrained.folder, run_dir=self.output().path)]


class ExportModel(PretrainedTask, ExportLocal):
    """Export the network to where that of a training would be; a repository is copied there."""

    def requires(self) -> Any:
        """The network."""
        return [] if self.pretrained.kind == "repository" else RestoreModel.req(self)

    def reads(self) -> list[Path]:
        """The network's folder, which may lie outside the store."""
        return [Path(self.input().path)]

    def run(self) -> None:
        """Export, or copy."""
        if self.pretrained.kind != "repository":
            super().run()
            return
        with staged(Path(self.output().path)) as partial:
            shutil.copytree(self.pretrained.folder, partial)
        self.validate()
        self.publish_outputs()


class EvaluateSearched(Evaluate):
    """The report, without curves of a training."""

    exclude_index = True

    def requires(self) -> dict[str, Any]:
        """Events and strain."""
        return super().requires() | {"runs": []}
