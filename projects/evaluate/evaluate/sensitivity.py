"""Injections found, and sensitive volume, at the experiment's false-alarm rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from runtime import Experiment, generator_for

from evaluate.densities import SourceDensity
from evaluate.inputs import FoldResult
from evaluate.rates import YEAR, thresholds_at_far
from evaluate.targets import Target, pair_target, require_drawn_from
from evaluate.volume import (
    FEW_SAMPLES,
    Draws,
    SensitiveVolume,
    bootstrap_std,
    mean_weight,
    sensitive_volume,
)

# For each fold whether each accepted injection was found
Found = list[np.ndarray]


@dataclass(frozen=True)
class TargetSensitivity:
    """Sensitivity to the sources of a target.

    Attributes:
        at_far: Volume at each false-alarm rate of the experiment; None where the livetime
            supports no threshold.
        bootstrap_std: Standard deviation of each of these from resampled injections [Gpc^3]; None
            where the volume has none.
        covered: Share of the target that the injections' population has sources like.
        curve_far: False-alarm rates of a curve [1/yr].
        curve: Volume at each of these.
    """

    at_far: list[SensitiveVolume | None]
    bootstrap_std: list[float | None]
    covered: float
    curve_far: np.ndarray
    curve: list[SensitiveVolume]


@dataclass(frozen=True)
class PairSensitivity(TargetSensitivity):
    """Sensitivity to sources around one pair of masses.

    Attributes:
        pair: The masses, source frame [Msun].
    """

    pair: tuple[float, float]


@dataclass(frozen=True)
class PopulationSensitivity(TargetSensitivity):
    """Sensitivity to the sources of a population.

    Attributes:
        population: Its name with its arguments, or its file.
        draws: For each fold the injections with weights to it.
    """

    population: str
    draws: list[Draws]


@dataclass(frozen=True)
class Volumes:
    """All sensitive volumes of a search.

    Attributes:
        pairs: Of the mass pairs of the experiment.
        populations: Of its populations.
        warnings: Sentences on what to be careful with.
    """

    pairs: list[PairSensitivity]
    populations: list[PopulationSensitivity]
    warnings: list[str]


def found_at(
    rates: Sequence[float], folds: Sequence[FoldResult], coincidence: float
) -> list[Found | None]:
    """Which accepted injections are found at each of some false-alarm rates.

    Args:
        rates: False-alarm rates [1/yr], each the same in each fold (`evaluate.rates` says why).
        folds: Results of all folds.
        coincidence: Largest distance of the recovered from the injected time [s].

    Returns:
        For each rate, and each fold, whether each injection was found; None if the livetime of a
        fold does not support the rate.
    """
    by_fold = []
    for result in folds:
        background, injections = result.background, result.injections
        near = np.abs(injections.time - injections.injection_time) <= coincidence
        thresholds = thresholds_at_far(rates, background.statistic, background.livetime)
        by_fold.append(
            [None if at is None else near & (injections.statistic >= at) for at in thresholds]
        )
    found: list[Found | None] = []
    for masks in zip(*by_fold, strict=True):
        some = [mask for mask in masks if mask is not None]
        found.append(some if len(some) == len(folds) else None)
    return found


def recover(folds: Sequence[FoldResult], experiment: Experiment) -> dict[float, Found | None]:
    """Which injections are found at each false-alarm rate of the experiment; see `found_at`."""
    rates = experiment.evaluation.false_alarm_rates
    found = found_at(rates, folds, experiment.search.cluster_length)
    return dict(zip(rates, found, strict=True))


def measure_volumes(
    folds: Sequence[FoldResult],
    experiment: Experiment,
    recovered: Mapping[float, Found | None],
    source: SourceDensity | None,
    populations: Sequence[Target] = (),
) -> Volumes:
    """Sensitive volume of each mass pair and of each population of the experiment.

    Args:
        folds: Results of all folds.
        experiment: The experiment.
        recovered: Which injections are found at the experiment's false-alarm rates.
        source: Population of the injections; None for no volumes.
        populations: What to weight to for each population of the experiment.

    Raises:
        ValueError: The injections lack a parameter or are not from the population.
    """
    volumes = Volumes([], [], [])
    if source is None:
        return volumes
    evaluation = experiment.evaluation
    for result in folds:
        for parameters in (result.injections.parameters, result.injections.rejected):
            if parameters:
                where = f"foreground.hdf5 of fold {result.fold}"
                require_drawn_from(source, parameters, where)
    curve_far = curve_rates(folds, evaluation.false_alarm_rates)
    at_curve = found_at(curve_far.tolist(), folds, experiment.search.cluster_length)
    for i, pair in enumerate(evaluation.mass_pairs):
        generator = generator_for(experiment.seed, "evaluate", "pair", i)
        target = pair_target(pair, evaluation.mass_width, source, generator)
        draws = weigh(folds, target, volumes.warnings)
        volumes.pairs.append(
            PairSensitivity(
                *_at_far(draws, recovered, target, generator, volumes.warnings),
                curve_far,
                [sensitive_volume(draws, found) for found in at_curve if found is not None],
                pair=pair,
            )
        )
    for name, target in zip(evaluation.populations, populations, strict=True):
        generator = generator_for(experiment.seed, "evaluate", "bootstrap", name)
        draws = weigh(folds, target, volumes.warnings)
        volumes.populations.append(
            PopulationSensitivity(
                *_at_far(draws, recovered, target, generator, volumes.warnings),
                curve_far,
                [sensitive_volume(draws, found) for found in at_curve if found is not None],
                population=name,
                draws=draws,
            )
        )
    return volumes


def weigh(folds: Sequence[FoldResult], target: Target, warnings: list[str]) -> list[Draws]:
    """Weights of the accepted injections of each fold.

    Args:
        folds: Results of all folds.
        target: What to weight them to.
        warnings: Takes a sentence if the target is not covered, or if the weights of all draws,
            rejected ones included, have another mean than they should.
    """
    if target.warning is not None:
        warnings.append(target.warning)
    draws, all_weights = [], []
    for result in folds:
        injections = result.injections
        accepted, rejected = (
            target.weigh(parameters) if parameters else np.empty(0)
            for parameters in (injections.parameters, injections.rejected)
        )
        all_weights += [accepted, rejected]
        draws.append(
            Draws(
                weights=accepted,
                num_drawn=len(accepted) + len(rejected),
                volume=injections.volume,
                livetime=result.zero_lag.livetime,
            )
        )
    mean, error = mean_weight(np.concatenate(all_weights))
    if abs(mean - target.mean_weight) > 5 * error + 0.01 * target.mean_weight:
        warnings.append(
            f"The weights {target.name} have the mean {mean:.3g} ± {error:.2g}, expected "
            f"{target.mean_weight:.3g}: the injections and the density of their population do not "
            "fit, or there are too few draws of such sources."
        )
    return draws


def _at_far(
    draws: Sequence[Draws],
    recovered: Mapping[float, Found | None],
    target: Target,
    generator: np.random.Generator,
    warnings: list[str],
) -> tuple[list[SensitiveVolume | None], list[float | None], float]:
    """Volumes at the experiment's false-alarm rates, their bootstrap errors, and the cover."""
    volumes: list[SensitiveVolume | None] = []
    errors: list[float | None] = []
    for far, found in recovered.items():
        volume = None if found is None else sensitive_volume(draws, found)
        has_error = found is not None and volume is not None and volume.std is not None
        volumes.append(volume)
        errors.append(bootstrap_std(draws, found, generator) if has_error and found else None)
        if volume is not None and volume.effective_samples < FEW_SAMPLES:
            warnings.append(
                f"The volume {target.name} at {far:g} per year rests on "
                f"{volume.effective_samples:.1f} effective injections (fewer than "
                f"{FEW_SAMPLES:g}): its uncertainty is itself uncertain. More passes of "
                "injections help."
            )
    return volumes, errors, target.covered


def curve_rates(
    folds: Sequence[FoldResult], rates: Sequence[float], num_points: int = 40
) -> np.ndarray:
    """False-alarm rates of a curve: from where every fold has a threshold to the largest.

    Args:
        folds: Results of all folds.
        rates: False-alarm rates of the experiment [1/yr].
        num_points: Number of rates of the curve.
    """
    floor = max(YEAR / result.background.livetime for result in folds)
    # one step of rounding above, so that one event is allowed in every fold
    floor = float(np.nextafter(floor, np.inf))
    top = max(*rates, 10 * floor)
    return np.concatenate([[floor], np.geomspace(floor, top, num_points)[1:]])
