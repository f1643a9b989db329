"""Signals of compact binaries from ml4gw's frequency-domain approximants, in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from ml4gw.constants import MSUN, MTSUN_SI
from ml4gw.waveforms import IMRPhenomD, IMRPhenomPv2, TaylorF2
from ml4gw.waveforms.cbc import utils as bounds
from ml4gw.waveforms.conversion import bilby_spins_to_lalsim
from ml4gw.waveforms.generator import (
    EXTRA_CYCLES,
    EXTRA_TIME_FRACTION,
    TimeDomainCBCWaveformGenerator,
)
from runtime.experiment import Waveforms
from torch import Tensor

from waveforms.model import Batch, FramedModel, Sources
from waveforms.threads import ordered_threads
from waveforms.window import rising_window

BINARY = (
    *("mass_1_detector", "mass_2_detector", "luminosity_distance", "theta_jn", "phase"),
    *("a_1", "a_2", "tilt_1", "tilt_2"),
)
PRECESSION = ("phi_12", "phi_jl")
# Samples worked on at once: on a CPU few enough for the cache of a laptop, on a GPU enough to
# keep it busy. An intermediate result of a batch takes 8 bytes per sample; there are dozens.
BATCH_SAMPLES = {"cpu": 2**18, "cuda": 2**22}
# Spin in the orbital plane that IMRPhenomPv2 is given at least.
LEAST_PLANAR_SPIN = 1e-6


class EndedTaylorF2(TaylorF2):
    """TaylorF2 up to the innermost stable circular orbit, zero above: it means nothing beyond."""

    def forward(
        self, f: Tensor, chirp_mass: Tensor, mass_ratio: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Cross and plus polarizations; the arguments are those of ml4gw's TaylorF2."""
        cross, plus = super().forward(f, chirp_mass, mass_ratio, *args, **kwargs)
        total = chirp_mass * (1 + mass_ratio) ** 1.2 / mass_ratio**0.6
        inside = f <= last_frequency(total)[:, None]
        return cross * inside, plus * inside


def last_frequency(total_mass: Tensor) -> Tensor:
    """Frequency at the innermost stable circular orbit about a black hole of a mass M [Hz].

    It is c^3 / (6^(3/2) pi G M) without spin.

    Args:
        total_mass: Detector-frame mass [Msun].
    """
    return 1 / (6**1.5 * torch.pi * MTSUN_SI * total_mass)


APPROXIMANTS = {
    "IMRPhenomD": IMRPhenomD,
    "IMRPhenomPv2": IMRPhenomPv2,
    "TaylorF2": EndedTaylorF2,
}


