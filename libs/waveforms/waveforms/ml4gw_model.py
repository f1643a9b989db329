"""Signals as plus and cross polarizations, from ml4gw's frequency-domain approximants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from ml4gw.constants import MSUN
from ml4gw.waveforms import IMRPhenomD, IMRPhenomPv2
from ml4gw.waveforms.cbc import utils as bounds
from ml4gw.waveforms.conversion import bilby_spins_to_lalsim
from ml4gw.waveforms.generator import (
    EXTRA_CYCLES,
    EXTRA_TIME_FRACTION,
    TimeDomainCBCWaveformGenerator,
)
from runtime.experiment import Waveforms
from scipy import constants
from torch import Tensor

from datagen.parallel import ordered_threads

Sources = Mapping[str, np.ndarray]

APPROXIMANTS = {"IMRPhenomD": IMRPhenomD, "IMRPhenomPv2": IMRPhenomPv2}
# Cycles of the minimum frequency over which a signal that had to be cut is tapered in.
TAPER_CYCLES = 5
# Samples (time or frequency) worked on at once: small enough for the cache of a laptop.
BATCH_SAMPLES = 2**18
# Length per mass, G Msun / c^2, in units of 1 Mpc
SOLAR_LENGTH = 1476.625 / (constants.parsec * 1e6)


def best_device() -> torch.device:
    """The GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class SignalModel:
    """Polarizations of sources in the time and in the frequency domain.

    All is computed in float64. IMRPhenomD has no precession: it is given the components of the
    spins along the orbital angular momentum, `chi_i = a_i cos(tilt_i)`, and `theta_jn` as
    inclination.

    Args:
        settings: The experiment's `waveforms`.
        sample_rate: Sample rate [Hz].
        device: Where to compute.
    """

    def __init__(self, settings: Waveforms, sample_rate: float, device: torch.device) -> None:
        self.settings = settings
        self.sample_rate = sample_rate
        self.device = device
        self.precessing = settings.approximant == "IMRPhenomPv2"
        self.approximant = APPROXIMANTS[settings.approximant]().to(device)
        self.size = round(settings.duration * sample_rate)
        self.coalescence_sample = self.size - round(settings.right_pad * sample_rate)
        self._generator = TimeDomainCBCWaveformGenerator(
            self.approximant,
            sample_rate,
            settings.duration,
            settings.minimum_frequency,
            settings.reference_frequency,
            settings.right_pad,
        ).to(device)

    @property
    def coalescence(self) -> float:
        """Time of coalescence after the first sample [s]."""
        return self.coalescence_sample / self.sample_rate

    def _parameters(self, sources: Sources) -> dict[str, Tensor]:
        """Parameters as ml4gw names them, in the detector frame."""
        values = {
            name: torch.as_tensor(array, dtype=torch.float64, device=self.device)
            for name, array in sources.items()
        }
        mass_1, mass_2 = values["mass_1_detector"], values["mass_2_detector"]
        parameters = {
            "mass_1": mass_1,
            "mass_2": mass_2,
            "chirp_mass": (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2,
            "mass_ratio": mass_2 / mass_1,
            "distance": values["luminosity_distance"],
            "phic": values["phase"],
        }
        if self.precessing:
            names = ("inclination", "s1x", "s1y", "s1z", "s2x", "s2y", "s2z")
            spins = bilby_spins_to_lalsim(
                *(values[k] for k in ("theta_jn", "phi_jl", "tilt_1", "tilt_2", "phi_12")),
                *(values[k] for k in ("a_1", "a_2")),
                mass_1,
                mass_2,
                self.settings.reference_frequency,
                values["phase"],
            )
            return parameters | dict(zip(names, spins, strict=True))
        parameters["inclination"] = values["theta_jn"]
        for i in (1, 2):
            aligned = values[f"a_{i}"] * torch.cos(values[f"tilt_{i}"])
            parameters[f"chi{i}"] = parameters[f"s{i}z"] = aligned
        return parameters

    def spectra(self, sources: Sources, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """Polarizations at given frequencies, without conditioning.

        Args:
            sources: Parameters by name, of length n.
            frequency: Frequencies, all above the minimum frequency [Hz].

        Returns:
            Plus and cross [1/Hz], complex128, of shape (n, frequency).
        """
        cross, plus = self.approximant(
            frequency.to(self.device, torch.float64),
            **self._parameters(sources),
            f_ref=self.settings.reference_frequency,
        )
        return plus, cross

    def _lengths(self, parameters: Mapping[str, Tensor]) -> np.ndarray:
        """Samples that each signal needs from its first frequency to its end, a power of two.

        This is the length that ml4gw takes for a batch of one (it follows lalsimulation's
        conditioning). Signals are put together by it, so that no signal depends on its batch.
        """
        mass_1, mass_2 = parameters["mass_1"] * MSUN, parameters["mass_2"] * MSUN
        s1z, s2z = parameters["s1z"], parameters["s2z"]
        start = bounds.frequency_isco(mass_1, mass_2).clamp(max=self.settings.minimum_frequency)
        chirp = bounds.chirp_time_bound(start, mass_1, mass_2, s1z, s2z)
        merger = bounds.merge_time_bound(mass_1, mass_2) + bounds.ringdown_time_bound(
            mass_1 + mass_2, bounds.final_black_hole_spin_bound(s1z, s2z)
        )
        lower = bounds.chirp_start_frequency_bound(
            (1 + EXTRA_TIME_FRACTION) * chirp, mass_1, mass_2
        )
        chirp = bounds.chirp_time_bound(lower, mass_1, mass_2, s1z, s2z)
        total = (chirp + merger + 2 * EXTRA_CYCLES / start) * self.sample_rate
        return (2 ** torch.ceil(torch.log2(torch.round(total)))).long().cpu().numpy()

    def batches(self, sources: Sources) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Time-domain polarizations, a batch of signals of like length at a time.

        Signals are conditioned as lalsimulation does: tapered in below the minimum frequency and
        tapered out at the end. Coalescence is where lalsimulation puts it: for IMRPhenomD the
        largest amplitude, to the nearest sample; for IMRPhenomPv2 the zero of time of its
        frequency domain. A signal longer than the array is cut at its left, and tapered in over
        five cycles of the minimum frequency.

        Args:
            sources: Parameters by name, of length n.

        Yields:
            Indices of the signals, plus, and cross; these of shape (batch, size), float64.

        Raises:
            ValueError: A signal is not finite, or larger than a binary of its mass at its
                distance can be.
        """
        parameters = self._parameters(sources)
        lengths = self._lengths(parameters)
        groups = []
        for length in np.unique(lengths):
            members = np.flatnonzero(lengths == length)
            count = max(1, BATCH_SAMPLES // int(length))
            groups += [members[i : i + count] for i in range(0, len(members), count)]

        def make(chosen: np.ndarray) -> tuple[np.ndarray, Tensor, Tensor]:
            part = {name: values[chosen] for name, values in parameters.items()}
            plus, cross = self._time_domain(part)
            self._check(plus, cross, part)
            return chosen, plus, cross

        if self.device.type == "cpu":
            yield from ordered_threads(make, groups)
        else:
            yield from map(make, groups)

    def polarizations(self, sources: Sources) -> tuple[Tensor, Tensor]:
        """Plus and cross of all sources, of shape (n, size), float64; see `batches`."""
        count = len(sources["luminosity_distance"])
        plus = torch.zeros((count, self.size), dtype=torch.float64, device=self.device)
        cross = torch.zeros_like(plus)
        for chosen, h_plus, h_cross in self.batches(sources):
            plus[chosen], cross[chosen] = h_plus, h_cross
        return plus, cross

    def _time_domain(self, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        inclination = parameters["inclination"]
        if not self.precessing:
            # face-on, the two polarizations give the amplitude; the inclination follows below
            parameters = {**parameters, "inclination": torch.zeros_like(inclination)}
        generator = self._generator
        spectra = generator.generate_conditioned_fd_waveform(**parameters)
        series = (torch.fft.irfft(values) * self.sample_rate for values in spectra)
        # ml4gw's last step, a causal high-pass filter, is left out: it would answer to the cut,
        # and it disperses the signal.
        cross, plus = generator.apply_td_condition_stage2(*series, parameters)
        if not self.precessing:
            peak = (plus.square() + cross.square()).argmax(dim=-1)
            right_pad = self.size - self.coalescence_sample
            shift = plus.shape[-1] - right_pad - peak
            cosine = torch.cos(inclination)[:, None]
            plus = _shift(plus, shift) * ((1 + cosine.square()) / 2)
            cross = _shift(cross, shift) * cosine
        return self._fit(plus), self._fit(cross)

    def _fit(self, signal: Tensor) -> Tensor:
        """Pad with zeros, or cut and taper, at the left."""
        missing = self.size - signal.shape[-1]
        if missing >= 0:
            return torch.nn.functional.pad(signal, (missing, 0))
        signal = signal[..., -missing:].clone()
        taper_size = round(TAPER_CYCLES / self.settings.minimum_frequency * self.sample_rate)
        taper_size = min(taper_size, self.coalescence_sample)
        phase = torch.arange(taper_size, dtype=signal.dtype, device=signal.device) / taper_size
        signal[..., :taper_size] *= (1 - torch.cos(torch.pi * phase)) / 2
        return signal

    def _check(self, plus: Tensor, cross: Tensor, parameters: Mapping[str, Tensor]) -> None:
        """Stop at a signal that no binary can give.

        The strain of a merger peaks at about 0.4 G M / (c^2 D) for equal masses seen face-on, and
        lower otherwise.
        """
        peak = torch.maximum(plus.abs().amax(dim=-1), cross.abs().amax(dim=-1))
        total = parameters["mass_1"] + parameters["mass_2"]
        largest = SOLAR_LENGTH * total / parameters["distance"]
        # written so that NaN counts as bad
        bad = ~((peak > 0) & (peak < largest))
        if bad.any():
            which = int(torch.nonzero(bad)[0])
            values = {name: float(value[which]) for name, value in parameters.items()}
            raise ValueError(
                f"{self.settings.approximant} gives a peak strain of {float(peak[which])}, "
                f"expected between 0 and {float(largest[which]):.3g}, for the source {values}"
            )


def _shift(signal: Tensor, shift: Tensor) -> Tensor:
    """Move each signal right by whole samples (left if negative); what leaves is lost."""
    size = signal.shape[-1]
    index = torch.arange(size, device=signal.device) - shift[:, None]
    moved = torch.gather(signal, -1, index.clamp(0, size - 1))
    return moved * ((index >= 0) & (index < size))
