"""From frames, given, fetched or simulated, to a report on cleaned ones."""

from typing import Any

from aframe.pipelines.pipeline import Pipeline
from aframe.tasks.deepclean import CleaningReport, CleaningTask


class DeepClean(Pipeline, CleaningTask):
    """Frames, training, cleaning, report."""

    def ends(self) -> list[Any]:
        """The report."""
        return [CleaningReport.req(self)]

    def result(self) -> str:
        """Where the report is."""
        return f"Report: {self.path('report', 'index.html')}"
