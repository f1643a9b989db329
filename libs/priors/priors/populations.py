"""Populations of sources, to be sampled."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from astropy.cosmology import FLRW
from bilby.core.prior import Cosine, Prior, Uniform

from priors.conversions import order_components
from priors.cosmology import (
    comoving_time_volume,
    luminosity_distance,
    named_cosmology,
    redshift_at,
)
from priors.definitions import NAMES, Definition, Frame, Kind, read_definition
from priors.densities import (
    MassPairDensity,
    RedshiftDensity,
    constrained_elsewhere,
    quantity,
    rescale,
    why_unknown,
)
from priors.parameters import COLUMN, NUM_COLUMNS, SPINS, plain_parameters

# When this many draws pass not one constraint, there is nothing to be had.
MOST_DRAWS_IN_VAIN = 1_000_000
# Rows drawn in one go where constraints reject some.
MOST_AT_ONCE = 1 << 18


class Population:
    """Sources of one kind, as their definition has them.

    Args:
        definition: What they are.

    Attributes:
        name: Name with its arguments, or the file.
        about: One line about it; empty for a `.prior` file.
        kind: `binary`, two masses and spins; or `burst`, a frequency and a quality, no masses.
        frame: `source` or `detector`: that of the masses in which the priors are written. Bursts
            are of the detector frame. `sample` gives both frames' masses in either case.
        cosmology: The cosmology that relates redshift, distance and volume.

    Raises:
        ValueError: The redshifts have no end, or none is below the largest one asked for.
    """

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.name, self.about = definition.name, definition.about
        self.kind: Kind = definition.kind
        self.frame: Frame = definition.frame
        self.cosmology: FLRW = named_cosmology(definition.cosmology)
        self._redshift = self._cut_redshift()

    def _cut_redshift(self) -> RedshiftDensity | None:
        name, redshift_max = self.definition.distance, self.definition.redshift_max
        if name is None:
            return None
        prior, cut = self.definition.priors[name], 1.0
        asked = redshift_max
        if redshift_max is not None and name == "luminosity_distance":
            asked = float(luminosity_distance(np.array(redshift_max), self.cosmology))
        top = prior.maximum
        # a limit that went through the prior's own conversions may differ in the last digits
        if asked is not None and asked < top * (1 - 1e-9):
            top, cut = asked, float(prior.cdf(np.array(asked)))
        if not (np.isfinite(top) and cut > 0 and prior.minimum >= 0):
            raise ValueError(
                f"population {self.name} has {name} on [{prior.minimum:g}, {prior.maximum:g}], "
                f"and redshift_max is {redshift_max}: nothing is left, or there is no end"
            )
        limits = np.array([prior.minimum, top], dtype=np.float64)
        low, high = limits if name == "redshift" else redshift_at(limits, self.cosmology)
        return RedshiftDensity(self.definition, float(low), float(high), cut)

    @property
    def redshift_min(self) -> float | None:
        """Least redshift; None for bursts without a distance."""
        return None if self._redshift is None else self._redshift.redshift_min

    @property
    def redshift_max(self) -> float | None:
        """Largest redshift; None for bursts without a distance."""
        return None if self._redshift is None else self._redshift.redshift_max

    @property
    def volume(self) -> float:
        """Integral of dVc/dz / (1 + z) over the redshifts and the sky [Gpc^3].

        Raises:
            ValueError: The sources are not on the whole sky, have no range of distances, or a
                constraint that changes them.
        """
        redshift, elsewhere = self._redshift, constrained_elsewhere(self.definition)
        if redshift is None or not redshift.redshift_min < redshift.redshift_max:
            raise ValueError(f"population {self.name} has no range of distances, and so no volume")
        if elsewhere is not None:
            raise ValueError(f"population {self.name} has no known volume: {elsewhere}")
        if not _is_isotropic(self.definition.priors["ra"], self.definition.priors["dec"]):
            raise ValueError(
                f"population {self.name} has its own ra or dec, but a volume counts the whole sky"
            )
        return comoving_time_volume(redshift.redshift_max, redshift.redshift_min, self.cosmology)

    def sample(self, n: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw sources.

        Each parameter comes from uniform numbers of `generator` through bilby's inverse
        distribution function, so bilby's own random state plays no part. Sources that violate a
        constraint are left out and the next ones taken, each converted on its own. Two samples,
        one after the other, are the same sources as one of their joint length.

        Args:
            n: How many.
            generator: Source of the random numbers.

        Returns:
            float64 arrays of length n by bilby's names. Always `theta_jn`, `phase`, `psi`, `ra`,
            `dec` [rad]; with a distance `redshift` and `luminosity_distance` [Mpc].
            For binaries masses [Msun] of both frames (`mass_1_source >= mass_2_source`), spin
            magnitudes and angles [rad], zero where there is no prior, and `lambda_1`, `lambda_2`
            if given. For bursts `frequency` [Hz], `quality`, and as given `epsilon`, `hrss`
            [1/sqrt(Hz)] and `eccentricity`.
            `log_prior` is the logarithm of the density of source-frame masses [1/Msun^2] and
            redshift, the latter relative to that of a constant rate (`priors.densities`); it is
            left out where that is not known, see `density_unknown`.

        Raises:
            ValueError: No draw satisfies the constraints, or a mass is not positive.
        """
        parts: list[dict[str, np.ndarray]] = []
        missing, drawn, in_vain = n, 0, 0
        while missing > 0 or not parts:
            state = generator.bit_generator.state
            rows = missing
            if self.definition.constraints:
                rows = min(max(2 * missing + 64, drawn), MOST_AT_ONCE)
            sources = self._convert(generator.random((rows, NUM_COLUMNS)))
            if self.kind == "binary":
                sources = order_components(sources)
            kept = np.flatnonzero(self._allowed(sources))
            if len(kept) >= missing:
                # as if no more had been drawn than are used
                used = int(kept[missing - 1]) + 1 if missing else 0
                generator.bit_generator.state = state
                generator.random((used, NUM_COLUMNS))
                kept = kept[:missing]
            parts.append({name: values[kept] for name, values in sources.items()})
            missing -= len(kept)
            in_vain = 0 if len(kept) else in_vain + rows
            drawn += rows
            if in_vain > MOST_DRAWS_IN_VAIN:
                raise ValueError(
                    f"none of {in_vain} draws from population {self.name} satisfies its "
                    f"constraints on {', '.join(self.definition.constraints)}: widen them"
                )
        sources = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if self.density_unknown is None:
            sources["log_prior"] = self._log_prior(sources)
        return sources

    def log_prob_source_masses(
        self, mass_1: np.ndarray, mass_2: np.ndarray, redshift: np.ndarray | None = None
    ) -> np.ndarray:
        """Natural logarithm of the density of the source-frame masses [log 1/Msun^2].

        Args:
            mass_1: Heavier mass [Msun].
            mass_2: Lighter mass [Msun].
            redshift: Redshift of each pair. Needed where the population is of the detector frame:
                the density is then that given the redshift.

        Returns:
            One value for each pair; -inf where the population has none.

        Raises:
            ValueError: The density is not known, or depends on the redshift, which is not given.
        """
        if self.density_unknown is not None or self.kind == "burst":
            raise ValueError(
                f"population {self.name} has no known density of source-frame masses: "
                f"{self.density_unknown or 'it has no masses'}"
            )
        stretch = np.ones(())
        if self.frame == "detector":
            if redshift is None:
                raise ValueError(
                    f"population {self.name} is of detector-frame masses, whose source-frame "
                    "density depends on the redshift: give it, or use a population with "
                    "frame: source"
                )
            stretch = 1 + np.asarray(redshift, dtype=np.float64)
        one, two, stretch = np.broadcast_arrays(
            np.asarray(mass_1, np.float64), np.asarray(mass_2, np.float64), stretch
        )
        # bilby's log-normal takes arrays of one axis only
        flat = stretch.ravel()
        log_prob = self._masses.log_prob(one.ravel() * flat, two.ravel() * flat)
        return (log_prob + 2 * np.log(flat)).reshape(stretch.shape)

    @cached_property
    def density_unknown(self) -> str | None:
        """Why the density of masses and redshift is not known; None if it is."""
        return why_unknown(self.definition)

    @cached_property
    def _masses(self) -> MassPairDensity:
        return MassPairDensity(self.definition)

    def _log_prior(self, sources: dict[str, np.ndarray]) -> np.ndarray:
        redshift = sources["redshift"]
        log_prior = np.zeros(len(redshift))
        if self._redshift is not None:
            log_prior = self._redshift.log_ratio(redshift)
        if self.kind == "binary":
            masses = sources["mass_1_source"], sources["mass_2_source"]
            given = redshift if self.frame == "detector" else None
            log_prior = log_prior + self.log_prob_source_masses(*masses, given)
        return log_prior

    def _convert(self, uniform: np.ndarray) -> dict[str, np.ndarray]:
        """Turn numbers in [0, 1), of shape (source, column), into parameters."""
        columns = np.ascontiguousarray(uniform.T)
        distance = self.definition.distance
        if self._redshift is not None:
            columns[COLUMN[str(distance)]] *= self._redshift.cut
        drawn: dict[str, np.ndarray] = {}
        for name in self.definition.order:
            prior = self.definition.priors[name]
            drawn[name] = rescale(prior, columns[COLUMN[name]], drawn)
        sources = plain_parameters(drawn)
        if "redshift" in drawn:
            sources["luminosity_distance"] = luminosity_distance(drawn["redshift"], self.cosmology)
        elif distance is not None:
            sources["redshift"] = redshift_at(drawn[distance], self.cosmology)
        pair = self.definition.mass_pair
        if pair is None:
            return sources
        for name in SPINS:
            sources.setdefault(name, np.zeros(len(uniform)))
        masses = pair.masses(*(sources.pop(name) for name in pair.names))
        return self._with_masses(sources, *masses)

    def _with_masses(
        self, sources: dict[str, np.ndarray], first: np.ndarray, second: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Add the masses of both frames, from those of the population's."""
        if not ((first > 0) & (second > 0)).all():
            raise ValueError(f"population {self.name} gives masses that are not positive")
        stretch = 1 + sources["redshift"]
        for number, mass in ((1, first), (2, second)):
            in_source = self.frame == "source"
            sources[f"mass_{number}_source"] = mass if in_source else mass / stretch
            sources[f"mass_{number}_detector"] = mass * stretch if in_source else mass
        return sources

    def _allowed(self, sources: dict[str, np.ndarray]) -> np.ndarray:
        allowed = np.ones(len(sources["dec"]), dtype=bool)
        for name, constraint in self.definition.constraints.items():
            allowed &= constraint.prob(quantity(name, sources)) > 0
        return allowed


def _is_isotropic(ra: Prior, dec: Prior) -> bool:
    whole = isinstance(ra, Uniform) and isinstance(dec, Cosine)
    turn, half = ra.maximum - ra.minimum, dec.maximum - dec.minimum
    return whole and bool(np.allclose([turn, half], [2 * np.pi, np.pi], rtol=1e-6))


def population(name: str, redshift_max: float | None = None) -> Population:
    """Population of a name.

    Args:
        name: One of `NAMES`, with its arguments if it takes any: `gaussian_masses(35,30,2)`.
        redshift_max: Largest redshift drawn; the population's own if None.

    Raises:
        ValueError: No population has this name (those that exist are listed), its arguments do
            not fit, or the redshift is not positive.
    """
    if name.partition("(")[0] not in NAMES:
        raise ValueError(f"no population {name!r}: there are {', '.join(NAMES)}")
    return load_population(name, redshift_max)


def load_population(
    name_or_path: str, redshift_max: float | None = None, folder: str | Path | None = None
) -> Population:
    """Population of a name or of a file.

    Args:
        name_or_path: As for `population`, or a file that ends in `.yaml`, `.yml` or `.prior`.
        redshift_max: Largest redshift drawn; what the file has beyond it is cut off. The file's
            own if None.
        folder: Folder that a relative path starts from, that of the experiment; the current one
            if None.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No such name, or the file is not sound; the sentence says why.
    """
    base = None if folder is None else Path(folder)
    return Population(read_definition(str(name_or_path), redshift_max, base))
