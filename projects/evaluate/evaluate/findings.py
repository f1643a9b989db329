"""What a search found, before anything is written of it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ledger.injections import InjectionDetails
from ledger.product import product_id
from priors import load_population
from runtime import Experiment, generator_for, load_experiment
from runtime.provenance import code_version

from evaluate.calibration import Calibration, calibrate
from evaluate.candidates import (
    Candidate,
    KnownEvent,
    find_candidates,
    find_known,
    with_origins,
)
from evaluate.curves import TrainingCurves, read_curves
from evaluate.densities import SourceDensity
from evaluate.dispersion import Dispersion
from evaluate.injection_details import read_injection_details
from evaluate.inputs import FoldResult, read_results, read_stages
from evaluate.notes import fold_notes
from evaluate.origin import Origins, find_origins
from evaluate.rejected import with_rejected
from evaluate.repeats import Repeats, find_repeats
from evaluate.sensitivity import Found, Volumes, measure_volumes, recover
from evaluate.targets import population_target
from evaluate.volume import Draws
from evaluate.widening import with_dispersion

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Findings:
    """Everything that the report tells.

    Attributes:
        experiment: The experiment.
        version: Version of the experiment's products.
        code_version: Version of the code that makes the report.
        strain_id: Product id of the strain index.
        folds: Results of all folds.
        candidates: All zero-lag events, the most significant first.
        known: What became of the known events.
        recovered: Which injections are found at each false-alarm rate.
        volumes: Sensitive volumes.
        origins: How many signals there are; None if this is not known.
        calibration: Comparison of p_astro with the truth; None if there is too little to make it.
        details: Strain and scores of some injections, by fold, where the search kept them.
        repeats: What the loudest background events of each fold have in common.
        dispersions: How far the numbers of background events of each fold scatter.
        curves: Logs of the trainings.
        stages: Wall time of each stage [s].
        notes: What limits the numbers of each fold, by fold.
    """

    experiment: Experiment
    version: str
    code_version: str
    strain_id: str
    folds: Sequence[FoldResult]
    candidates: Sequence[Candidate]
    known: Sequence[KnownEvent]
    recovered: Mapping[float, Found | None]
    volumes: Volumes
    origins: Origins | None
    calibration: Calibration | None
    details: Mapping[int, InjectionDetails]
    repeats: Sequence[Repeats]
    dispersions: Sequence[Dispersion]
    curves: Sequence[TrainingCurves]
    stages: Mapping[str, float]
    notes: Mapping[int, list[str]]

    @property
    def injected(self) -> bool:
        """Whether injections were searched for, without which there is no sensitivity."""
        return all(result.injected for result in self.folds)


def find(
    experiment: Path,
    version: str,
    results: Sequence[Path],
    runs: Sequence[Path],
    strain: Path,
    stages: Path,
) -> Findings:
    """Read the products of a search and work out what they tell.

    Args:
        experiment: The experiment file, or the folder that holds it.
        version: Version of the experiment's products, to be named in the report.
        results: Folder of the search of each fold, with `background.hdf5`, `zero-lag.hdf5` and,
            where there are injections, `foreground.hdf5`.
        runs: Folder of each training, with `metrics.csv`; may be empty.
        strain: Strain index of the experiment.
        stages: JSON file with the wall time of each stage [s].

    Raises:
        FileNotFoundError: An input is missing.
        ValueError: An input is not what it should be, or does not fit the others.
    """
    settings = load_experiment(experiment)
    wall_times = read_stages(stages)
    curves = [read_curves(folder) for folder in runs]
    evaluation = settings.evaluation
    index, folds = read_results(results, settings, strain)
    density, targets = None, []
    if all(result.injected for result in folds):
        source, *others = [
            load_population(name, settings.waveforms.redshift_max, Path(settings.source).parent)
            for name in (settings.waveforms.prior, *evaluation.populations)
        ]
        weighted = evaluation.mass_pairs or evaluation.populations
        density = SourceDensity(source) if weighted else None
        targets = [
            population_target(
                SourceDensity(other),
                SourceDensity(source),
                generator_for(settings.seed, "evaluate", "population", i),
            )
            for i, other in enumerate(others)
        ]
        folds = [with_rejected(result, source, settings.seed) for result in folds]
    candidates = find_candidates(folds, index, evaluation.interval)
    recovered = recover(folds, settings)
    volumes = measure_volumes(folds, settings, recovered, density, targets)
    window = settings.kernel_length + settings.search.integration_length
    repeats = [find_repeats(result.background, window) for result in folds]
    dispersions = [Dispersion(result.background, window) for result in folds]
    livetimes = [result.background.livetime for result in folds]
    candidates = with_dispersion(candidates, dispersions, livetimes, evaluation.interval)
    notes = {
        result.fold: fold_notes(result, index, settings, repeated)
        for result, repeated in zip(folds, repeats, strict=True)
    }
    for result in folds:
        for note in notes[result.fold]:
            log.warning("fold %d: %s", result.fold, note)
    origins, calibration = _origins(folds, candidates, volumes, settings, dispersions)
    if origins is not None:
        candidates = with_origins(candidates, origins.by_candidate)
    for one in (origins, calibration):
        if one is not None and one.warning is not None:
            volumes.warnings.append(one.warning)
    for warning in volumes.warnings:
        log.warning(warning)
    return Findings(
        experiment=settings,
        version=version,
        code_version=code_version(),
        strain_id=product_id(strain),
        folds=folds,
        candidates=candidates,
        known=find_known(folds, index, candidates, max(evaluation.false_alarm_rates)),
        recovered=recovered,
        volumes=volumes,
        origins=origins,
        calibration=calibration,
        details=read_injection_details(results, settings, folds),
        repeats=repeats,
        dispersions=dispersions,
        curves=curves,
        stages=wall_times,
        notes=notes,
    )


def _origins(
    folds: Sequence[FoldResult],
    candidates: Sequence[Candidate],
    volumes: Volumes,
    settings: Experiment,
    dispersions: Sequence[Dispersion],
) -> tuple[Origins | None, Calibration | None]:
    """Origin of the events, with signals of the first population, or as the injections are.

    Beside it whether p_astro is what it says.
    """
    if not all(result.injected for result in folds):
        return None, None
    if volumes.populations:
        population, draws = volumes.populations[0].population, volumes.populations[0].draws
    else:
        population = settings.waveforms.prior
        draws = [
            Draws(
                weights=np.ones(len(result.injections.snr)),
                num_drawn=len(result.injections.snr) + len(result.injections.rejected_snr),
                volume=result.injections.volume,
                livetime=result.zero_lag.livetime,
            )
            for result in folds
        ]
    near, interval = settings.search.cluster_length, settings.evaluation.interval
    origins = find_origins(folds, candidates, draws, population, near, interval, dispersions)
    if origins is None:
        return None, None
    generator = generator_for(settings.seed, "evaluate", "calibration")
    return origins, calibrate(folds, draws, near, interval, generator)
