"""Joint density of all parameters of a population, for weights from one population to another.

A source is drawn in the order and in the parameters that its population is written in: two masses
or one and a ratio, of the source or of the detector frame, spins by their components or along the
orbit. What is kept of it are source-frame masses, the heavier first, and each body's spin with it.
So the density of what is kept is the sum over the two orders in which it may have been drawn,

    p = (1 + z)^2 [p(m1, s1; m2, s2) + p(m2, s2; m1, s1)] p(z) / p0(z)

with the factor (1 + z)^2 where the masses drawn are of the detector frame: (1 + z) for each mass.
As in `priors.densities` the density of the redshift is relative to p0, proportional to
dVc/dz / (1 + z) on the population's own redshifts: sources at a constant rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from bilby.core.prior import DeltaFunction, Prior
from priors import Population, luminosity_distance
from priors.densities import MassPairDensity, RedshiftDensity, log_prob_of, quantity
from priors.parameters import SPINS, TIDES, plain_parameters

Parameters = Mapping[str, np.ndarray]

ANGLES = ("theta_jn", "phase", "psi", "ra", "dec")
# A parameter and its other names in a population
_OTHER_NAMES = {
    "a_1": ("chi_1",),
    "a_2": ("chi_2",),
    "tilt_1": ("cos_tilt_1", "chi_1"),
    "tilt_2": ("cos_tilt_2", "chi_2"),
    "theta_jn": ("cos_theta_jn",),
}
# A parameter of one body and that of the other
_PARTNERS = {
    f"{name}_{i}": f"{name}_{j}" for name in ("a", "tilt", "lambda") for i, j in ("12", "21")
}


class SourceDensity:
    """Density of the sources of a population of binaries.

    Args:
        population: The population.

    Raises:
        ValueError: It has no density, or is none of binaries; the sentence says why.
    """

    def __init__(self, population: Population) -> None:
        definition = population.definition
        unknown = population.density_unknown
        if population.kind == "burst" or unknown is not None or definition.mass_pair is None:
            raise ValueError(
                f"population {population.name} has no density to weight by: "
                f"{unknown or 'its sources have no masses'}"
            )
        self.population = population
        self.volume = population.volume
        self._definition = definition
        self._pair = definition.mass_pair
        self._masses = MassPairDensity(definition)
        self._redshift = _redshift_density(population)

    def origin(self, name: str) -> str | None:
        """What a stored parameter is drawn as, such as `chi_1` for `a_1`; None if it is zero."""
        priors = self._definition.priors
        names = (name, *_OTHER_NAMES.get(name, ()))
        return next((other for other in names if other in priors), None)

    def prior_of(self, name: str) -> Prior | None:
        """Prior of what a stored parameter is drawn as; None if it is zero."""
        origin = self.origin(name)
        return None if origin is None else self._definition.priors[origin]

    def fixed_value(self, name: str) -> float | None:
        """Value of a stored parameter if all sources have the same; None if it is drawn."""
        origin, prior = self.origin(name), self.prior_of(name)
        if origin is None:
            return 0.0
        if not isinstance(prior, DeltaFunction):
            return None
        plain = plain_parameters({origin: np.array([prior.peak])})
        return float(plain[name][0])

    def log_prob_masses(self, parameters: Parameters) -> np.ndarray:
        """Log density of source-frame masses [1/Msun^2] and redshift, relative to p0.

        Args:
            parameters: `mass_1_source`, `mass_2_source`, `redshift`, of shape (source,).

        Returns:
            One value for each source; -inf where the population has none.
        """
        redshift = parameters["redshift"]
        given = redshift if self.population.frame == "detector" else None
        return self.log_prob_redshift(redshift) + self.population.log_prob_source_masses(
            parameters["mass_1_source"], parameters["mass_2_source"], given
        )

    def log_prob_redshift(self, redshift: np.ndarray) -> np.ndarray:
        """Log of p(z) / p0(z); -inf outside of the population's redshifts."""
        low, high = self._redshift.redshift_min, self._redshift.redshift_max
        # redshifts that come from distances may leave the range by rounding
        inside = (redshift >= low * (1 - 1e-9)) & (redshift <= high * (1 + 1e-9))
        return np.where(inside, self._redshift.log_ratio(np.clip(redshift, low, high)), -np.inf)

    def log_prob(self, parameters: Parameters, names: Sequence[str]) -> np.ndarray:
        """Log density of masses, redshift, and further parameters.

        Args:
            parameters: Parameters of sources by name, each of shape (source,), source-frame
                masses with the heavier first.
            names: Which parameters to include besides masses and redshift; what is left out is
                the same in both populations (`differing`).

        Returns:
            One value for each source; -inf where the population has none.
        """
        redshift = parameters["redshift"]
        stretch = 1 + redshift if self.population.frame == "detector" else np.ones_like(redshift)
        mass_1, mass_2 = (parameters[f"mass_{i}_source"] * stretch for i in "12")
        flipped = dict(parameters)
        for one, other in _PARTNERS.items():
            if other in parameters:
                flipped[one] = parameters[other]
        if "phi_12" in parameters:
            flipped["phi_12"] = -parameters["phi_12"] % (2 * np.pi)
        with np.errstate(all="ignore"):
            log_prob = np.logaddexp(
                self._log_drawn(mass_1, mass_2, parameters, names),
                self._log_drawn(mass_2, mass_1, flipped, names),
            )
        allowed = mass_1 >= mass_2
        for name, constraint in self._definition.constraints.items():
            allowed = allowed & (constraint.prob(quantity(name, dict(parameters))) > 0)
        log_prob = log_prob + 2 * np.log(stretch) - np.log(self._masses.kept)
        return np.where(allowed, log_prob, -np.inf) + self.log_prob_redshift(redshift)

    def _log_drawn(
        self, first: np.ndarray, second: np.ndarray, parameters: Parameters, names: Sequence[str]
    ) -> np.ndarray:
        """Log density in the order and the frame in which masses are drawn, not normalised."""
        drawn = _as_drawn(self._definition.priors, parameters)
        drawn |= zip(self._pair.names, self._pair.parameters(first, second), strict=True)
        log_prob = self._pair.log_jacobian(first, second)
        included = dict.fromkeys(self._pair.names)
        for name in names:
            fixed = self.fixed_value(name)
            if fixed is not None:
                # all of the probability lies at one value
                there = np.abs(parameters[name] - fixed) < 1e-9
                log_prob = log_prob + np.where(there, 0.0, -np.inf)
                continue
            origin = str(self.origin(name))
            if origin.startswith("cos_"):
                log_prob = log_prob + np.log(np.sin(parameters[name]))
            included[origin] = None
        for key in included:
            log_prob = log_prob + log_prob_of(self._definition.priors[key], drawn[key], drawn)
        return np.where(np.isfinite(log_prob), log_prob, -np.inf)


