"""The verb `report`."""

import json
import logging
from pathlib import Path

from ledger import staged

from evaluate.embedding import write_library
from evaluate.event_pages import write_event_pages
from evaluate.event_table import write_event_table
from evaluate.findings import Findings, find
from evaluate.injection_pages import write_injection_pages
from evaluate.lines import draw_lines
from evaluate.page import render
from evaluate.papers import write_papers
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
    """Write the report of a search: `index.html`, `summary.json` and what belongs to them.

    Args:
        experiment: The experiment file, or the folder that holds it.
        version: Version of the experiment's products, to be named in the report.
        results: Folder of the search of each fold, with `background.hdf5`, `zero-lag.hdf5` and,
            where there are injections, `foreground.hdf5`.
        runs: Folder of each training, with `metrics.csv`; may be empty.
        strain: Strain index of the experiment.
        stages: JSON file with the wall time of each stage [s].
        output: Folder to write, as a whole.

    Raises:
        FileNotFoundError: An input is missing.
        ValueError: An input is not what it should be, or does not fit the others.
    """
    findings = find(experiment, version, results, runs, strain, stages)
    with staged(output) as folder:
        write(findings, folder)
    log.info("the report is at %s", output / "index.html")


def write(findings: Findings, folder: Path) -> None:
    """Write all files of a report.

    Args:
        findings: What to tell.
        folder: Where; must not exist.
    """
    summary = summarise(findings)
    lines = draw_lines(findings)
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")
    lines.write(folder / "lines.json")
    write_library(folder)
    write_event_table(summary["zero_lag"], folder / "events.csv")
    write_event_pages(findings, summary, folder / "events")
    write_injection_pages(findings, folder / "injections")
    write_papers(findings, lines, folder / "figures")
    (folder / "index.html").write_text(render(findings, summary, lines), encoding="utf-8")
