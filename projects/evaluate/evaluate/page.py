"""The first page of a report."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml
from bokeh.plotting import figure

from evaluate.embedding import LIBRARY, embed, templates
from evaluate.event_pages import event_pages, glitches
from evaluate.figures.glitches import background_in_time
from evaluate.figures.injections import (
    MISSED,
    InjectionFigures,
    injection_figures,
    injection_table,
)
from evaluate.figures.lines import found_figure, recall_figure, volume_figure
from evaluate.figures.reliability import reliability_figure
from evaluate.figures.significance import cumulative_rate, inverse_rates, score_histogram
from evaluate.figures.training import training_figures
from evaluate.findings import Findings
from evaluate.injection_pages import shown_injections
from evaluate.lines import Lines
from evaluate.papers import NAMES
from evaluate.rates import YEAR
from evaluate.wording import candidate_interval, candidate_rate, duration, probability, rate

# Zero-lag events in the table; all of them are in events.csv and summary.json.
NUM_ROWS = 200
NUM_MISSED = 10


def render(findings: Findings, summary: Mapping[str, Any], lines: Lines) -> str:
    """Make the page.

    Args:
        findings: What to tell.
        summary: Contents of `summary.json`, whose numbers the page repeats.
        lines: Lines of the figures.

    Returns:
        HTML that loads `LIBRARY` from beside it; the same for the same input.
    """
    numbers = event_pages(findings)
    pages = {event.key: f"events/{number}.html" for number, event in numbers.items()}
    plots, injections = _figures(findings, lines, pages)
    script, places = embed(plots)
    environment = templates()
    environment.filters.update(duration=duration, rate=rate)
    experiment = findings.experiment
    targets = [(f"{p.pair[0]:g} + {p.pair[1]:g} M☉", p) for p in findings.volumes.pairs] + [
        (p.population, p) for p in findings.volumes.populations
    ]
    return environment.get_template("report.html.jinja").render(
        findings=findings,
        summary=summary,
        year=YEAR,
        experiment=experiment,
        searched=summary["zero_lag_livetime_s"],
        candidates=findings.candidates[:NUM_ROWS],
        candidate_rate=candidate_rate,
        candidate_interval=candidate_interval,
        probability=probability,
        pages=pages,
        targets=targets,
        glitches={fold["fold"]: glitches(fold) for fold in summary["folds"]},
        injections=injections,
        missed=_loudest_missed(findings),
        shown=shown_injections(findings),
        plots=places,
        papers=NAMES,
        plot_script=script,
        library=LIBRARY,
        settings=yaml.safe_dump(experiment.settings(), sort_keys=False),
    )


def _figures(
    findings: Findings, lines: Lines, pages: Mapping[tuple[int, int], str]
) -> tuple[dict[str, figure], InjectionFigures | None]:
    """All figures by name, and those of single injections once more with what they hold."""
    interval = findings.experiment.evaluation.interval
    rates = findings.experiment.evaluation.false_alarm_rates
    searched = sum(result.zero_lag.livetime for result in findings.folds)
    plots: dict[str, figure | None] = {}
    for result, dispersion in zip(findings.folds, findings.dispersions, strict=True):
        plots[f"scores_{result.fold}"] = score_histogram(result)
        plots[f"rate_{result.fold}"] = cumulative_rate(result, dispersion, rates, interval)
        for i, plot in enumerate(background_in_time(result)):
            plots[f"time_{result.fold}_{i}"] = plot
    plots["inverse"] = inverse_rates(findings.candidates, searched, interval, pages)
    if findings.calibration is not None:
        plots["reliability"] = reliability_figure(findings.calibration, interval)
    recall = recall_figure({"": lines.recall}, interval) if lines.recall else None
    if lines.volume:
        plots["volume"] = volume = volume_figure({"": lines.volume})
        if recall is not None:
            recall.x_range = volume.x_range
    plots["recall"] = recall
    for i, (quantity, some) in enumerate(lines.found.items()):
        if some:
            plots[f"found_{i}"] = found_figure({"": some}, quantity, interval)
    injections = injection_figures(findings)
    for i, plot in enumerate(injections.plots if injections else []):
        plots[f"injections_{i}"] = plot
    for i, plot in enumerate(training_figures(findings.curves)):
        plots[f"training_{i}"] = plot
    return {name: plot for name, plot in plots.items() if plot is not None}, injections


def _loudest_missed(findings: Findings) -> dict[str, np.ndarray]:
    """The injections of the largest SNR that are missed at every supported rate, by column."""
    table = injection_table(findings)
    if table is None:
        return {}
    missed = np.flatnonzero(table["found at [1/yr]"] == MISSED)
    rows = missed[np.argsort(-table["network SNR"][missed], kind="stable")[:NUM_MISSED]]
    if not len(rows):
        return {}
    return {
        name: values[rows]
        for name, values in table.items()
        if name not in ("color", "found at [1/yr]")
    }
