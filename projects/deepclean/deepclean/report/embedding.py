"""Figures in a page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bokeh.document import Document
from bokeh.embed import components
from bokeh.plotting import figure
from bokeh.resources import Resources

LIBRARY = "bokeh.js"
"""Name of the file that the page loads."""


def write_library(folder: Path) -> None:
    """Write BokehJS into the folder of the page."""
    parts = Resources(mode="inline", components=["bokeh"]).js_raw
    (folder / LIBRARY).write_text("\n".join(parts) + "\n", encoding="utf-8")


def embed(plots: Mapping[str, figure]) -> tuple[str, dict[str, str]]:
    """HTML of a script that draws all figures, and of the place of each by name."""
    document = Document()
    for plot in plots.values():
        document.add_root(plot)
    return components(dict(plots))