class BatchedModel(FramedModel):
    """Polarizations of binaries in the time and in the frequency domain.

    All is computed in float64. IMRPhenomD and TaylorF2 have no precession: they are given the
    components of the spins along the orbital angular momentum, `chi_i = a_i cos(tilt_i)`, and
    `theta_jn` as inclination.

    Signals are conditioned as lalsimulation does: tapered in below the minimum frequency (that of
    the innermost stable circular orbit where this is lower) and tapered out at the end.
    Coalescence is where lalsimulation puts it: for IMRPhenomD the largest amplitude, to the
    nearest sample; for the others the zero of time of their frequency domain. A signal longer than
    the array is cut at its left, and tapered in over five cycles of the minimum frequency.

    Args:
        settings: The experiment's `waveforms`.
        sample_rate: Sample rate [Hz].
        device: Where to compute.
    """

    has_spectra = True

    def __init__(self, settings: Waveforms, sample_rate: float, device: torch.device) -> None:
        super().__init__(settings, sample_rate, device)
        self.precessing = settings.approximant == "IMRPhenomPv2"
        self.approximant = APPROXIMANTS[settings.approximant]().to(device)
        # coalescence at the first sample, and all before it come round to the end
        self._generator = TimeDomainCBCWaveformGenerator(
            self.approximant,
            sample_rate,
            settings.duration,
            settings.minimum_frequency,
            settings.reference_frequency,
            right_pad=0,
        ).to(device)

    @property
    def parameters(self) -> tuple[str, ...]:
        """See `FramedModel`."""
        return BINARY + (PRECESSION if self.precessing else ())

    def _parameters(self, sources: Sources) -> dict[str, Tensor]:
        """Parameters as ml4gw names them, in the detector frame."""
        values = {
            name: torch.as_tensor(sources[name], dtype=torch.float64, device=self.device)
            for name in self.parameters
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
            return parameters | _leant(dict(zip(names, spins, strict=True)), values["phase"])
        parameters["inclination"] = values["theta_jn"]
        for i in (1, 2):
            aligned = values[f"a_{i}"] * torch.cos(values[f"tilt_{i}"])
            parameters[f"chi{i}"] = parameters[f"s{i}z"] = aligned
        return parameters

    def spectra(self, sources: Sources, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """See `SignalModel`."""
        cross, plus = self.approximant(
            frequency.to(self.device, torch.float64),
            **self._parameters(sources),
            f_ref=self.settings.reference_frequency,
        )
        return plus, cross

    def _start_frequency(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Frequency at which each signal is tapered in [Hz]."""
        isco = bounds.frequency_isco(parameters["mass_1"] * MSUN, parameters["mass_2"] * MSUN)
        return isco.clamp(max=self.settings.minimum_frequency)

    def _spans(self, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Time of each signal before and after coalescence, and with room to either side [s].

        They follow lalsimulation's conditioning. The last is what ml4gw takes for a batch of one,
        before it takes the next power of two.
        """
        mass_1, mass_2 = parameters["mass_1"] * MSUN, parameters["mass_2"] * MSUN
        s1z, s2z = parameters["s1z"], parameters["s2z"]
        start = self._start_frequency(parameters)
        chirp = bounds.chirp_time_bound(start, mass_1, mass_2, s1z, s2z)
        merger = bounds.merge_time_bound(mass_1, mass_2) + bounds.ringdown_time_bound(
            mass_1 + mass_2, bounds.final_black_hole_spin_bound(s1z, s2z)
        )
        lower = bounds.chirp_start_frequency_bound(
            (1 + EXTRA_TIME_FRACTION) * chirp, mass_1, mass_2
        )
        chirp = bounds.chirp_time_bound(lower, mass_1, mass_2, s1z, s2z)
        extra = EXTRA_CYCLES / start
        return chirp, merger, chirp + merger + 2 * extra

    def make(self, sources: Sources) -> Iterator[Batch]:
        """Signals of like length at a time, so that no signal depends on a longer one."""
        parameters = self._parameters(sources)
        samples = torch.round(self._spans(parameters)[-1] * self.sample_rate)
        lengths = (2 ** torch.ceil(torch.log2(samples))).long().cpu().numpy()
        groups = []
        for length in np.unique(lengths):
            members = np.flatnonzero(lengths == length)
            count = max(1, BATCH_SAMPLES[self.device.type] // int(length))
            groups += [members[i : i + count] for i in range(0, len(members), count)]

        def make_group(chosen: np.ndarray) -> Batch:
            part = {name: values[chosen] for name, values in parameters.items()}
            return Batch(chosen, *self._time_domain(part))

        if self.device.type == "cpu":
            yield from ordered_threads(make_group, groups)
        else:
            yield from map(make_group, groups)

    def _time_domain(self, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        inclination = parameters["inclination"]
        if not self.precessing:
            # face-on, the two polarizations give the amplitude; the inclination follows below
            parameters = {**parameters, "inclination": torch.zeros_like(inclination)}
        # ml4gw's last step, a causal high-pass filter, is left out: it would answer to the cut,
        # and it disperses the signal.
        spectra = self._generator.generate_conditioned_fd_waveform(**parameters)
        cross, plus = (torch.fft.irfft(values) * self.sample_rate for values in spectra)
        del spectra
        zero = torch.zeros_like(inclination, dtype=torch.int64)
        if self.settings.approximant == "IMRPhenomD":
            zero = (plus.square() + cross.square()).argmax(dim=-1)
        index, window = self._placed(parameters, zero, plus.shape[-1])
        plus = torch.gather(plus, -1, index) * window
        cross = torch.gather(cross, -1, index) * window
        if not self.precessing:
            cosine = torch.cos(inclination)[:, None]
            plus *= (1 + cosine.square()) / 2
            cross *= cosine
        return plus, cross

    def _placed(
        self, parameters: Mapping[str, Tensor], zero: Tensor, period: int
    ) -> tuple[Tensor, Tensor]:
        """Where to find each sample of the array in a signal that comes round, and its weight.

        Args:
            parameters: Parameters by name, of length n.
            zero: Sample of coalescence in the signal that comes round, of shape (n,).
            period: Samples after which it comes round.

        Returns:
            Indices and weights, of shape (n, size).
        """
        before, after, _ = self._spans(parameters)
        lag = torch.arange(self.size, device=self.device) - self.coalescence_sample
        index = torch.remainder(lag + zero[:, None], period)
        # lalsimulation tapers over one cycle of the lowest and one of the last frequency
        start = -torch.round(before * self.sample_rate)[:, None]
        rise = torch.round(self.sample_rate / self._start_frequency(parameters))[:, None]
        window = _half_cosine((lag - start) / rise)
        stop = torch.round(after * self.sample_rate)[:, None]
        stop = stop.clamp(max=self.size - self.coalescence_sample)
        last = last_frequency(parameters["mass_1"] + parameters["mass_2"])
        fall = torch.round(self.sample_rate / last).clamp(min=4)[:, None]
        window *= _half_cosine((stop - lag) / fall)
        cut = (start < -self.coalescence_sample)[:, 0]
        ramp = torch.from_numpy(rising_window(self.taper_size)).to(window)
        window[cut, : self.taper_size] = ramp
        return index, window


def _half_cosine(phase: Tensor) -> Tensor:
    """Rise from 0 to 1 while the phase does so; float64."""
    return (1 - torch.cos(torch.pi * phase.double().clamp(0, 1))) / 2


def _leant(spins: dict[str, Tensor], phase: Tensor) -> dict[str, Tensor]:
    """Spins that are not quite along the orbital angular momentum.

    Where they are, the azimuth of the total angular momentum, from which ml4gw's IMRPhenomPv2
    takes the phase, is rounding error. It is given what lalsimulation takes for it then, 90
    degrees less the phase, by a spin in the plane too small to be seen.

    Args:
        spins: Components by ml4gw's names.
        phase: Phase at the reference frequency [rad].
    """
    planar = torch.stack([spins[name] for name in ("s1x", "s1y", "s2x", "s2y")]).abs().amax(dim=0)
    straight = planar < LEAST_PLANAR_SPIN
    least = {"s1x": torch.sin(phase), "s1y": torch.cos(phase)}
    least |= dict.fromkeys(("s2x", "s2y"), torch.zeros_like(phase))
    return spins | {
        name: torch.where(straight, LEAST_PLANAR_SPIN * value, spins[name])
        for name, value in least.items()
    }
