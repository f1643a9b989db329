"""A page for each zero-lag event of which the search kept strain and scores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluate.candidates import Candidate
from evaluate.embedding import LIBRARY, embed, templates
from evaluate.figures.detail import detail_figures, event_detail, has_detail
from evaluate.findings import Findings
from evaluate.wording import candidate_interval, candidate_rate, duration, probability

# A glitch that comes back in the background is told on the page of an event this close [s]
NEAR = 1.0
# Expected number of such times in a background without glitches
BY_CHANCE = 0.5


def event_pages(findings: Findings) -> dict[int, Candidate]:
    """Events that have a page, by its number: their rank in the list of events.

    Args:
        findings: What was found.
    """
    by_fold = {result.fold: result for result in findings.folds}
    return {
        rank: event
        for rank, event in enumerate(findings.candidates, start=1)
        if has_detail(event, by_fold[event.fold])
    }


def write_event_pages(findings: Findings, summary: Mapping[str, Any], folder: Path) -> None:
    """Write the pages.

    Args:
        findings: What was found.
        summary: Contents of `summary.json`.
        folder: Folder to write `<rank>.html` into; it is made.
    """
    folder.mkdir()
    by_fold = {result.fold: result for result in findings.folds}
    pages = event_pages(findings)
    ranks = list(pages)
    template = templates().get_template("event.html.jinja")
    for i, (rank, event) in enumerate(pages.items()):
        plots = detail_figures(event_detail(event, by_fold[event.fold]), findings.experiment)
        script, places = embed(plots)
        arrival = by_fold[event.fold].zero_lag.time[event.position]
        times = dict(zip(findings.experiment.ifos, map(float, arrival), strict=True))
        page = template.render(
            experiment=findings.experiment,
            version=findings.version,
            event=event,
            rank=rank,
            number=len(findings.candidates),
            searched=duration(summary["zero_lag_livetime_s"]),
            before=ranks[i - 1] if i else None,
            after=ranks[i + 1] if i + 1 < len(ranks) else None,
            far=candidate_rate(event),
            interval=candidate_interval(event),
            probability=probability(event.origin),
            signals=summary["signals"],
            times=times,
            repeats=_near(event, summary, times),
            plots=places,
            plot_script=script,
            library=f"../{LIBRARY}",
        )
        (folder / f"{rank}.html").write_text(page, encoding="utf-8")


def glitches(fold: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Times of a detector that have more of the loudest background events than chance gives.

    Args:
        fold: An entry of `folds` of the summary.
    """
    times = fold["loudest_background"]["repeated_times"]
    return [time for time in times if time["by_chance"] < BY_CHANCE]


def _near(
    event: Candidate, summary: Mapping[str, Any], times: Mapping[str, float]
) -> list[Mapping[str, Any]]:
    """Glitches close to an event in their detector."""
    [fold] = [fold for fold in summary["folds"] if fold["fold"] == event.fold]
    return [time for time in glitches(fold) if abs(time["gps"] - times[time["ifo"]]) < NEAR]
