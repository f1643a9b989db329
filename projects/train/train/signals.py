"""Signals as the whitened data of the detectors would show them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from ledger import WaveformSet
from ml4gw.constants import C
from ml4gw.gw import compute_antenna_responses, get_ifo_geometry
from preprocessing.psd import STRAIN_SCALE
from runtime.experiment import Waveforms
from scipy.fft import next_fast_len
from torch import Tensor
from waveforms import PolarizationSet, training_polarizations
from waveforms.projection import EARTH_RADIUS_TIME


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


class Sources(NamedTuple):
    """Random signals before they are made; each of shape (batch,).

    Attributes:
        which: Row of the waveform.
        theta: Polar angle of the sky position from the north pole [rad].
        phi: Azimuth of the sky position from Greenwich [rad].
        psi: Polarization angle [rad].
        snr: Network SNR.
        place: Sample of the kernel at which the coalescence passes the geocentre.
    """

    which: Tensor
    theta: Tensor
    phi: Tensor
    psi: Tensor
    snr: Tensor
    place: Tensor

    def rows(self, rows: Tensor) -> Sources:
        """Some of them."""
        return Sources(*(values[rows] for values in self))

    def joined(self, others: Sources) -> Sources:
        """These, then others."""
        return Sources(*map(torch.cat, zip(self, others, strict=True)))


def delayed(delay: Tensor, size: int, sample_rate: float) -> Tensor:
    """Factors that delay a real series, circularly, when its transform is multiplied by them.

    The turn at each frequency is the product of a coarse and a fine one, both taken in double
    precision: more exact than the sine and cosine of many large phases in single, and quicker.

    Args:
        delay: Delays, of any shape [s].
        size: Samples in the series.
        sample_rate: Sample rate [Hz].

    Returns:
        Complex tensor of shape (*delay.shape, size // 2 + 1).
    """
    count = size // 2 + 1
    step = math.isqrt(count) + 1
    turn = -2 * math.pi * sample_rate / size * delay.double()[..., None]
    phase = turn * torch.arange(step, device=delay.device)
    fine, coarse = (
        torch.polar(torch.ones_like(phase), part).to(torch.complex64)
        for part in (phase, step * phase)
    )
    return (coarse[..., None] * fine[..., None, :]).flatten(-2)[..., :count]


class Signals:
    """Random signals from a set of polarizations.

    Each takes a waveform, a sky position (isotropic) and a polarization angle, is projected onto
    the detectors, whitened by given filters, scaled to an SNR, and has its coalescence placed in
    the kernel. The delays between the detectors are exact, not whole samples: they are phases in
    the transform that whitens. What a stored waveform does not cover is zero.

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

    def draw_sources(self, batch: int, generator: torch.Generator, step: int) -> Sources:
        """Draw signals, which cost nothing until they are made.

        Args:
            batch: How many.
            generator: Random numbers, on the device of the signals.
            step: Training step, which the smallest SNR depends on.
        """

        def uniform() -> Tensor:
            return torch.rand(batch, generator=generator, device=self.device)

        def integers(first: int, stop: int) -> Tensor:
            return torch.randint(first, stop, (batch,), generator=generator, device=self.device)

        low, high = (round(t * self.sample_rate) for t in self.coalescence)
        return Sources(
            which=integers(0, self.num_waveforms),
            theta=torch.acos(2 * uniform() - 1),
            phi=2 * math.pi * uniform(),
            psi=math.pi * uniform(),
            snr=self.snr.draw(batch, generator, self.device, step),
            place=integers(low, high + 1),
        )

    def whitened(self, sources: Sources, taps: Tensor) -> Tensor:
        """Signals in the detectors, whitened, of the amplitudes of the waveforms.

        Args:
            sources: The signals.
            taps: Whitening filters, of shape (batch, ifo, filter_size).

        Returns:
            Tensor of shape (batch, ifo, time): half a filter less than the waveforms at either
            end.
        """
        which = sources.which
        if isinstance(self.polarizations, PolarizationSet):
            which = which.cpu()
        plus, cross = self.polarizations[which]
        factors = compute_antenna_responses(
            sources.theta, sources.psi, sources.phi, self.tensors, ["plus", "cross"]
        )
        sine = torch.sin(sources.theta)
        direction = torch.stack(
            (
                sine * torch.cos(sources.phi),
                sine * torch.sin(sources.phi),
                torch.cos(sources.theta),
            ),
            dim=-1,
        )
        delay = -(direction @ self.vertices.T) / C
        size = plus.shape[-1]
        # zeros behind the signal, into which a delay may move its end or its beginning
        padded = next_fast_len(size + 2 * round(EARTH_RADIUS_TIME * self.sample_rate), real=True)
        polarizations = torch.fft.rfft(torch.stack((plus, cross), 1) * STRAIN_SCALE, n=padded)
        spectrum = factors[:, 0, :, None] * polarizations[:, None, 0]
        spectrum += factors[:, 1, :, None] * polarizations[:, None, 1]
        spectrum *= delayed(delay, padded, self.sample_rate)
        spectrum *= torch.fft.rfft(taps, n=padded)
        return torch.fft.irfft(spectrum, n=padded)[..., taps.shape[-1] : size]

    def make(self, sources: Sources, taps: Tensor) -> Tensor:
        """Whitened signals in kernels.

        Args:
            sources: The signals.
            taps: Whitening filters, of shape (batch, ifo, filter_size).

        Returns:
            Signals, of shape (batch, ifo, kernel_size).
        """
        whitened = self.whitened(sources, taps)
        # the sum of squares of a whitened signal is its squared SNR
        found = whitened.square().sum(dim=(1, 2)).sqrt().clamp(min=1e-6)
        peak = self.peak - taps.shape[-1] // 2
        samples = torch.arange(self.kernel_size, device=self.device)
        samples = (peak - sources.place)[:, None] + samples
        inside = (samples >= 0) & (samples < whitened.shape[-1])
        samples = samples.clamp(0, whitened.shape[-1] - 1)[:, None].expand(
            -1, whitened.shape[1], -1
        )
        kernels = whitened.gather(-1, samples)
        kernels *= (sources.snr / found)[:, None, None]
        kernels *= inside[:, None]
        return kernels

    def draw(self, taps: Tensor, generator: torch.Generator, step: int) -> Tensor:
        """Draw signals and make them; see `draw_sources` and `make`."""
        return self.make(self.draw_sources(len(taps), generator, step), taps)
