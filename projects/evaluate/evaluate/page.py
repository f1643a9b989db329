"""The report as one page that needs nothing but itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from bokeh.document import Document
from bokeh.embed import components
from bokeh.model import Model
from bokeh.plotting import figure
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from runtime import Experiment

from evaluate.candidates import Candidate, KnownEvent
from evaluate.curves import TrainingCurves
from evaluate.figures.detail import detail_figures
from evaluate.figures.sensitivity import fraction_against_snr, volume_against_rate
from evaluate.figures.significance import cumulative_rate, inverse_rates, score_histogram
from evaluate.figures.training import training_figures
from evaluate.inputs import FoldResult
from evaluate.rates import YEAR
from evaluate.sensitivity import PairSensitivity
from evaluate.wording import candidate_interval, candidate_rate, duration, rate

# Zero-lag events in the table; all of them are in summary.json.
NUM_ROWS = 25


@dataclass(frozen=True)
class Findings:
    """Everything that the report tells.

    Attributes:
        experiment: The experiment.
        version: Version of the experiment's products.
        code_version: Version of the code that makes the report.
        folds: Results of all folds.
        candidates: All zero-lag events, the most significant first.
        known: What became of the known events.
        recovered: Which injections are found at each false-alarm rate.
        volumes: Sensitive volumes of all mass pairs.
        curves: Logs of the trainings.
        stages: Wall time of each stage [s].
        notes: What limits the numbers of each fold.
        warnings: What limits the sensitive volumes.
        strain_id: Product id of the strain index.
    """

    experiment: Experiment
    version: str
    code_version: str
    folds: Sequence[FoldResult]
    candidates: Sequence[Candidate]
    known: Sequence[KnownEvent]
    recovered: Mapping[float, list[np.ndarray] | None]
    volumes: Sequence[PairSensitivity]
    curves: Sequence[TrainingCurves]
    stages: Mapping[str, float]
    notes: Mapping[int, list[str]]
    warnings: Sequence[str]
    strain_id: str


def render(findings: Findings, summary: Mapping[str, Any]) -> str:
    """Make the page.

    Args:
        findings: What to tell.
        summary: Contents of `summary.json`, whose numbers the page repeats.

    Returns:
        HTML with all scripts and data inline; the same for the same input.
    """
    plots, details = _figures(findings)
    document = Document()
    with document.models.freeze():  # or every figure added would count all models again
        for plot in plots.values():
            document.add_root(plot)
    script, places = components(dict[str, Model](plots))
    script, places = _stable_ids(script, places)
    environment = Environment(
        loader=PackageLoader("evaluate"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters.update(duration=duration, rate=rate)
    experiment = findings.experiment
    return environment.get_template("report.html.jinja").render(
        findings=findings,
        summary=summary,
        year=YEAR,
        experiment=experiment,
        searched=summary["zero_lag_livetime_s"],
        candidates=findings.candidates[:NUM_ROWS],
        candidate_rate=candidate_rate,
        candidate_interval=candidate_interval,
        details=details,
        plots={name: Markup(place) for name, place in places.items()},
        plot_script=Markup(script),
        library=Markup(Resources(mode="inline", components=["bokeh"]).render()),
        settings=yaml.safe_dump(experiment.settings(), sort_keys=False),
    )


def _figures(findings: Findings) -> tuple[dict[str, figure], list[tuple[Candidate, int]]]:
    """All figures by name, and the events shown in detail with their rank."""
    interval = findings.experiment.evaluation.interval
    rates = findings.experiment.evaluation.false_alarm_rates
    searched = sum(result.zero_lag.livetime for result in findings.folds)
    plots: dict[str, figure | None] = {}
    for result in findings.folds:
        plots[f"scores_{result.fold}"] = score_histogram(result)
        plots[f"rate_{result.fold}"] = cumulative_rate(result, rates, interval)
    plots["inverse"] = inverse_rates(findings.candidates, searched, interval)
    plots["fraction"] = fraction_against_snr(findings.folds, findings.recovered, interval)
    if findings.volumes:
        plots["volume"] = volume_against_rate(findings.volumes)
    for i, plot in enumerate(training_figures(findings.curves)):
        plots[f"training_{i}"] = plot
    details: list[tuple[Candidate, int]] = []
    for rank, event in enumerate(findings.candidates, start=1):
        if len(details) == findings.experiment.evaluation.num_loudest:
            break
        pair = detail_figures(event, findings.folds[event.fold])
        if pair is not None:
            plots[f"strain_{rank}"], plots[f"score_{rank}"] = pair
            details.append((event, rank))
    return {name: plot for name, plot in plots.items() if plot is not None}, details


def _stable_ids(script: str, places: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Number bokeh's ids in order of appearance: its own are random, or count all it ever made."""
    pattern = re.compile(r"\b(?:p\d{4,}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\b")
    numbers: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f"n{len(numbers):05d}")

    script = pattern.sub(renamed, script)
    return script, {name: pattern.sub(renamed, place) for name, place in places.items()}
