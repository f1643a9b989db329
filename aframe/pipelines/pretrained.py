"""What pipelines share that search by a network trained before."""

import functools
from collections.abc import Iterator
from typing import Any

from aframe.base import AframeTask
from aframe.pipelines.pipeline import Pipeline
from aframe.pretrained import strain_option, write_experiment
from aframe.tasks.infer import TransportTask
from aframe.tasks.pretrained import ExportModel, ImportSearched, PretrainedTask


class PretrainedPipeline(Pipeline, TransportTask, PretrainedTask):
    """First puts strain and repository in their places, then runs what needs them.

    A subclass says what is searched, and what for.
    """

    exclude_index = True
    prefix: str

    @property
    def source(self) -> str:
        """File or folder to search."""
        raise NotImplementedError

    # No options here, for both follow from others.
    @functools.cached_property
    def experiment(self) -> str:  # type: ignore[override]
        """Folder of the experiment that the model's description makes."""
        return str(write_experiment(self.prefix, self.model, self.source))

    @functools.cached_property
    def strain(self) -> str:  # type: ignore[override]
        """Folder that the experiment asks for, if it does."""
        return strain_option(self.model, self.source)

    def named(self) -> dict[str, str]:
        """What is an option of other tasks, but not of this one."""
        return {"experiment": self.experiment, "strain": self.strain}

    def requires(self) -> Any:
        """The strain and the repository."""
        return {
            "strain": ImportSearched.req(self, source=self.source, **self.named()),
            "repository": ExportModel.req(self, **self.named()),
        }

    def run(self) -> Iterator[list[AframeTask]]:  # type: ignore[override]
        """Run what needs them, and say where the result is."""
        yield self.ends()
        super().run()
