"""A detector with its witnesses, whose couplings are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from runtime import generator_for

from deepclean.simulation.background import advanced_ligo_psd, background
from deepclean.simulation.randomness import white
from deepclean.simulation.resonances import ring
from deepclean.simulation.settings import Coupling, Simulation
from deepclean.simulation.sources import make_source


@dataclass(frozen=True)
class Simulated:
    """A stretch of simulated data.

    Attributes:
        start: First second [GPS s].
        background: Strain that no witness knows of, of shape (time,).
        noise: What the couplings bring into the strain, of shape (time,): the truth.
        witnesses: Samples of each channel by full name, each at its own rate.
    """

    start: int
    background: np.ndarray
    noise: np.ndarray
    witnesses: dict[str, np.ndarray]

    @property
    def strain(self) -> np.ndarray:
        """What the detector gives."""
        return self.background + self.noise


class Plant:
    """Makes any stretch of a simulation, the same in whatever pieces it is made.

    Args:
        settings: What is simulated.
        ifo: Detector, for the names of the channels.
    """

    def __init__(self, settings: Simulation, ifo: str) -> None:
        self.settings = settings
        self.ifo = ifo
        self.sources = {
            name: make_source(source, settings.seed, name)
            for name, source in settings.sources.items()
        }

    @property
    def rates(self) -> dict[str, int]:
        """Sample rate of each witness by full name [Hz]."""
        return {f"{self.ifo}:{n}": sensor.rate for n, sensor in self.settings.witnesses.items()}

    def dropped(self, second: int) -> bool:
        """Whether the witnesses' frame of a second is never written."""
        random = generator_for(self.settings.seed, "deepclean", "dropped", second)
        return bool(random.random() < self.settings.drop_rate)

    def __call__(self, start: int, stop: int) -> Simulated:
        """Make whole seconds.

        Args:
            start: First second [GPS s].
            stop: Second after the last [GPS s].
        """
        settings = self.settings
        strain = background(settings.seed, settings.strain_rate, start, stop)
        return Simulated(
            start=start,
            background=strain + self._glitches(start, stop),
            noise=self._coupled(start, stop),
            witnesses={
                f"{self.ifo}:{name}": self._sensed(name, start, stop)
                for name in settings.witnesses
            },
        )

    def _sensed(self, name: str, start: int, stop: int) -> np.ndarray:
        sensor = self.settings.witnesses[name]
        source = self.sources[sensor.source]
        seen = source(sensor.rate, start * sensor.rate, stop * sensor.rate)
        own = white(self.settings.seed, f"sensor {name}", sensor.rate, start, stop)
        return (sensor.gain * (seen + sensor.noise * own)).astype(np.float32)

    def _coupled(self, start: int, stop: int) -> np.ndarray:
        rate = self.settings.strain_rate
        time = start + np.arange((stop - start) * rate) / rate
        total = np.zeros(len(time))
        for coupling in self.settings.couplings:
            delay = round(coupling.delay * rate)
            size = coupling.size * float(np.sqrt(advanced_ligo_psd(np.array(coupling.at))))
            swing = 1 + coupling.drift * np.sin(
                2 * np.pi * np.mod(time, coupling.period) / coupling.period
            )
            driven = self._driven(coupling, start * rate - delay, stop * rate - delay)
            total += size * swing * driven
        return total

    def _driven(self, coupling: Coupling, first: int, stop: int) -> np.ndarray:
        """What the sources of a coupling bring about, of unit size, from sample to sample."""
        rate = self.settings.strain_rate
        sources = [self.sources[name] for name in coupling.sources]
        if coupling.resonance is not None:
            return ring(sources[0], coupling.resonance, rate, first, stop)
        product = np.ones(stop - first)
        for source in sources:
            product *= source(rate, first, stop)
        return product

    def _glitches(self, start: int, stop: int) -> np.ndarray:
        """Sine-Gaussians at 150 Hz, at most one in a second, whole within it."""
        settings = self.settings
        rate = settings.strain_rate
        total = np.zeros((stop - start) * rate)
        if not settings.glitches.rate:
            return total
        size = settings.glitches.size * float(np.sqrt(advanced_ligo_psd(np.array(150.0))))
        for i, second in enumerate(range(start, stop)):
            random = generator_for(settings.seed, "deepclean", "glitch", second)
            if random.random() < settings.glitches.rate:
                offset = np.arange(rate) / rate - random.uniform(0.2, 0.8)
                shape = np.exp(-((offset / 0.02) ** 2)) * np.cos(2 * np.pi * 150 * offset)
                total[i * rate : (i + 1) * rate] = size * shape
        return total
