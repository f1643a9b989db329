"""Injections found, and sensitive volume, at the experiment's false-alarm rates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from runtime import Experiment

from evaluate.inputs import FoldResult
from evaluate.rates import YEAR, threshold_at_far
from evaluate.volume import (
    FEW_SAMPLES,
    Draws,
    LogDensity,
    MassTarget,
    SensitiveVolume,
    importance_weights,
    mean_weight,
    sensitive_volume,
)


@dataclass(frozen=True)
class PairSensitivity:
    """Sensitivity to sources around one pair of masses.

    Attributes:
        pair: The masses, source frame [Msun].
        at_far: Volume at each false-alarm rate of the experiment; None where the livetime
            supports no threshold.
        curve_far: False-alarm rates of a curve [1/yr].
        curve: Volume at each of these.
    """

    pair: tuple[float, float]
    at_far: list[SensitiveVolume | None]
    curve_far: np.ndarray
    curve: list[SensitiveVolume]


def found_at(
    far: float, folds: Sequence[FoldResult], coincidence: float
) -> list[np.ndarray] | None:
    """Which accepted injections are found at a false-alarm rate.

    Args:
        far: False-alarm rate [1/yr], the same in each fold (`evaluate.rates` says why).
        folds: Results of all folds.
        coincidence: Largest distance of the recovered from the injected time [s].

    Returns:
        For each fold whether each injection was found; None if the livetime of a fold does not
        support the rate.
    """
    found = []
    for result in folds:
        background, injections = result.background, result.injections
        threshold = threshold_at_far(far, background.statistic, background.livetime)
        if threshold is None:
            return None
        near = np.abs(injections.time - injections.injection_time) <= coincidence
        found.append(near & (injections.statistic >= threshold))
    return found


def recover(
    folds: Sequence[FoldResult], experiment: Experiment
) -> dict[float, list[np.ndarray] | None]:
    """Which injections are found at each false-alarm rate of the experiment; see `found_at`."""
    coincidence = experiment.search.cluster_length
    rates = experiment.evaluation.false_alarm_rates
    return {far: found_at(far, folds, coincidence) for far in rates}


def measure_volumes(
    folds: Sequence[FoldResult],
    experiment: Experiment,
    recovered: Mapping[float, list[np.ndarray] | None],
    population: LogDensity,
    num_points: int = 40,
) -> tuple[list[PairSensitivity], list[str]]:
    """Sensitive volume of each mass pair of the experiment.

    Args:
        folds: Results of all folds.
        experiment: The experiment.
        recovered: Which injections are found at the experiment's false-alarm rates.
        population: Log density of the population in source-frame masses [log 1/Msun^2].
        num_points: Number of false-alarm rates of the curves.

    Returns:
        Volumes of each pair, and warnings.

    Raises:
        ValueError: The injections lack a parameter or are not from the population.
    """
    evaluation = experiment.evaluation
    curve_far = _curve_rates(folds, evaluation.false_alarm_rates, num_points)
    at_curve = [found_at(far, folds, experiment.search.cluster_length) for far in curve_far]
    results, warnings = [], []
    for pair in evaluation.mass_pairs:
        target = MassTarget(pair, evaluation.mass_width, population)
        name = f"({pair[0]:g}, {pair[1]:g}) Msun"
        if target.kept < 0.9:
            warnings.append(
                f"The population of the injections has only {target.kept:.0%} of the mass "
                f"distribution around {name}; the volume is that of this part."
            )
        draws, all_weights = [], []
        for result in folds:
            accepted, rejected = (
                importance_weights(target, *_masses(parameters, result.fold, population))
                for parameters in (result.injections.parameters, result.injections.rejected)
            )
            all_weights.append(np.concatenate([accepted, rejected]))
            draws.append(
                Draws(
                    weights=accepted,
                    num_drawn=len(accepted) + len(rejected),
                    volume=result.injections.volume,
                    livetime=result.zero_lag.livetime,
                )
            )
        mean, error = mean_weight(np.concatenate(all_weights))
        if abs(mean - 1) > 5 * error:
            warnings.append(
                f"The weights around {name} have the mean {mean:.3g} ± {error:.2g}, expected 1: "
                "the injections and the density of their population do not fit, or there are too "
                "few draws with such masses."
            )
        at_far = [
            None if found is None else sensitive_volume(draws, found)
            for found in recovered.values()
        ]
        for far, volume in zip(evaluation.false_alarm_rates, at_far, strict=True):
            if volume is not None and volume.effective_samples < FEW_SAMPLES:
                warnings.append(
                    f"The volume around {name} at {far:g} per year rests on "
                    f"{volume.effective_samples:.1f} effective injections (fewer than "
                    f"{FEW_SAMPLES:g}): its uncertainty is itself uncertain. More passes of "
                    "injections help."
                )
        results.append(
            PairSensitivity(
                pair=pair,
                at_far=at_far,
                curve_far=curve_far,
                curve=[sensitive_volume(draws, found) for found in at_curve if found is not None],
            )
        )
    return results, warnings


def _curve_rates(
    folds: Sequence[FoldResult], rates: Sequence[float], num_points: int
) -> np.ndarray:
    """False-alarm rates of a curve: from where every fold has a threshold to the largest."""
    floor = max(YEAR / result.background.livetime for result in folds)
    # one step of rounding above, so that one event is allowed in every fold
    floor = float(np.nextafter(floor, np.inf))
    top = max(*rates, 10 * floor)
    return np.concatenate([[floor], np.geomspace(floor, top, num_points)[1:]])


def _masses(
    parameters: dict[str, np.ndarray], fold: int, population: LogDensity
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masses of draws, and the log density that they were drawn with."""
    names = ("mass_1_source", "mass_2_source")
    if not parameters:
        return np.empty(0), np.empty(0), np.empty(0)
    missing = [name for name in names if name not in parameters]
    if missing:
        raise ValueError(
            f"foreground.hdf5 of fold {fold} has no {', '.join(missing)} among its parameters "
            f"({', '.join(sorted(parameters))}): a sensitive volume needs both"
        )
    masses = parameters[names[0]], parameters[names[1]]
    known = "log_prior" in parameters
    return *masses, parameters["log_prior"] if known else population(*masses)
