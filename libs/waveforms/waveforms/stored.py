"""Signals of the ledger's products, whether the file holds them or their parameters alone."""

from __future__ import annotations

import functools
from typing import Protocol

import numpy as np
import torch
from ledger import InjectionSet, WaveformSet
from runtime.experiment import Waveforms
from torch import Tensor

from waveforms.approximants import signal_model
from waveforms.model import rows_of
from waveforms.polarizations import PolarizationSet
from waveforms.responses import ResponseSet


class Responses(Protocol):
    """Responses of detectors by number of the injection."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> np.ndarray:
        """Strain, float32, of shape (ifo, size)."""
        ...


class RemadeResponses:
    """Responses of a set of injections that keeps parameters alone.

    They are made in the blocks in which they were made for a set that keeps responses: 64 rows of
    one strain file.

    Args:
        injections: The set.
        settings: The experiment's `waveforms`.
    """

    def __init__(self, injections: InjectionSet, settings: Waveforms) -> None:
        model = signal_model(settings, injections.sample_rate)
        files = np.asarray(injections.file)
        self._files, self._rows = files, np.zeros(len(files), dtype=np.int64)
        for file in np.unique(files):
            rows = np.flatnonzero(files == file)
            self._rows[rows] = np.arange(len(rows))

        # injections are looked at file by file; each set remembers some blocks
        @functools.lru_cache(maxsize=2)
        def responses_of(file: int) -> ResponseSet:
            rows = np.flatnonzero(files == file)
            sources = rows_of(injections.parameters, rows)
            return ResponseSet(model, sources, injections.time[rows], injections.ifos)

        self._responses_of = responses_of

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> np.ndarray:
        """Strain, float32, of shape (ifo, size)."""
        responses = self._responses_of(int(self._files[row]))
        found: np.ndarray = responses[[self._rows[row]]][0]
        return found


def injection_responses(injections: InjectionSet, settings: Waveforms) -> Responses:
    """Signals of injections in the detectors: those in the file, or the same made again.

    Args:
        injections: The set.
        settings: The experiment's `waveforms`, with which the set was made.
    """
    if len(injections.response):
        return injections.response
    return RemadeResponses(injections, settings)


class StoredPolarizations:
    """Polarizations that a file holds, on a device.

    Args:
        waveforms: The set.
        device: Where to put them.
    """

    def __init__(self, waveforms: WaveformSet, device: torch.device) -> None:
        self.plus = torch.from_numpy(waveforms.plus).to(device)
        self.cross = torch.from_numpy(waveforms.cross).to(device)

    def __len__(self) -> int:
        return len(self.plus)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Plus and cross, float32, of shape (rows, size)."""
        return self.plus[rows], self.cross[rows]


def training_polarizations(
    waveforms: WaveformSet, settings: Waveforms, device: torch.device
) -> StoredPolarizations | PolarizationSet:
    """Polarizations to train on: those in the file, or made on the device when asked for.

    Args:
        waveforms: The set.
        settings: The experiment's `waveforms`, with which the set was made.
        device: Where the polarizations are wanted.
    """
    if len(waveforms.plus):
        return StoredPolarizations(waveforms, device)
    model = signal_model(settings, waveforms.sample_rate, device)
    return PolarizationSet(model, waveforms.parameters)
