"""Distributions of the source-frame masses of a binary, the first the heavier."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from bilby.core.prior import ConditionalPowerLaw, PowerLaw, Uniform


class MassDensity(Protocol):
    """A density of two source-frame masses with mass_1 >= mass_2."""

    def log_prob(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density; -inf outside its support [log 1/Msun^2]."""


class MassDistribution(MassDensity, Protocol):
    """A density that can be sampled."""

    def rescale(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn numbers uniform in [0, 1), of shape (2, n), into masses [Msun]."""


@dataclass(frozen=True)
class PowerLawMasses:
    """A power law in the heavier mass, and one in the lighter given the heavier.

    Attributes:
        alpha: Exponent of the heavier mass.
        beta: Exponent of the lighter mass, on [minimum, mass_1].
        minimum: Least mass of either [Msun].
        maximum: Largest mass [Msun].
    """

    alpha: float
    beta: float
    minimum: float
    maximum: float

    def _primary(self) -> PowerLaw:
        return PowerLaw(alpha=self.alpha, minimum=self.minimum, maximum=self.maximum)

    def _secondary(self) -> ConditionalPowerLaw:
        def bounds(reference: dict[str, float], mass_1: np.ndarray) -> dict[str, object]:
            return {**reference, "maximum": mass_1}

        return ConditionalPowerLaw(
            condition_func=bounds, alpha=self.beta, minimum=self.minimum, maximum=self.maximum
        )

    def rescale(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `MassDistribution`."""
        mass_1 = np.asarray(self._primary().rescale(uniform[0]))
        mass_2 = np.asarray(self._secondary().rescale(uniform[1], mass_1=mass_1))
        # the power of a power may exceed the bound by rounding
        return mass_1, np.minimum(mass_2, mass_1)

    def log_prob(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """See `MassDensity`."""
        # where the heavier mass is no larger than the minimum, the lighter has no support at all
        inside = (mass_1 > self.minimum) & (mass_1 <= self.maximum) & (mass_2 <= mass_1)
        safe = np.where(inside, mass_1, self.maximum)
        with np.errstate(divide="ignore"):
            log_prob = self._primary().ln_prob(safe) + self._secondary().ln_prob(
                mass_2, mass_1=safe
            )
        return np.where(inside, log_prob, -np.inf)


@dataclass(frozen=True)
class UniformMasses:
    """The larger and the smaller of two masses that are uniform and independent.

    Attributes:
        minimum: Least mass [Msun].
        maximum: Largest mass [Msun].
    """

    minimum: float
    maximum: float

    def rescale(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `MassDistribution`."""
        masses = np.sort(Uniform(self.minimum, self.maximum).rescale(uniform), axis=0)
        return masses[1], masses[0]

    def log_prob(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """See `MassDensity`."""
        inside = (self.minimum <= mass_2) & (mass_2 <= mass_1) & (mass_1 <= self.maximum)
        return np.where(inside, np.log(2 / (self.maximum - self.minimum) ** 2), -np.inf)


@dataclass(frozen=True)
class LogNormalMasses:
    """The larger and the smaller of two independent log-normal masses: a target of reweighting.

    Sensitive volumes are quoted for such narrow populations around a pair of masses.

    Attributes:
        median_1: Median of one mass [Msun].
        median_2: Median of the other [Msun].
        width: Standard deviation of the logarithm of either mass.
    """

    median_1: float
    median_2: float
    width: float = 0.1

    def log_prob(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """See `MassDensity`."""
        # bilby's LogNormal takes arrays of one axis only

        def one(mass: np.ndarray, median: float) -> np.ndarray:
            deviation = np.log(mass / median) / self.width
            return -np.square(deviation) / 2 - np.log(mass * self.width * np.sqrt(2 * np.pi))

        # either of the two may be the heavier one
        log_prob = np.logaddexp(
            one(mass_1, self.median_1) + one(mass_2, self.median_2),
            one(mass_2, self.median_1) + one(mass_1, self.median_2),
        )
        return np.where(mass_2 <= mass_1, log_prob, -np.inf)
