"""All data of an experiment."""

from aframe.base import AframeTask
from aframe.pipelines.pipeline import Pipeline
from aframe.tasks.signals import Injections, TrainingWaveforms, ValidationWaveforms
from aframe.tasks.strain import Strain


class Data(Pipeline):
    """Strain, signals to train on, and the injections of all folds."""

    def ends(self) -> list[AframeTask]:
        """All that training and search need."""
        folds = range(self.analysis.experiment.folds)
        return [
            Strain.req(self),
            TrainingWaveforms.req(self),
            *(ValidationWaveforms.req(self, fold=fold) for fold in folds),
            *(Injections.req(self, fold=fold) for fold in folds),
        ]

    def result(self) -> str:
        """Where the data are."""
        return f"Data: {self.path()}"
