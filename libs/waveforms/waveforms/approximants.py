"""Which model makes which approximant."""

from __future__ import annotations

import torch
from runtime.experiment import Waveforms

from waveforms.burst_model import BURSTS, BurstModel
from waveforms.lal_model import LalModel
from waveforms.ml4gw_model import BatchedModel
from waveforms.model import SignalModel, best_device


def signal_model(
    settings: Waveforms,
    sample_rate: float,
    device: torch.device | str | None = None,
    workers: int | None = None,
) -> SignalModel:
    """The model that makes an experiment's signals.

    Args:
        settings: The experiment's `waveforms`.
        sample_rate: Sample rate [Hz].
        device: Where ml4gw computes, and where signals are; the GPU if there is one.
        workers: Processes in which lalsimulation computes; one per core. No result depends on it.

    Raises:
        ValueError: There is no such approximant, or it cannot be had here.
    """
    place = best_device() if device is None else torch.device(device)
    if settings.generator == "lalsimulation":
        return LalModel(settings, sample_rate, place, workers)
    if settings.approximant in BURSTS:
        return BurstModel(settings, sample_rate, place)
    return BatchedModel(settings, sample_rate, place)
