"""The verb `compare`: two reports beside each other."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bokeh.plotting import figure
from ledger import staged

from evaluate.embedding import LIBRARY, embed, templates, write_library
from evaluate.figures.lines import background_figure, found_figure, recall_figure, volume_figure
from evaluate.lines import Line, Lines, read_lines
from evaluate.summary import SCHEMA
from evaluate.wording import duration, number, rate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """A report that was read.

    Attributes:
        name: Short name in the comparison.
        summary: Contents of `summary.json`.
        lines: Lines of its figures.
    """

    name: str
    summary: Mapping[str, Any]
    lines: Lines


def compare(runs: tuple[Path, Path], output: Path) -> None:
    """Write a page that puts two reports side by side.

    Args:
        runs: Two folders that `evaluate report` wrote, or the folders of versions that hold them
            as `report`.
        output: Folder to write, as a whole: `index.html`, and `comparison.json` with the numbers
            and settings that differ.

    Raises:
        FileNotFoundError: There is no report in a folder.
        ValueError: A file is not what it should be.
    """
    reports = [read_report(folder, name) for folder, name in zip(runs, "AB", strict=True)]
    rows = compared_numbers(reports)
    settings = differing_settings(*(report.summary["settings"] for report in reports))
    plots = _figures(reports)
    script, places = embed(plots)
    environment = templates()
    environment.filters.update(duration=duration, rate=rate)
    page = environment.get_template("comparison.html.jinja").render(
        reports=reports,
        rows=rows,
        settings=settings,
        known=_known(reports),
        plots=places,
        plot_script=script,
        library=LIBRARY,
    )
    content = {
        "reports": {
            report.name: {name: report.summary[name] for name in ("experiment", "version")}
            for report in reports
        },
        "numbers": {name: dict(zip("AB", values, strict=True)) for name, values in rows.items()},
        "settings": {name: dict(zip("AB", pair, strict=True)) for name, pair in settings.items()},
    }
    with staged(output) as folder:
        folder.mkdir()
        write_library(folder)
        (folder / "comparison.json").write_text(json.dumps(content, indent=1) + "\n")
        (folder / "index.html").write_text(page, encoding="utf-8")
    log.info("the comparison is at %s", output / "index.html")


def read_report(folder: Path, name: str) -> Report:
    """Read a report.

    Args:
        folder: What `evaluate report` wrote, or the folder that holds it as `report`.
        name: Short name of the report.

    Raises:
        FileNotFoundError: There is no report in the folder.
        ValueError: A file is not what it should be.
    """
    places = [place for place in (folder, folder / "report") if (place / "summary.json").is_file()]
    if not places:
        raise FileNotFoundError(
            f"no summary.json in {folder} or in {folder / 'report'}: expected the folder of a "
            "report, as `evaluate report` writes it"
        )
    path = places[0] / "summary.json"
    try:
        summary = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}): make the report again") from error
    if not isinstance(summary, dict) or summary.get("schema") != SCHEMA:
        raise ValueError(f"{path} is no summary of schema {SCHEMA}: make the report again")
    if "settings" not in summary:
        raise ValueError(f"{path} has no settings, an older report: make it again")
    return Report(name, summary, read_lines(places[0] / "lines.json"))


def differing_settings(first: Any, second: Any, name: str = "") -> dict[str, tuple[Any, Any]]:
    """Settings that are not equal, by their dotted name.

    Args:
        first: Settings of the first report, or a part of them.
        second: The same of the second.
        name: Dotted name of the part.

    Returns:
        Both values; None where one has no such setting.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for key in dict.fromkeys([*first, *second]):
            inner = f"{name}.{key}" if name else str(key)
            found |= differing_settings(first.get(key), second.get(key), inner)
        return found
    return {} if first == second else {name: (first, second)}


def compared_numbers(reports: Sequence[Report]) -> dict[str, list[Any]]:
    """Numbers of each report by their label; None where one of them has none.

    Args:
        reports: The reports.
    """
    tables = [_numbers(report.summary) for report in reports]
    labels = dict.fromkeys(label for table in tables for label in table)
    rows = {label: [table.get(label) for table in tables] for label in labels}
    return {label: row for label, row in rows.items() if any(value is not None for value in row)}


def _numbers(summary: Mapping[str, Any]) -> dict[str, float | None]:
    injections = summary["injections"]
    floors = [fold["far_floor_per_year"] for fold in summary["folds"]]
    known = summary["known_events"]
    table: dict[str, float | None] = {
        "zero-lag livetime [s]": summary["zero_lag_livetime_s"],
        "background livetime [s]": summary["background"]["livetime_s"],
        "background events": summary["background"]["num_events"],
        "lowest false-alarm rate in every fold [1/yr]": max(floors),
        "zero-lag events": len(summary["zero_lag"]),
        "known events": len(known),
        "known events found": sum(event["found"] for event in known),
        "injections drawn": injections["num_injected"],
        "injections accepted": injections["num_accepted"],
    }
    for far, found in injections["num_found"].items():
        table[f"injections found at {far} / yr"] = found
        table[f"fraction of accepted found at {far} / yr"] = (
            None
            if found is None or not injections["num_accepted"]
            else found / injections["num_accepted"]
        )
    for row in summary["sensitive_volume"]:
        name = f"{row['mass_1_source']:g} + {row['mass_2_source']:g} M☉"
        table |= _volume(name, row)
    for row in summary["population_volume"]:
        table |= _volume(row["population"], row)
    for name, stage in summary["stages"].items():
        table[f"wall time of {name} [s]"] = stage["wall_s"]
    return table


def _volume(name: str, row: Mapping[str, Any]) -> dict[str, float | None]:
    label = f"sensitive volume of {name} at {row['far_per_year']:g} / yr [Gpc³]"
    return {label: row["volume_gpc3"], f"{label}, standard deviation": row["std_gpc3"]}


def _known(reports: Sequence[Report]) -> dict[str, list[str]]:
    """What became of each known event in each report."""
    tables = [
        {event["label"]: _sentence(event) for event in report.summary["known_events"]}
        for report in reports
    ]
    labels = dict.fromkeys(label for table in tables for label in table)
    return {label: [table.get(label, "not known") for table in tables] for label in labels}


def _sentence(event: Mapping[str, Any]) -> str:
    if event["far_per_year"] is None:
        return str(event["sentence"])
    limit = "< " if event["far_is_upper_limit"] else ""
    return f"{event['sentence']}, {limit}{number(event['far_per_year'])} / yr"


def _figures(reports: Sequence[Report]) -> dict[str, figure]:
    interval = float(reports[0].summary["settings"]["evaluation"]["interval"])

    def by_name(kind: str) -> dict[str, list[Line]]:
        return {report.name: getattr(report.lines, kind) for report in reports}

    plots: dict[str, figure] = {}
    for kind, draw in (
        ("volume", lambda some: volume_figure(some)),
        ("recall", lambda some: recall_figure(some, interval)),
        ("background", lambda some: background_figure(some, interval)),
    ):
        some = by_name(kind)
        if any(some.values()):
            plots[kind] = draw(some)
    quantities = dict.fromkeys(name for report in reports for name in report.lines.found)
    for i, quantity in enumerate(quantities):
        some = {report.name: report.lines.found.get(quantity, []) for report in reports}
        if any(some.values()):
            plots[f"found_{i}"] = found_figure(some, quantity, interval)
    return plots
