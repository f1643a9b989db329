"""The numbers of a report, for machines."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from evaluate.calibration import Calibration
from evaluate.candidates import KnownEvent
from evaluate.findings import Findings
from evaluate.inputs import FoldResult
from evaluate.origin import Origin, Origins
from evaluate.rates import YEAR
from evaluate.repeats import Repeats
from evaluate.sensitivity import TargetSensitivity

SCHEMA = 1


def far_name(far: float) -> str:
    """A false-alarm rate as a key of `injections.num_found`."""
    return f"{far:.10g}"


def summarise(findings: Findings) -> dict[str, Any]:
    """Contents of `summary.json`.

    Args:
        findings: What was found.
    """
    experiment, folds, volumes = findings.experiment, findings.folds, findings.volumes
    rates = experiment.evaluation.false_alarm_rates
    num_accepted = sum(len(result.injections.snr) for result in folds)
    num_rejected = sum(len(result.injections.rejected_snr) for result in folds)
    return {
        "schema": SCHEMA,
        "experiment": experiment.name,
        "version": findings.version,
        "ifos": list(experiment.ifos),
        "zero_lag_livetime_s": sum(result.zero_lag.livetime for result in folds),
        "background": {
            "livetime_s": sum(result.background.livetime for result in folds),
            "num_slides": sum(len(result.background.slide_livetime) for result in folds),
            "num_events": sum(len(result.background.statistic) for result in folds),
            "loudest": max(float(result.background.statistic.max()) for result in folds),
        },
        "injections": {
            "num_injected": num_accepted + num_rejected,
            "num_accepted": num_accepted,
            "num_rejected": num_rejected,
            "num_found": {
                far_name(far): None if found is None else sum(int(f.sum()) for f in found)
                for far, found in findings.recovered.items()
                if findings.injected
            },
        },
        "sensitive_volume": [
            {"mass_1_source": pair.pair[0], "mass_2_source": pair.pair[1], **row}
            for pair in volumes.pairs
            for row in _volumes(pair, rates)
        ],
        "population_volume": [
            {"population": target.population, **row}
            for target in volumes.populations
            for row in _volumes(target, rates)
        ],
        "signals": _signals(findings.origins),
        "p_astro_calibration": _calibration(findings.calibration),
        "zero_lag": [
            {
                "gps": event.gps,
                "statistic": event.statistic,
                "far_per_year": event.far,
                "far_interval_per_year": event.far_interval and list(event.far_interval),
                "noise_events": event.expected,
                "false_alarm_probability": event.probability,
                **_origin(event.origin),
                "known_event": event.known,
                "left_out": list(event.left_out),
                "fold": event.fold,
            }
            for event in findings.candidates
        ],
        "known_events": [_known(event) for event in findings.known],
        "folds": [
            _fold(result, findings.notes[result.fold], repeated)
            for result, repeated in zip(folds, findings.repeats, strict=True)
        ],
        "warnings": list(volumes.warnings),
        "settings": experiment.settings(),
        "code_version": findings.code_version,
        "parents": {
            "strain": findings.strain_id,
            "folds": [{"fold": result.fold, **result.ids} for result in folds],
        },
        "stages": {name: {"wall_s": seconds} for name, seconds in findings.stages.items()},
    }


def _known(event: KnownEvent) -> dict[str, Any]:
    candidate = event.candidate
    return {
        "label": event.label,
        "gps": event.gps,
        "found": event.found,
        "sentence": event.sentence,
        "fold": event.fold,
        "zero_lag_gps": candidate and candidate.gps,
        "statistic": candidate and candidate.statistic,
        "far_per_year": candidate and candidate.far,
        "far_interval_per_year": candidate
        and candidate.far_interval
        and list(candidate.far_interval),
        "far_is_upper_limit": candidate and candidate.is_upper_limit,
        "background_livetime_s": event.background_livetime,
    }


def _volumes(target: TargetSensitivity, rates: Sequence[float]) -> list[dict[str, Any]]:
    """One row for each false-alarm rate; null where it is not supported."""
    rows = []
    for far, volume, error in zip(rates, target.at_far, target.bootstrap_std, strict=True):
        rows.append(
            {
                "far_per_year": far,
                "volume_gpc3": volume and volume.volume,
                "std_gpc3": volume and volume.std,
                "bootstrap_std_gpc3": error,
                "time_volume_gpc3_yr": volume and volume.time_volume,
                "time_volume_std_gpc3_yr": volume and volume.time_volume_std,
                "effective_samples": volume and volume.effective_samples,
                "covered": target.covered,
            }
        )
    return rows


def _signals(origins: Origins | None) -> dict[str, Any] | None:
    if origins is None:
        return None
    return {
        "population": origins.population,
        "num_events": origins.num_events,
        "noise_events": origins.noise_events,
        "expected": origins.signals[1],
        "expected_interval": [origins.signals[0], origins.signals[2]],
        "rate_per_gpc3_yr": origins.rate and origins.rate[1],
        "rate_interval_per_gpc3_yr": origins.rate and [origins.rate[0], origins.rate[2]],
        "effective_samples": origins.effective_samples,
    }


def _calibration(calibration: Calibration | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    names = ("expected", "fraction", "lower", "upper", "num_events", "num_signals")
    columns = {name: getattr(calibration, name).tolist() for name in names}
    return {
        "num_searches": calibration.num_searches,
        "is_calibrated": calibration.warning is None,
        "bins": [
            dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ],
    }


def _origin(origin: Origin | None) -> dict[str, Any]:
    return {
        "p_astro": origin and origin.p_astro,
        "p_astro_unextrapolated": origin and origin.p_astro_unextrapolated,
        "p_astro_is_extrapolated": origin and origin.is_extrapolated,
        "p_class": origin and origin.classes,
    }


def _fold(result: FoldResult, notes: list[str], repeats: Repeats) -> dict[str, Any]:
    background = result.background
    return {
        "fold": result.fold,
        "zero_lag_livetime_s": result.zero_lag.livetime,
        "background_livetime_s": background.livetime,
        "num_slides": len(background.slide_livetime),
        "num_events": len(background.statistic),
        "loudest": float(background.statistic.max()),
        "far_floor_per_year": YEAR / background.livetime,
        "loudest_background": {
            "num_events": repeats.num_events,
            "num_effective": repeats.num_effective,
            "num_seen_twice": repeats.num_seen_twice,
            "repeated_times": [asdict(time) for time in repeats.times],
        },
        "notes": notes,
    }
