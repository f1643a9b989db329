"""The numbers of a report, for machines."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from runtime import Experiment

from evaluate.candidates import Candidate, KnownEvent
from evaluate.inputs import FoldResult
from evaluate.rates import YEAR
from evaluate.sensitivity import PairSensitivity

SCHEMA = 1


def far_name(far: float) -> str:
    """A false-alarm rate as a key of `injections.num_found`."""
    return f"{far:.10g}"


def summarise(
    experiment: Experiment,
    version: str,
    folds: Sequence[FoldResult],
    candidates: Sequence[Candidate],
    known: Sequence[KnownEvent],
    recovered: Mapping[float, list[np.ndarray] | None],
    volumes: Sequence[PairSensitivity],
    stages: Mapping[str, float],
    notes: Mapping[int, list[str]],
) -> dict[str, Any]:
    """Contents of `summary.json`.

    Args:
        experiment: The experiment.
        version: Version of the experiment's products.
        folds: Results of all folds.
        candidates: All zero-lag events, the most significant first.
        known: What became of the known events.
        recovered: Which injections are found at each false-alarm rate.
        volumes: Sensitive volumes of all mass pairs.
        stages: Wall time of each stage [s].
        notes: Sentences on what to be careful with, by fold.
    """
    num_accepted = sum(len(result.injections.snr) for result in folds)
    num_rejected = sum(len(result.injections.rejected_snr) for result in folds)
    return {
        "schema": SCHEMA,
        "experiment": experiment.name,
        "version": version,
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
                for far, found in recovered.items()
            },
        },
        "sensitive_volume": [
            {
                "mass_1_source": pair.pair[0],
                "mass_2_source": pair.pair[1],
                "far_per_year": far,
                "volume_gpc3": None if volume is None else volume.volume,
                "std_gpc3": None if volume is None else volume.std,
                "effective_samples": None if volume is None else volume.effective_samples,
            }
            for pair in volumes
            for far, volume in zip(
                experiment.evaluation.false_alarm_rates, pair.at_far, strict=True
            )
        ],
        "zero_lag": [
            {
                "gps": event.gps,
                "statistic": event.statistic,
                "far_per_year": event.far,
                "far_interval_per_year": event.far_interval and list(event.far_interval),
                "known_event": event.known,
                "fold": event.fold,
            }
            for event in candidates
        ],
        "known_events": [_known(event) for event in known],
        "folds": [_fold(result, notes[result.fold]) for result in folds],
        "stages": {name: {"wall_s": seconds} for name, seconds in stages.items()},
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


def _fold(result: FoldResult, notes: list[str]) -> dict[str, Any]:
    background = result.background
    return {
        "fold": result.fold,
        "zero_lag_livetime_s": result.zero_lag.livetime,
        "background_livetime_s": background.livetime,
        "num_slides": len(background.slide_livetime),
        "num_events": len(background.statistic),
        "loudest": float(background.statistic.max()),
        "far_floor_per_year": YEAR / background.livetime,
        "notes": notes,
    }
