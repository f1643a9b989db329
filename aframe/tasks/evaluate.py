"""Evaluation."""

import json
from pathlib import Path
from typing import Any

from aframe.base import FolderTarget, options
from aframe.tasks.infer import InferLocal, InjectedTask
from aframe.tasks.strain import Strain
from aframe.tasks.train import TrainLocal
from aframe.workflow import JobStage


class Evaluate(JobStage, InjectedTask):
    """Turn the events of all folds into rates, a sensitive volume, and a report."""

    project = "evaluate"

    @property
    def stage(self) -> str:
        """Name of this report's records."""
        return self.varied(super().stage)

    def requires(self) -> dict[str, Any]:
        """Events and training runs of all folds, and the strain."""
        folds = range(self.analysis.experiment.folds)
        return {
            "results": [InferLocal.req(self, fold=fold) for fold in folds],
            "runs": [TrainLocal.req(self, fold=fold) for fold in folds],
            "strain": Strain.req(self),
        }

    def output(self) -> FolderTarget:
        """The report and its numbers."""
        return FolderTarget(self.path(self.varied("report")), ("index.html", "summary.json"))

    def arguments(self, experiment: Path) -> list[str]:
        """`evaluate report`, with the wall times of the stages so far."""
        walls = {}
        for record in sorted(self.path("stages").glob("*/wall.json")):
            content = json.loads(record.read_text())
            walls[content["stage"]] = content["wall_s"]
        stages = experiment.with_name("stages.json")
        stages.write_text(json.dumps(walls, indent=1))
        inputs = self.input()
        return [
            "report",
            *options(
                experiment=experiment,
                version=self.version,
                results=json.dumps([target.path for target in inputs["results"]]),
                runs=json.dumps([target.path for target in inputs["runs"]]),
                strain=inputs["strain"].path,
                stages=stages,
                output=self.output().path,
            ),
        ]
