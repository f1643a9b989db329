"""From nothing to the best training of each fold."""

from aframe.base import AframeTask
from aframe.pipelines.pipeline import Pipeline
from aframe.tasks import tune


class Tune(Pipeline, tune.TuningTask):
    """Tune the training of all folds."""

    def ends(self) -> list[AframeTask]:
        """A study for each fold."""
        return [tune.Tune.req(self, fold=fold) for fold in range(self.analysis.experiment.folds)]

    def result(self) -> str:
        """Where the studies are, and how to go on with what they found."""
        folders = ", ".join(str(study.output().path) for study in self.ends())
        return (
            f"Studies: {folders}; best/train.yaml in each is the training file of its best trial, "
            "best/ its network"
        )
