"""The tasks, one module per stage."""

from aframe.tasks.datagen import (
    ImportStrain,
    Injections,
    SimulateStrain,
    Strain,
    StrainIndex,
    TrainingWaveforms,
    ValidationWaveforms,
)
from aframe.tasks.evaluate import Evaluate
from aframe.tasks.export import ExportLocal
from aframe.tasks.infer import InferLocal
from aframe.tasks.train import TrainLocal

__all__ = [
    "Evaluate",
    "ExportLocal",
    "ImportStrain",
    "InferLocal",
    "Injections",
    "SimulateStrain",
    "Strain",
    "StrainIndex",
    "TrainLocal",
    "TrainingWaveforms",
    "ValidationWaveforms",
]
