"""The tasks, one module per stage, two for the data."""

from aframe.tasks.evaluate import Evaluate
from aframe.tasks.export import ExportLocal
from aframe.tasks.infer import (
    InferFrames,
    InferInjections,
    InferLocal,
    InferSlides,
    InferZeroLag,
)
from aframe.tasks.remote import TrainRemote, TuneRemote
from aframe.tasks.signals import (
    InjectionBranches,
    Injections,
    TrainingWaveformBranches,
    TrainingWaveforms,
    ValidationBranches,
    ValidationWaveforms,
)
from aframe.tasks.strain import (
    Fetch,
    ImportStrain,
    Query,
    SimulateStrain,
    Strain,
    StrainIndex,
)
from aframe.tasks.train import Train, TrainLocal
from aframe.tasks.tune import Tune

__all__ = [
    "Evaluate",
    "ExportLocal",
    "Fetch",
    "ImportStrain",
    "InferFrames",
    "InferInjections",
    "InferLocal",
    "InferSlides",
    "InferZeroLag",
    "InjectionBranches",
    "Injections",
    "Query",
    "SimulateStrain",
    "Strain",
    "StrainIndex",
    "Train",
    "TrainLocal",
    "TrainRemote",
    "TrainingWaveformBranches",
    "TrainingWaveforms",
    "Tune",
    "TuneRemote",
    "ValidationBranches",
    "ValidationWaveforms",
]
