"""The page of the report."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from deepclean.report.embedding import LIBRARY, embed, write_library
from deepclean.report.figures import all_figures
from deepclean.report.findings import Findings


def render(findings: Findings, folder: Path) -> None:
    """Write `index.html`, what it loads, and `summary.json`.

    Args:
        findings: What to tell.
        folder: Where to; exists.
    """
    summary = findings.summary()
    script, places = embed(all_figures(findings))
    environment = Environment(
        loader=PackageLoader("deepclean.report"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["figure"] = _figure
    page = environment.get_template("report.html.jinja").render(
        summary=summary,
        plots=places,
        plot_script=script,
        library=LIBRARY,
        settings=yaml.safe_dump(findings.experiment.settings(), sort_keys=False),
    )
    write_library(folder)
    (folder / "index.html").write_text(page, encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")


def _figure(value: float | None, digits: int = 3) -> str:
    return "?" if value is None else f"{value:.{digits}g}"
