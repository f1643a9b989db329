"""What a model of signals is, and what all models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from runtime.experiment import Waveforms
from scipy import constants
from torch import Tensor

Sources = Mapping[str, np.ndarray]
"""Parameters of sources by name, float64 arrays of one length."""

# Cycles of the minimum frequency over which a signal that had to be cut is tapered in.
TAPER_CYCLES = 5
# Length per mass, G Msun / c^2, in units of 1 Mpc
SOLAR_LENGTH = 1476.625 / (constants.parsec * 1e6)


@dataclass(frozen=True)
class Batch:
    """Some of the signals that were asked for.

    Attributes:
        index: Which sources these are, of shape (n,).
        plus: Plus polarizations, float64, of shape (n, size).
        cross: Cross polarizations, likewise.
    """

    index: np.ndarray
    plus: Tensor
    cross: Tensor


@dataclass(frozen=True)
class Failure:
    """A source of which no physical signal could be made.

    Attributes:
        index: Which of the sources of the call.
        parameters: All its parameters by name.
        reason: What is wrong with its signal.
    """

    index: int
    parameters: dict[str, float]
    reason: str


class SignalModel(Protocol):
    """Polarizations of sources, each in an array that ends some time after coalescence.

    Attributes:
        sample_rate: Sample rate [Hz].
        size: Samples of a signal.
        coalescence_sample: Sample at which a binary coalesces; the centre of a sine-Gaussian, the
            start of a ringdown.
        coalescence: Its time after the first sample [s].
        device: Where signals are made, or put after they were made.
        has_spectra: Whether `spectra` is there.
        failures: Sources of the latest call of `batches` or `polarizations` without a signal,
            complete when the last batch has been given.
    """

    sample_rate: float
    size: int
    coalescence_sample: int
    device: torch.device
    has_spectra: bool
    failures: list[Failure]

    @property
    def coalescence(self) -> float:
        """Time of coalescence after the first sample [s]."""
        ...

    def batches(self, sources: Sources) -> Iterator[Batch]:
        """Signals of sources, some at a time, in an order of the model's own choice.

        A source whose signal cannot be made, is not finite, is zero or is larger than a binary
        of its mass at its distance can be, is in no batch but in `failures`.

        Args:
            sources: Parameters by name, of length n.

        Yields:
            The signals.

        Raises:
            ValueError: A parameter is missing.
        """
        ...

    def polarizations(self, sources: Sources) -> tuple[Tensor, Tensor, np.ndarray]:
        """Plus and cross of all sources, of shape (n, size), and which of them are good.

        The polarizations of failed sources are zero.
        """
        ...

    def spectra(self, sources: Sources, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """Plus and cross at given frequencies, without conditioning.

        Args:
            sources: Parameters by name, of length n.
            frequency: Frequencies, all above the minimum frequency [Hz].

        Returns:
            Plus and cross [1/Hz], complex128, of shape (n, frequency).

        Raises:
            ValueError: The model has no spectra.
        """
        ...


class FramedModel(ABC):
    """A model by the signals that it makes, good or not: the rest of `SignalModel`.

    Args:
        settings: The experiment's `waveforms`.
        sample_rate: Sample rate [Hz].
        device: Where signals are made or put.
    """

    has_spectra = False

    def __init__(self, settings: Waveforms, sample_rate: float, device: torch.device) -> None:
        self.settings = settings
        self.sample_rate = sample_rate
        self.device = device
        self.size = round(settings.duration * sample_rate)
        self.coalescence_sample = self.size - round(settings.right_pad * sample_rate)
        # of a signal that is cut at its left
        taper_size = round(TAPER_CYCLES / settings.minimum_frequency * sample_rate)
        self.taper_size = max(1, min(taper_size, self.coalescence_sample))
        self.failures: list[Failure] = []

    @property
    def coalescence(self) -> float:
        """Time of coalescence after the first sample [s]."""
        return self.coalescence_sample / self.sample_rate

    @property
    @abstractmethod
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that sources must have."""

    @abstractmethod
    def make(self, sources: Sources) -> Iterator[Batch | Failure]:
        """Signals, of whatever size, and sources that have none; each source once."""

    def largest(self, sources: Sources) -> np.ndarray:
        """Strain that no binary of these masses at these distances exceeds, of shape (n,).

        The strain of a merger peaks at about 0.4 G M / (c^2 D) for equal masses seen face-on, and
        lower otherwise.
        """
        total = sources["mass_1_detector"] + sources["mass_2_detector"]
        return SOLAR_LENGTH * total / sources["luminosity_distance"]

    def batches(self, sources: Sources) -> Iterator[Batch]:
        """See `SignalModel`."""
        missing = [name for name in self.parameters if name not in sources]
        if missing:
            raise ValueError(
                f"{self.settings.approximant} needs {', '.join(self.parameters)} of each source: "
                f"{', '.join(missing)} missing in {', '.join(sources)}"
            )
        self.failures = []
        return self._sifted(sources, self.failures)

    def _sifted(self, sources: Sources, failures: list[Failure]) -> Iterator[Batch]:
        largest = self.largest(sources)
        for made in self.make(sources):
            if isinstance(made, Failure):
                failures.append(made)
                continue
            peak = torch.maximum(made.plus.abs().amax(dim=-1), made.cross.abs().amax(dim=-1))
            peak = peak.cpu().numpy()
            most = largest[made.index]
            good = (peak > 0) & (peak < most)  # NaN is not
            for which in np.flatnonzero(~good):
                reason = (
                    f"its strain peaks at {peak[which]:.3g}, expected above 0 and below "
                    f"{most[which]:.3g}"
                )
                failures.append(failure(sources, int(made.index[which]), reason))
            if good.all():
                yield made
            elif good.any():
                rows = torch.from_numpy(np.flatnonzero(good)).to(made.plus.device)
                yield Batch(made.index[good], made.plus[rows], made.cross[rows])

    def polarizations(self, sources: Sources) -> tuple[Tensor, Tensor, np.ndarray]:
        """See `SignalModel`."""
        count = num_sources(sources)
        plus = torch.zeros((count, self.size), dtype=torch.float64, device=self.device)
        cross = torch.zeros_like(plus)
        good = np.zeros(count, dtype=bool)
        for batch in self.batches(sources):
            plus[batch.index], cross[batch.index] = batch.plus, batch.cross
            good[batch.index] = True
        return plus, cross, good

    def spectra(self, sources: Sources, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """See `SignalModel`."""
        raise ValueError(
            f"{self.settings.generator}'s {self.settings.approximant} has no spectra here: take "
            "the Fourier transform of its polarizations"
        )


def failure(sources: Sources, index: int, reason: str) -> Failure:
    """The failure of one of the sources."""
    return Failure(index, {name: float(v[index]) for name, v in sources.items()}, reason)


def num_sources(sources: Sources) -> int:
    """How many sources these are."""
    return len(next(iter(sources.values())))


def rows_of(sources: Sources, rows: np.ndarray | slice) -> dict[str, np.ndarray]:
    """Some of the sources."""
    return {name: values[rows] for name, values in sources.items()}


def best_device() -> torch.device:
    """The GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
