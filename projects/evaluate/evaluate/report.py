"""The verb `report`."""

import json
import logging
from pathlib import Path

from ledger import staged
from ledger.product import product_id
from priors import load_population
from runtime import load_experiment
from runtime.provenance import code_version

from evaluate.candidates import find_candidates, find_known
from evaluate.curves import read_curves
from evaluate.inputs import read_results, read_stages
from evaluate.notes import fold_notes
from evaluate.page import Findings, render
from evaluate.rejected import with_rejected
from evaluate.sensitivity import measure_volumes, recover
from evaluate.summary import summarise

log = logging.getLogger(__name__)


def report(
    experiment: Path,
    version: str,
    results: list[Path],
    runs: list[Path],
    strain: Path,
    stages: Path,
    output: Path,
) -> None:
    """Write the report of a search: `index.html` and `summary.json`.

    Args:
        experiment: The experiment file, or the folder that holds it.
        version: Version of the experiment's products, to be named in the report.
        results: Folder of the search of each fold, with `background.hdf5`, `foreground.hdf5` and
            `zero-lag.hdf5`.
        runs: Folder of each training, with `metrics.csv`; may be empty.
        strain: Strain index of the experiment.
        stages: JSON file with the wall time of each stage [s].
        output: Folder to write, as a whole.

    Raises:
        FileNotFoundError: An input is missing.
        ValueError: An input is not what it should be, or does not fit the others.
    """
    settings = load_experiment(experiment)
    wall_times = read_stages(stages)
    curves = [read_curves(folder) for folder in runs]
    source = load_population(
        settings.waveforms.prior, settings.waveforms.redshift_max, Path(settings.source).parent
    )
    index, folds = read_results(results, settings, strain)
    folds = [with_rejected(result, source, settings.seed) for result in folds]
    evaluation = settings.evaluation
    candidates = find_candidates(folds, index, evaluation.interval)
    known = find_known(folds, index, candidates, max(evaluation.false_alarm_rates))
    recovered = recover(folds, settings)
    volumes, warnings = measure_volumes(folds, settings, recovered, source.log_prob_source_masses)
    notes = {result.fold: fold_notes(result, index, settings) for result in folds}
    for result in folds:
        for note in notes[result.fold]:
            log.warning("fold %d: %s", result.fold, note)
    for warning in warnings:
        log.warning(warning)
    summary = summarise(
        settings, version, folds, candidates, known, recovered, volumes, wall_times, notes
    )
    findings = Findings(
        experiment=settings,
        version=version,
        code_version=code_version(),
        folds=folds,
        candidates=candidates,
        known=known,
        recovered=recovered,
        volumes=volumes,
        curves=curves,
        stages=wall_times,
        notes=notes,
        warnings=warnings,
        strain_id=product_id(strain),
    )
    page = render(findings, summary)
    with staged(output) as folder:
        folder.mkdir()
        (folder / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
        (folder / "index.html").write_text(page, encoding="utf-8")
    log.info("the report is at %s", output / "index.html")
