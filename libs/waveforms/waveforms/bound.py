"""Upper bounds of signal-to-noise ratios without a signal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from lal import MTSUN_SI
from runtime.experiment import Waveforms
from torch import Tensor

from waveforms.envelope import Envelope, chirp_mass, newtonian_amplitude
from waveforms.model import TAPER_CYCLES
from waveforms.projection import EARTH_RADIUS_TIME, antenna_response

# What the numerical search for the largest amplitudes may have missed: the quadrupole depends on
# few parameters, the higher modes on all. TaylorF2 needs no search, but its spectrum ends in a
# step, at which the spectrum of a signal cut in time overshoots.
SEARCH_MARGINS = {
    "IMRPhenomD": 1.02,
    "IMRPhenomPv2": 1.02,
    "TaylorF2": 1.25,
    "IMRPhenomXPHM": 1.1,
}
# TaylorF2 is Newtonian in its amplitude, whatever the masses and spins; the bins are for margins.
TAYLORF2_EDGES = np.array([0, *np.geomspace(2e-4, 0.02, 15), np.inf])
ENVELOPE_OF_TAYLORF2 = Envelope(
    mass_ratio=np.array([0.0, 1.0]),
    effective_spin=np.array([-1.0, 1.0]),
    frequency=TAYLORF2_EDGES,
    ratio=np.ones((1, 1, len(TAYLORF2_EDGES) - 1)),
)
# Amplitude that tapers and cuts in time bring from other frequencies, over the Newtonian one.
LEAK = 0.02
# Near the frequency at which a signal begins its spectrum overshoots: up to this many times that
# frequency, by at most this factor.
EDGE_REACH = 1.5
EDGE_MARGIN = 1.2
# Just below half the sample rate, from this part of it on, the end of the spectrum shows likewise.
TOP_REACH = 0.85
TOP_MARGIN = 2.0
# Frequency over which the noise is summed before it is looked up, at most [Hz].
CELL_WIDTH = 0.125
# Where the argument of docs/snr-bound.md holds; nothing is said of signals beyond.
LARGEST_SPIN = 0.999
# total mass times highpass, so that something of the merger lies in the band
LARGEST_HIGHPASS = 0.1
# total mass times the frequency at which a signal that is too long is cut
LARGEST_CUT = 0.015
# the ringdown after coalescence that must fit in the array, in units of the total mass
RINGDOWN_LENGTH = 200.0
# Draws worked on at once: their table of frequencies stays in the cache.
CHUNK = 4096


class SnrBound:
    """Network SNR that a source's signal does not exceed, whatever its waveform is.

    The signal's amplitude is at most an envelope over total mass times frequency, found once for
    each approximant, mass ratio and effective spin; the antenna factors are exact; what is not
    known of the orientation is taken at its best. The sum over frequencies is then a sum of the
    inverse PSD, which is tabled. `docs/snr-bound.md` has the argument.

    The bound is infinite where it is not established: for other approximants than IMRPhenomD,
    IMRPhenomPv2, TaylorF2, IMRPhenomXPHM and SineGaussian, for mass ratios below those of the
    envelope or above 1, for spins above 0.999, and for binaries too heavy for the band or for the
    length of the signals.

    Args:
        settings: The experiment's `waveforms`.
        psd: One-sided PSDs from 0 to half the sample rate, of shape (block, ifo, frequency)
            [1/Hz].
        sample_rate: Sample rate [Hz].
        highpass: Lowest frequency of the band [Hz].
        lowpass: Highest frequency of the band; half the sample rate if None [Hz].
        ifos: Detectors, in the order of `psd`.
    """

    def __init__(
        self,
        settings: Waveforms,
        psd: Tensor,
        sample_rate: float,
        highpass: float,
        lowpass: float | None,
        ifos: tuple[str, ...],
    ) -> None:
        self.settings, self.highpass, self.ifos = settings, highpass, ifos
        self.sample_rate = sample_rate
        name = settings.approximant
        self.envelope = ENVELOPE_OF_TAYLORF2 if name == "TaylorF2" else Envelope.read(name)
        size = round(settings.duration * sample_rate)
        self.resolution = sample_rate / size
        frequency = np.fft.rfftfreq(size, 1 / sample_rate)
        top = sample_rate / 2 if lowpass is None else lowpass
        band = np.flatnonzero((frequency >= highpass) & (frequency <= top))
        self.first, self.stop = int(band[0]), int(band[-1]) + 1
        self.cell_size = max(1, int(CELL_WIDTH / self.resolution))
        noise = psd.detach().cpu().numpy()
        place = np.linspace(0, sample_rate / 2, noise.shape[-1])
        inside = (place >= highpass) & (place <= top)
        self.least_noise = _interpolated(noise, place, frequency[band[[0, -1]]]).min(axis=-1)
        self.least_noise = np.minimum(
            self.least_noise, noise[..., inside].min(axis=-1, initial=np.inf)
        )
        self.power = self._tabled(noise, place, frequency[band])

    def _tabled(self, noise: np.ndarray, place: np.ndarray, frequency: np.ndarray) -> np.ndarray:
        """Squared SNR of a Newtonian signal up to each cell of frequencies.

        The signal has a chirp mass of 1 Msun, a distance of 1 Mpc and antenna factors of 1. The
        sum is over the frequencies of a signal of finite length, with the PSD interpolated
        linearly, as the SNR of a response is computed.

        Returns:
            Array of shape (block, ifo, cell + 1), the first column zero.
        """
        starts = np.arange(0, len(frequency), self.cell_size)
        margin = np.where(frequency < TOP_REACH * self.sample_rate / 2, 1.0, TOP_MARGIN)
        signal = 4 * self.resolution * (margin * newtonian_amplitude(frequency, 1.0, 1.0)) ** 2
        power = np.zeros((*noise.shape[:-1], len(starts) + 1))
        for block, curves in enumerate(noise):
            terms = signal / _interpolated(curves, place, frequency)
            cells = np.add.reduceat(terms, starts, axis=-1)
            np.cumsum(cells, axis=-1, out=power[block, :, 1:])
        return power

    def __call__(
        self, sources: Mapping[str, np.ndarray], gps: np.ndarray, block: np.ndarray
    ) -> np.ndarray:
        """Bounds of sources.

        Args:
            sources: Parameters by bilby's names, in the detector frame, of length n.
            gps: GPS time of each source [s].
            block: Which of the PSDs is that of each source.

        Returns:
            Network SNR that is not exceeded, float64, of shape (n,); infinite if unknown.
        """
        factors = antenna_response(sources, gps, self.ifos)[0].numpy()
        if self.settings.approximant == "SineGaussian":
            return self._burst_bound(sources, factors, block)
        if self.envelope is None:
            return np.full(len(gps), np.inf)
        gain = squared_gain(self.settings, sources, factors)
        squared = np.full(len(gps), np.inf)
        inside = np.flatnonzero(self.known(sources))
        for start in range(0, len(inside), CHUNK):
            chosen = inside[start : start + CHUNK]
            part = {name: values[chosen] for name, values in sources.items()}
            power = self._power(self.envelope, part, block[chosen])
            squared[chosen] = (gain[chosen] * power).sum(axis=-1)
        # a source with a parameter that is not a number is not for the bound to judge
        return np.sqrt(np.where(np.isnan(squared), np.inf, squared))

    def known(self, sources: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which sources the bound is established for, of shape (n,)."""
        if self.envelope is None:
            return np.zeros(len(sources["mass_1_detector"]), dtype=bool)
        mass_1, mass_2 = sources["mass_1_detector"], sources["mass_2_detector"]
        total, q = (mass_1 + mass_2) * MTSUN_SI, mass_2 / mass_1
        after = self.settings.right_pad - EARTH_RADIUS_TIME
        cut = self._cut_frequency(sources)
        return (
            np.isfinite(self._class_ratios(self.envelope, sources)).all(axis=-1)
            & (q >= self.envelope.mass_ratio[0])
            & (q <= 1)
            & (q > 0)
            & (sources["a_1"] <= LARGEST_SPIN)
            & (sources["a_2"] <= LARGEST_SPIN)
            & (total * self.highpass <= LARGEST_HIGHPASS)
            & (total * RINGDOWN_LENGTH <= after)
            & (cut <= np.maximum(self.settings.minimum_frequency, LARGEST_CUT / total))
        )

    def _cut_frequency(self, sources: Mapping[str, np.ndarray]) -> np.ndarray:
        """Frequency at which a signal is fully there when it has to be cut at its left [Hz].

        By the Newtonian time to coalescence, 5 / 256 (pi f)^(-8/3) (G Mc / c^3)^(-5/3).
        """
        settings = self.settings
        length = settings.duration - settings.right_pad
        length -= TAPER_CYCLES / settings.minimum_frequency
        mass = chirp_mass(sources["mass_1_detector"], sources["mass_2_detector"]) * MTSUN_SI
        if length <= 0:
            return np.full(len(mass), np.inf)
        return (5 / (256 * length)) ** (3 / 8) * mass ** (-5 / 8) / np.pi

    def _power(
        self, envelope: Envelope, sources: Mapping[str, np.ndarray], block: np.ndarray
    ) -> np.ndarray:
        """Squared SNR of unit antenna factors, at most, of shape (n, ifo)."""
        mass_1, mass_2 = sources["mass_1_detector"], sources["mass_2_detector"]
        total = (mass_1 + mass_2) * MTSUN_SI
        ratio = self._class_ratios(envelope, sources)
        # index in the band of the first of the signal's frequencies at or above each edge
        edges = envelope.frequency / (total * self.resolution)[:, None]
        index = np.ceil(np.minimum(edges, self.stop)).astype(np.int64)
        index = np.clip(index, self.first, self.stop) - self.first
        last = np.full((len(total), 1), self.stop - self.first)
        index = np.concatenate((index, last), axis=1)
        begin = np.maximum(self.settings.minimum_frequency, self._cut_frequency(sources))
        edge = edges[:, :-1] * self.resolution < EDGE_REACH * begin[:, None]
        amplitude = np.where(edge, EDGE_MARGIN * ratio, ratio) + LEAK
        weight = np.concatenate((amplitude, np.full((len(total), 1), LEAK)), axis=1) ** 2
        mass = chirp_mass(mass_1, mass_2)
        scale = mass ** (5 / 3) / sources["luminosity_distance"] ** 2
        power = np.empty((len(total), len(self.ifos)))
        # a cell that reaches over an edge counts on both sides of it
        low, high = index // self.cell_size, -(-index // self.cell_size)
        row = block[:, None] * len(self.ifos)
        for ifo in range(len(self.ifos)):
            first = (row + ifo) * self.power.shape[-1]
            below = self.power.ravel().take(first + low)
            above = below if self.cell_size == 1 else self.power.ravel().take(first + high)
            power[:, ifo] = scale * np.einsum("nk,nk->n", weight, above[:, 1:] - below[:, :-1])
        return power

    def _class_ratios(self, envelope: Envelope, sources: Mapping[str, np.ndarray]) -> np.ndarray:
        """Envelope of each source with its margin, of shape (n, frequency bin)."""
        mass_1, mass_2 = sources["mass_1_detector"], sources["mass_2_detector"]
        aligned_1 = sources["a_1"] * np.cos(sources["tilt_1"])
        aligned_2 = sources["a_2"] * np.cos(sources["tilt_2"])
        effective = (mass_1 * aligned_1 + mass_2 * aligned_2) / (mass_1 + mass_2)
        row = np.searchsorted(envelope.mass_ratio, mass_2 / mass_1, side="right") - 1
        column = np.searchsorted(envelope.effective_spin, effective, side="right") - 1
        rows, columns, _ = envelope.ratio.shape
        ratio = envelope.ratio[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
        return SEARCH_MARGINS[self.settings.approximant] * ratio

    def _burst_bound(
        self, sources: Mapping[str, np.ndarray], factors: np.ndarray, block: np.ndarray
    ) -> np.ndarray:
        """Bound of a sine-Gaussian: all its power where the noise is least.

        By Parseval's theorem 4 times the integral of |h|^2 over positive frequencies is twice that
        over time, and that of F+ h+ + Fx hx is at most |F|^2 hrss^2. Sampling changes the integral
        little below a quarter of the sample rate; above nothing is said.
        """
        squared = 2 * (np.square(factors).sum(axis=1) / self.least_noise[block]).sum(axis=-1)
        bound = (1 + LEAK) * sources["hrss"] * np.sqrt(squared)
        return np.where(sources["frequency"] <= self.sample_rate / 4, bound, np.inf)


def squared_gain(
    settings: Waveforms, sources: Mapping[str, np.ndarray], factors: np.ndarray
) -> np.ndarray:
    """Largest squared response to a signal whose amplitude face-on is 1.

    A quadrupole seen under an inclination with cosine c gives F+^2 (1 + c^2)^2 / 4 + Fx^2 c^2.
    Where it precesses the polarization angle is not known, and the response at most
    |F|^2 (1 + c^2)^2 / 4, with the largest c that the orbit comes to. With higher modes the
    orientation is in the envelope already.

    Args:
        settings: The experiment's `waveforms`.
        sources: Parameters by name, of length n.
        factors: Antenna factors, of shape (n, 2, ifo).

    Returns:
        Array of shape (n, ifo).
    """
    full = np.square(factors).sum(axis=1)
    if settings.approximant == "IMRPhenomXPHM":
        return full
    if settings.approximant == "IMRPhenomPv2":
        angle = np.arccos(np.abs(np.cos(sources["theta_jn"])))
        cosine = np.cos(
            np.maximum(0, angle - opening_angle(sources, settings.reference_frequency))
        )
        return full * np.square((1 + np.square(cosine)) / 2)[:, None]
    cosine = np.cos(sources["theta_jn"])[:, None]
    plus, cross = factors[:, 0], factors[:, 1]
    return np.square(plus * (1 + cosine**2) / 2) + np.square(cross * cosine)


def opening_angle(sources: Mapping[str, np.ndarray], reference_frequency: float) -> np.ndarray:
    """How far IMRPhenomPv2's orbital angular momentum L gets from the axis of `theta_jn`, at most.

    The model turns L around the total angular momentum J at an angle with tangent Sp / (L + SL)
    (Schmidt et al., Phys. Rev. D 91, 024043 (2015), equation 3.4 for the effective in-plane spin;
    Hannam et al., Phys. Rev. Lett. 113, 151101 (2014)): largest where the post-Newtonian L, which
    falls and rises again with frequency, is least. To it comes the angle between two directions of
    J: `theta_jn` is turned into an inclination with L to first post-Newtonian order, which the
    model turns back into an angle to J with L to second order.

    Args:
        sources: Parameters by name, of length n.
        reference_frequency: Frequency at which spins are given [Hz].

    Returns:
        Angles between 0 and pi [rad], of shape (n,).
    """
    mass_1, mass_2 = sources["mass_1_detector"], sources["mass_2_detector"]
    total = mass_1 + mass_2
    eta = mass_1 * mass_2 / total**2
    spin_1 = sources["a_1"] * (mass_1 / total) ** 2
    spin_2 = sources["a_2"] * (mass_2 / total) ** 2
    plane_1, plane_2 = spin_1 * np.sin(sources["tilt_1"]), spin_2 * np.sin(sources["tilt_2"])
    aligned = spin_1 * np.cos(sources["tilt_1"]) + spin_2 * np.cos(sources["tilt_2"])
    weight_1, weight_2 = 2 + 1.5 * mass_2 / mass_1, 2 + 1.5 * mass_1 / mass_2
    effective = np.maximum(weight_1 * plane_1, weight_2 * plane_2) / weight_1
    # L = eta / v (1 + first v^2 + second v^4) in units of the squared total mass
    first, second = 1.5 + eta / 6, 3.375 - 19 * eta / 8 - eta**2 / 24
    square = (np.sqrt(first**2 + 12 * second) - first) / (6 * second)
    least = eta / np.sqrt(square) * (1 + first * square + second * square**2)
    # where L + SL can vanish the model's angle can reach pi / 2 and goes no further
    opening = np.arctan2(effective, np.maximum(least + aligned, 0))
    velocity = np.cbrt(np.pi * total * MTSUN_SI * reference_frequency)
    lower = eta / velocity * (1 + first * velocity**2)
    higher = lower + eta * second * velocity**3
    cosine = np.cos(sources["phi_12"])
    plane = np.sqrt(np.maximum(0, plane_1**2 + plane_2**2 + 2 * plane_1 * plane_2 * cosine))
    turned = np.arctan2(plane, lower + aligned) - np.arctan2(plane, higher + aligned)
    return opening + np.abs(turned)


def _interpolated(curves: np.ndarray, place: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """Curves on an even grid, of shape (..., place), at other frequencies, linearly."""
    position = frequency / place[-1] * (len(place) - 1)
    low = np.minimum(position.astype(np.int64), len(place) - 2)
    part = position - low
    return curves[..., low] * (1 - part) + curves[..., low + 1] * part