def differing(target: SourceDensity, source: SourceDensity) -> tuple[str, ...]:
    """Parameters, besides masses and redshift, in which two populations differ.

    Spins and tides are taken together: if one of them differs, or the two bodies have different
    ones, their density does not come apart from that of the masses.

    Raises:
        ValueError: One of the populations has a fixed value where the other has a distribution,
            or another one: no weights turn one into the other.
    """
    alike = []
    for name in (*SPINS, *TIDES, *ANGLES):
        values = [density.fixed_value(name) for density in (target, source)]
        along = [(density.origin(name) or "").startswith("chi") for density in (target, source)]
        if values[0] == values[1] and (values[0] is not None or along[0] == along[1]):
            alike.append(name)
        else:
            words = [
                f"{value:g}" if value is not None else ("along the orbit" if chi else "drawn")
                for value, chi in zip(values, along, strict=True)
            ]
            raise ValueError(
                f"no weights lead from population {source.population.name} to "
                f"{target.population.name}: {name} is {words[1]} in the first and {words[0]} in "
                "the second. Name in evaluation.populations what differs from waveforms.prior in "
                "densities alone"
            )
    bodies = [name for name in alike if name not in ANGLES]
    changed = {name for name in alike if target.prior_of(name) != source.prior_of(name)}
    unlike = {
        name
        for name in bodies
        for density in (target, source)
        if density.prior_of(name) != density.prior_of(_PARTNERS.get(name, name))
    }
    if not (changed | unlike) & set(bodies):
        return tuple(name for name in alike if name in changed)
    # what is the same for both bodies of both populations takes no part
    plain = {name for name in bodies if source.fixed_value(name) is not None} - unlike
    return tuple(name for name in alike if name in changed or name in set(bodies) - plain)


def log_weights(
    target: SourceDensity, source: SourceDensity, parameters: Parameters
) -> np.ndarray:
    """Log of the target's over the source's density at draws from the source.

    Both are relative to a constant rate on their own redshifts, so that the weights' mean over
    draws is the ratio of the two populations' volumes.

    Args:
        target: Population to weight to.
        source: Population of the draws.
        parameters: Parameters of the draws by name, each of shape (draw,).

    Raises:
        ValueError: No weights lead from one to the other (`differing`), their cosmologies differ,
            or a parameter is missing.
    """
    cosmologies = [density.population.cosmology.name for density in (target, source)]
    if cosmologies[0] != cosmologies[1]:
        raise ValueError(
            f"population {target.population.name} has cosmology {cosmologies[0]}, but the "
            f"injections {cosmologies[1]}: give both the same"
        )
    names = differing(target, source)
    needed = ("mass_1_source", "mass_2_source", "redshift", *names)
    missing = [name for name in needed if name not in parameters]
    if missing:
        raise ValueError(
            f"injections have no {', '.join(missing)} among their parameters "
            f"({', '.join(sorted(parameters))}), which weights to population "
            f"{target.population.name} need"
        )
    log_target = target.log_prob(parameters, names)
    # draws have a density: outside of it rounding alone can put them
    log_source = source.log_prob(parameters, names)
    return np.where(np.isfinite(log_source), log_target - log_source, -np.inf)


def _as_drawn(priors: Mapping[str, Prior], parameters: Parameters) -> dict[str, np.ndarray]:
    """Parameters as they are drawn, from those that are kept."""
    drawn = {key: parameters[key] for key in priors if key in parameters}
    for key in priors:
        if key.startswith("cos_") and key[4:] in parameters:
            drawn[key] = np.cos(parameters[key[4:]])
        elif key.startswith("chi_"):
            along = np.where(parameters[f"tilt_{key[-1]}"] > np.pi / 2, -1.0, 1.0)
            drawn[key] = parameters[f"a_{key[-1]}"] * along
    return drawn


def _redshift_density(population: Population) -> RedshiftDensity:
    """Density of the redshift of a population that has one, cut as the population cuts it."""
    definition = population.definition
    assert definition.distance is not None
    assert population.redshift_min is not None
    assert population.redshift_max is not None
    prior = definition.priors[definition.distance]
    top = population.redshift_max
    if definition.distance == "luminosity_distance":
        top = float(luminosity_distance(np.array(top), population.cosmology))
    cut = 1.0
    if top < prior.maximum * (1 - 1e-9):
        cut = float(prior.cdf(np.array(top)))
    return RedshiftDensity(definition, population.redshift_min, population.redshift_max, cut)
