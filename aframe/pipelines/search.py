"""From a folder of strain files and a trained network to a report."""

import luigi

from aframe.base import AframeTask
from aframe.pipelines.pretrained import PretrainedPipeline
from aframe.tasks.infer import InjectedTask
from aframe.tasks.pretrained import EvaluateSearched


class Search(PretrainedPipeline, InjectedTask):
    """Search a folder of strain files: events, their rates from slides of it, a report."""

    prefix = "search"

    folder = luigi.Parameter(description="folder of strain files, or one file (path)")

    @property
    def source(self) -> str:
        """What is searched."""
        return str(self.folder)

    def ends(self) -> list[AframeTask]:
        """The report."""
        return [EvaluateSearched.req(self, **self.named())]

    def result(self) -> str:
        """Where the report is."""
        return f"Report: {self.path(self.varied('report'), 'index.html')}"
