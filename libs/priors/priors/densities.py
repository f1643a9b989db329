"""Exact densities of the masses and the redshift of a population.

With p(m1, m2 | z) the density of the source-frame masses and p(z) that of the redshift, the
density that weights divide by is

    p(m1, m2 | z) p(z) / p0(z)

where p0, proportional to dVc/dz / (1 + z) on the same redshifts, is that of sources at a constant
rate per comoving volume and source-frame time. So w = q(m1, m2) / density turns draws into those
of sources with the masses q at a constant rate, whatever frame and redshifts they are drawn in.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from bilby.core.prior import Prior
from bilby.gw.prior import UniformSourceFrame

from priors.conversions import MASS_DIMENSION, QUANTITIES, MassPair
from priors.cosmology import (
    comoving_time_volume,
    distance_slope,
    luminosity_distance,
    named_cosmology,
    time_volume_density,
)
from priors.definitions import Definition

# Cells of probability for the share that constraints leave: kinks cost about 1 / ROWS^2
ROWS, CELLS, BISECTIONS = 2048, 64, 40


def why_unknown(definition: Definition) -> str | None:
    """Why the density of masses and redshift is not known exactly; None if it is."""
    if definition.distance is None:
        return "it has no distance"
    pair = definition.mass_pair
    names = pair.names if pair else ()
    for name in (*names, definition.distance):
        prior = definition.priors[name]
        if prior.is_fixed:
            return f"its {name} is fixed"
        others = set(getattr(prior, "required_variables", [])) - set(names)
        if others:
            return f"its {name} depends on {', '.join(sorted(others))}"
    return constrained_elsewhere(definition)


def constrained_elsewhere(definition: Definition) -> str | None:
    """What is constrained other than the masses, in the frame that they are given in."""
    for name in definition.constraints:
        base = name.removesuffix(f"_{definition.frame}")
        if definition.kind == "burst" or base not in QUANTITIES:
            return f"it constrains {name}, and not the {definition.frame}-frame masses alone"
    return None


@dataclass(frozen=True)
class MassPairDensity:
    """Density of two masses, in the frame that they are given in, the first the heavier.

    Attributes:
        definition: The population; a binary whose density is known.
    """

    definition: Definition

    @property
    def _pair(self) -> MassPair:
        pair = self.definition.mass_pair
        assert pair is not None
        return pair

    def log_prob(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """Natural logarithm of the density; -inf outside its support [log 1/Msun^2].

        Args:
            mass_1: Heavier mass [Msun], of shape (source,).
            mass_2: Lighter mass [Msun].
        """
        with np.errstate(all="ignore"):
            # a pair that was drawn the other way round is called by the same names
            log_prob = np.logaddexp(
                self._log_drawn(mass_1, mass_2), self._log_drawn(mass_2, mass_1)
            )
            inside = (mass_1 >= mass_2) & (mass_2 > 0) & self._allowed(mass_1, mass_2)
        return np.where(inside, log_prob - np.log(self.kept), -np.inf)

    @cached_property
    def kept(self) -> float:
        """Probability that the constraints leave, to about 1e-6.

        The unit square of the two parameters' cumulative probabilities is cut into rows. In each,
        every limit of a constraint is met where the quantity crosses it (found by bisection, one
        crossing in each of 64 cells), and what lies between two neighbouring crossings is allowed
        or not as a whole.

        Raises:
            ValueError: The constraints leave nothing.
        """
        if not self.definition.constraints:
            return 1.0
        with np.errstate(all="ignore"):  # masses at the ends of probability may be 0 or infinite
            kept = self._integrate()
        if not kept > 0:
            raise ValueError(f"the constraints of population {self.definition.name} leave nothing")
        return kept

    def _integrate(self) -> float:
        rows = (np.arange(ROWS) + 0.5) / ROWS
        number = np.arange(ROWS)
        edges = [(number, np.zeros(ROWS)), (number, np.ones(ROWS))]
        for name, constraint in self.definition.constraints.items():
            for limit in (constraint.minimum, constraint.maximum):
                for flipped in (False, True):
                    edges.append(self._crossings(rows, name, limit, flipped))
        row, edge = (np.concatenate(parts) for parts in zip(*edges, strict=True))
        order = np.lexsort((edge, row))
        row, edge = row[order], edge[order]
        neighbours = row[1:] == row[:-1]
        length = (edge[1:] - edge[:-1])[neighbours]
        middle = ((edge[1:] + edge[:-1]) / 2)[neighbours]
        masses = self._masses_at(rows[row[1:][neighbours]], middle)
        inside = self._allowed(np.maximum(*masses), np.minimum(*masses))
        return float(np.sum(length[inside]) / ROWS)

    def _crossings(
        self, rows: np.ndarray, name: str, limit: float, flipped: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Number of the row and place in it of where a quantity is at a limit.

        `flipped` exchanges the masses: ordered ones have a kink where they are equal, but are one
        or the other.
        """
        of = QUANTITIES[name.removesuffix(f"_{self.definition.frame}")]

        def above(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            masses = self._masses_at(first, second)
            return of(*(masses[::-1] if flipped else masses)) > limit

        shape = (len(rows), CELLS + 1)
        grid = np.broadcast_to(np.linspace(0, 1, CELLS + 1), shape)
        at_grid = above(np.broadcast_to(rows[:, None], shape).ravel(), grid.ravel()).reshape(shape)
        row, cell = np.nonzero(at_grid[:, 1:] != at_grid[:, :-1])
        low, high, end = grid[row, cell], grid[row, cell + 1], at_grid[row, cell + 1]
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            before = above(rows[row], middle) != end
            low, high = np.where(before, middle, low), np.where(before, high, middle)
        return row, low

    def _masses_at(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Masses as drawn at cumulative probabilities, of shape (point,)."""
        uniform = iter((first, second))
        drawn: dict[str, np.ndarray] = {}
        for name in self.definition.order:
            if name in self._pair.names:
                drawn[name] = rescale(self.definition.priors[name], next(uniform), drawn)
        return self._pair.masses(*(drawn[name] for name in self._pair.names))

    def _allowed(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """Whether the constraints hold for masses of which the first is the heavier."""
        allowed = np.ones(mass_1.shape, dtype=bool)
        for name, constraint in self.definition.constraints.items():
            base = name.removesuffix(f"_{self.definition.frame}")
            allowed &= constraint.prob(QUANTITIES[base](mass_1, mass_2)) > 0
        return allowed

    def _log_drawn(self, mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
        """Log density of masses in the order in which they are drawn, not normalised."""
        pair = self._pair
        values = dict(zip(pair.names, pair.parameters(mass_1, mass_2), strict=True))
        log_prob = pair.log_jacobian(mass_1, mass_2)
        for name in pair.names:
            log_prob = log_prob + log_prob_of(self.definition.priors[name], values[name], values)
        # where one factor is zero, one that is conditional on it may be infinite or no number
        return np.where(np.isfinite(log_prob), log_prob, -np.inf)


@dataclass(frozen=True)
class RedshiftDensity:
    """Density of the redshift over that of sources at a constant rate.

    Attributes:
        definition: The population; one that has a distance.
        redshift_min: Least redshift.
        redshift_max: Largest redshift.
        cut: Probability below the largest redshift, in the prior as it is written.
    """

    definition: Definition
    redshift_min: float
    redshift_max: float
    cut: float

    def log_ratio(self, redshift: np.ndarray) -> np.ndarray:
        """Logarithm of p(z) / p0(z), see the module; 0 where the two are the same."""
        name = str(self.definition.distance)
        prior = self.definition.priors[name]
        if type(prior) is UniformSourceFrame:
            return np.zeros_like(redshift)
        cosmology = named_cosmology(self.definition.cosmology)
        volume = comoving_time_volume(self.redshift_max, self.redshift_min, cosmology)
        with np.errstate(all="ignore"):
            if name == "redshift":
                log_prob = np.asarray(prior.ln_prob(redshift))
            else:
                distance = luminosity_distance(redshift, cosmology)
                # the way there and back may leave the range by rounding
                distance = np.clip(distance, prior.minimum, prior.maximum)
                log_prob = prior.ln_prob(distance) + np.log(distance_slope(redshift, cosmology))
            constant_rate = np.log(time_volume_density(redshift, cosmology) / volume)
            return log_prob - np.log(self.cut) - constant_rate


def rescale(prior: Prior, uniform: np.ndarray, drawn: dict[str, np.ndarray]) -> np.ndarray:
    """Inverse cumulative distribution of a prior, given what it is conditional on.

    Args:
        prior: The prior.
        uniform: Numbers in [0, 1), of shape (source,).
        drawn: Values of the other parameters.
    """
    required = {name: drawn[name] for name in getattr(prior, "required_variables", [])}
    values = np.asarray(prior.rescale(uniform, **required), dtype=np.float64)
    # a power of a power may exceed the bounds by rounding
    return np.clip(np.broadcast_to(values, uniform.shape), prior.minimum, prior.maximum)


def log_prob_of(prior: Prior, values: np.ndarray, drawn: dict[str, np.ndarray]) -> np.ndarray:
    """Log density of a prior, given what it is conditional on; arguments as for `rescale`."""
    required = {name: drawn[name] for name in getattr(prior, "required_variables", [])}
    return np.asarray(prior.ln_prob(values, **required), dtype=np.float64)


def quantity(name: str, sources: dict[str, np.ndarray]) -> np.ndarray:
    """A parameter of sources, or a mass quantity with its frame, such as `chirp_mass_source`."""
    base, _, frame = name.rpartition("_")
    if base in MASS_DIMENSION and frame in ("source", "detector"):
        return QUANTITIES[base](sources[f"mass_1_{frame}"], sources[f"mass_2_{frame}"])
    if name in QUANTITIES:
        return QUANTITIES[name](sources["mass_1_source"], sources["mass_2_source"])
    return sources[name]
