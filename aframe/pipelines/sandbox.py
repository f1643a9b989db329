"""From nothing to a report on one machine."""

from aframe.base import AframeTask
from aframe.pipelines.pipeline import Pipeline
from aframe.tasks.evaluate import Evaluate
from aframe.tasks.infer import TransportTask


class Sandbox(Pipeline, TransportTask):
    """A complete search: data, training, export, inference, evaluation, report."""

    def ends(self) -> list[AframeTask]:
        """The report."""
        return [Evaluate.req(self)]

    def result(self) -> str:
        """Where the report is."""
        return f"Report: {self.path(self.varied('report'), 'index.html')}"
