"""Figures in pages that share one copy of BokehJS and need no network."""

import re
from collections.abc import Mapping
from pathlib import Path

from bokeh.document import Document
from bokeh.embed import components
from bokeh.model import Model
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

LIBRARY = "bokeh.js"
"""Name of the file that all pages load."""


def write_library(folder: Path) -> None:
    """Write BokehJS into the folder of the pages.

    Args:
        folder: Folder of the report.
    """
    parts = Resources(mode="inline", components=["bokeh"]).js_raw
    (folder / LIBRARY).write_text("\n".join(parts) + "\n", encoding="utf-8")


def embed(plots: Mapping[str, Model]) -> tuple[Markup, dict[str, Markup]]:
    """Make figures part of a page.

    Args:
        plots: Figures by name; they may share ranges and data.

    Returns:
        A script that draws all of them, to stand at the end of the page, and the place of each by
        name. The same for the same figures.
    """
    if not plots:
        return Markup(""), {}
    document = Document()
    with document.models.freeze():  # or every figure added would count all models again
        for plot in plots.values():
            document.add_root(plot)
    script, places = components(dict(plots))
    # bokeh counts all models it ever made, and gives random ids to places; the quotes keep data
    # that look alike as they are
    pattern = re.compile(r'"(?:p\d{4,}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"')
    numbers: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        return numbers.setdefault(match[0], f'"n{len(numbers):05d}"')

    script = pattern.sub(renamed, script)
    return Markup(script), {
        name: Markup(pattern.sub(renamed, place)) for name, place in places.items()
    }


def templates() -> Environment:
    """The templates of all pages."""
    return Environment(
        loader=PackageLoader("evaluate"), autoescape=True, undefined=StrictUndefined
    )
