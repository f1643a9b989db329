"""Bursts without a model of a source: sine-Gaussians and ringdowns, from ml4gw."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from ml4gw.waveforms import Ringdown, SineGaussian
from runtime.experiment import Waveforms
from torch import Tensor

from waveforms.model import Batch, Failure, FramedModel, Sources, failure, num_sources
from waveforms.threads import single_threaded

BURSTS = {
    "SineGaussian": ("frequency", "quality", "hrss", "phase", "eccentricity"),
    "Ringdown": ("frequency", "quality", "epsilon", "luminosity_distance", "phase", "theta_jn"),
}
# A burst must fall to this part of its largest amplitude within the array.
EDGE_AMPLITUDE = 1e-3
BATCH_SAMPLES = 2**20


class BurstModel(FramedModel):
    """Polarizations of bursts.

    A sine-Gaussian of `frequency` [Hz], `quality`, root-sum-squared amplitude `hrss`
    [1/sqrt(Hz)], `phase` [rad] and `eccentricity` (1 linearly, 0 circularly polarized) has its
    centre at the coalescence sample. A ringdown of `frequency`, `quality`, `epsilon` (part of the
    black hole's mass that is radiated), `luminosity_distance` [Mpc], `phase` and `theta_jn` begins
    there, and is zero before.

    Frequencies are those that arrive at the detector. A burst above half the sample rate, or that
    lasts longer than the array, is a failure.

    Args:
        settings: The experiment's `waveforms`.
        sample_rate: Sample rate [Hz].
        device: Where to compute.
    """

    def __init__(self, settings: Waveforms, sample_rate: float, device: torch.device) -> None:
        super().__init__(settings, sample_rate, device)
        kind = {"SineGaussian": SineGaussian, "Ringdown": Ringdown}[settings.approximant]
        self.approximant = kind(sample_rate, settings.duration)
        first = 0 if self.rings else -self.coalescence_sample
        lag = torch.arange(first, self.size - self.coalescence_sample, dtype=torch.float64)
        self.approximant.times = lag / sample_rate
        self.approximant.to(device)

    @property
    def rings(self) -> bool:
        """Whether bursts begin, rather than have their centre, at the coalescence sample."""
        return self.settings.approximant == "Ringdown"

    @property
    def parameters(self) -> tuple[str, ...]:
        """See `FramedModel`."""
        return BURSTS[self.settings.approximant]

    def largest(self, sources: Sources) -> np.ndarray:
        """No limit is known."""
        return np.full(num_sources(sources), np.inf)

    def make(self, sources: Sources) -> Iterator[Batch | Failure]:
        """See `FramedModel`."""
        good = np.ones(num_sources(sources), dtype=bool)
        for index, reason in self._unfit(sources):
            good[index] = False
            yield failure(sources, index, reason)
        members = np.flatnonzero(good)
        count = max(1, BATCH_SAMPLES // self.size)
        for first in range(0, len(members), count):
            chosen = members[first : first + count]
            with single_threaded():
                plus, cross = self._time_domain(sources, chosen)
            yield Batch(chosen, plus, cross)

    def _unfit(self, sources: Sources) -> Iterator[tuple[int, str]]:
        frequency, quality = sources["frequency"], sources["quality"]
        periods = np.log(1 / EDGE_AMPLITUDE) * quality / np.pi
        room = self.size / self.sample_rate - self.coalescence
        if not self.rings:
            # exp(-(2 pi f t / Q)^2 / 2)
            periods = np.sqrt(2 * np.log(1 / EDGE_AMPLITUDE)) * quality / (2 * np.pi)
            room = min(room, self.coalescence)
        span = periods / frequency
        for index in range(len(frequency)):
            if not 0 < frequency[index] < self.sample_rate / 2:
                yield (
                    index,
                    f"its frequency is {frequency[index]} Hz, expected above 0 and "
                    f"below half the sample rate, {self.sample_rate / 2} Hz",
                )
            elif not span[index] < room:
                yield index, f"it lasts {span[index]:.3g} s, more than the array's {room:.3g} s"

    def _time_domain(self, sources: Sources, chosen: np.ndarray) -> tuple[Tensor, Tensor]:
        values = {
            name: torch.as_tensor(sources[name][chosen], dtype=torch.float64, device=self.device)
            for name in self.parameters
        }
        if self.rings:
            values["distance"] = values.pop("luminosity_distance")
            values["inclination"] = values.pop("theta_jn")
        cross, plus = self.approximant(**values)
        missing = self.size - plus.shape[-1]
        pad = torch.nn.functional.pad
        return pad(plus, (missing, 0)), pad(cross, (missing, 0))
