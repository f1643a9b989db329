"""The pipelines: which stage, in which order, where, in which environment. No physics.

The tasks are reachable from here, `law run aframe.TrainLocal`, and imported only when asked for.
"""

from typing import Any

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


def __getattr__(name: str) -> Any:
    # Importing law takes half a second; `python -m aframe.environment` needs none of it.
    if name in __all__:
        from aframe import tasks

        return getattr(tasks, name)
    raise AttributeError(f"module 'aframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
