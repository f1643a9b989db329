"""Signals as the whitened data of the detectors would show them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from ledger import WaveformSet
from ml4gw.gw import compute_observed_strain, get_ifo_geometry
from preprocessing import filter_signals
from runtime.experiment import Waveforms
from torch import Tensor
from waveforms import training_polarizations


@dataclass(frozen=True)
class SnrDistribution:
    """Power law of the network SNR of training signals.

    Attributes:
        minimum: Smallest SNR.
        maximum: Largest SNR.
        index: Exponent of the density; -4 is a uniform distribution in Euclidean volume.
        start: Smallest SNR at the first step, from which it falls to `minimum`: a network that
            first sees loud signals finds out sooner what to look for.
        start_steps: Steps over which it falls; 0 for none.
    """

    minimum: float = 5.0
    maximum: float = 50.0
    index: float = -3.0
    start: float = 12.0
    start_steps: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.minimum <= self.start < self.maximum:
            raise ValueError(
                f"SNRs minimum {self.minimum}, start {self.start}, maximum {self.maximum} are not "
                "in order"
            )

    def smallest(self, step: int) -> float:
        """Smallest SNR at a training step."""
        if step >= self.start_steps:
            return self.minimum
        return self.start + (self.minimum - self.start) * step / self.start_steps

    def draw(
        self, batch: int, generator: torch.Generator, device: torch.device, step: int
    ) -> Tensor:
        """Draw the SNRs of a training step, of shape (batch,)."""
        minimum = self.smallest(step)
        uniform = torch.rand(batch, generator=generator, device=device)
        if self.index == -1:
            return minimum * (self.maximum / minimum) ** uniform
        power = self.index + 1
        low, high = minimum**power, self.maximum**power
        return (low + uniform * (high - low)) ** (1 / power)


class Signals:
    """Random signals from a set of polarizations.

    Each draw takes a waveform, a sky position and a polarization angle, projects it onto the
    detectors, whitens it by given filters, scales it to an SNR, and places its coalescence in the
    kernel. What a stored waveform does not cover is zero.

    Args:
        waveforms: Sources, with plus and cross polarizations or without.
        settings: The experiment's `waveforms`, to make those that are not there.
        ifos: Detectors.
        kernel_size: Samples in a kernel.
        snr: Distribution of the network SNR.
        coalescence: Earliest and latest time of the coalescence in the kernel [s].
        device: Where to work.

    Raises:
        ValueError: The coalescence would lie outside the kernel.
    """

    def __init__(
        self,
        waveforms: WaveformSet,
        settings: Waveforms,
        ifos: tuple[str, ...],
        kernel_size: int,
        snr: SnrDistribution,
        coalescence: tuple[float, float],
        device: torch.device,
    ) -> None:
        self.sample_rate = waveforms.sample_rate
        self.kernel_size = kernel_size
        kernel_length = kernel_size / self.sample_rate
        if not 0 <= coalescence[0] < coalescence[1] <= kernel_length:
            raise ValueError(
                f"coalescence {list(coalescence)} s must lie in order in the kernel of "
                f"{kernel_length} s"
            )
        self.polarizations = training_polarizations(waveforms, settings, device)
        self.num_waveforms = len(self.polarizations)
        self.peak = round(waveforms.coalescence * self.sample_rate)
        self.snr = snr
        self.coalescence = coalescence
        tensors, vertices = get_ifo_geometry(*ifos)
        self.tensors, self.vertices = tensors.to(device), vertices.to(device)
        self.device = device

    def draw(self, taps: Tensor, generator: torch.Generator, step: int) -> Tensor:
        """Draw whitened signals.

        Args:
            taps: Whitening filters, of shape (batch, ifo, filter_size).
            generator: Random numbers, on the device of the signals.
            step: Training step, which the smallest SNR depends on.

        Returns:
            Signals, of shape (batch, ifo, kernel_size).
        """
        batch = len(taps)

        def uniform() -> Tensor:
            return torch.rand(batch, generator=generator, device=self.device)

        which = torch.randint(
            self.num_waveforms, (batch,), generator=generator, device=self.device
        )
        plus, cross = self.polarizations[which]
        response = compute_observed_strain(
            dec=torch.asin(2 * uniform() - 1),
            psi=math.pi * uniform(),
            phi=2 * math.pi * uniform(),
            detector_tensors=self.tensors,
            detector_vertices=self.vertices,
            sample_rate=self.sample_rate,
            plus=plus,
            cross=cross,
        )
        whitened = filter_signals(response.float(), taps)
        # the sum of squares of a whitened signal is its squared SNR
        found = whitened.square().sum(dim=(1, 2)).sqrt().clamp(min=1e-6)
        wanted = self.snr.draw(batch, generator, self.device, step)
        whitened = whitened * (wanted / found)[:, None, None]

        low, high = (round(t * self.sample_rate) for t in self.coalescence)
        place = torch.randint(low, high + 1, (batch,), generator=generator, device=self.device)
        peak = self.peak - taps.shape[-1] // 2
        samples = (peak - place)[:, None] + torch.arange(self.kernel_size, device=self.device)
        inside = (samples >= 0) & (samples < whitened.shape[-1])
        samples = samples.clamp(0, whitened.shape[-1] - 1)[:, None].expand(
            -1, len(self.tensors), -1
        )
        return whitened.gather(-1, samples) * inside[:, None]
