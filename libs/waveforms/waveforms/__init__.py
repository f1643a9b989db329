"""Signals of compact binaries and bursts, and what detectors see of them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waveforms.approximants import signal_model
    from waveforms.bound import SnrBound
    from waveforms.model import Batch, Failure, SignalModel, Sources, best_device
    from waveforms.polarizations import PolarizationSet
    from waveforms.projection import antenna_response, project
    from waveforms.responses import ResponseSet, detector_responses
    from waveforms.stored import Responses, injection_responses, training_polarizations

__all__ = [
    "Batch",
    "Failure",
    "PolarizationSet",
    "ResponseSet",
    "Responses",
    "SignalModel",
    "SnrBound",
    "Sources",
    "antenna_response",
    "best_device",
    "detector_responses",
    "injection_responses",
    "project",
    "signal_model",
    "training_polarizations",
]

_MODULES = {
    "approximants": ("signal_model",),
    "bound": ("SnrBound",),
    "model": ("Batch", "Failure", "SignalModel", "Sources", "best_device"),
    "polarizations": ("PolarizationSet",),
    "projection": ("antenna_response", "project"),
    "responses": ("ResponseSet", "detector_responses"),
    "stored": ("Responses", "injection_responses", "training_polarizations"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    # on first use: lalsimulation's processes import this package and need none of torch
    if name not in _HOMES:
        raise AttributeError(f"module 'waveforms' has no attribute {name!r}")
    return getattr(importlib.import_module(f"waveforms.{_HOMES[name]}"), name)
