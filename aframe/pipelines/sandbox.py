"""From nothing to a report on one machine."""

from aframe.base import AframeTask
from aframe.pipelines.pipeline import Pipeline
from aframe.tasks.evaluate import Evaluate


class Sandbox(Pipeline):
    """A complete search: data, training, export, inference, evaluation, report."""

    def ends(self) -> list[AframeTask]:
        """The report."""
        return [Evaluate.req(self)]

    def result(self) -> str:
        """Where the report is."""
        return f"Report: {self.path('report', 'index.html')}"
