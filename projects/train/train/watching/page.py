"""Drawings and records as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from train.watching.record import Record


def render(
    drawings: Mapping[str, str],
    records: Sequence[Record],
    title: str,
    best: int | None = None,
    library: Literal["inline", "cdn"] = "inline",
) -> str:
    """Make a page.

    Args:
        drawings: Drawings by group, as `figures.embeddable` gives them.
        records: Validations, the first one first; the last is shown at first.
        title: Title of the page.
        best: Step of the best validation, to be marked.
        library: Where BokehJS comes from: from the page itself, or from the web.

    Returns:
        HTML; the same for the same input.
    """
    environment = Environment(
        loader=PackageLoader("train.watching"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("validation.html.jinja").render(
        title=title,
        best=best,
        measures=list(records[-1].measures),
        records=records,
        drawings={group: _for_script(text) for group, text in drawings.items()},
        contents={record.step: _for_script(as_json(record)) for record in records},
        library=Markup(Resources(mode=library, components=["bokeh"]).render()),
    )


def as_json(record: Record) -> str:
    """A record as a line of JSON."""
    return json.dumps(asdict(record), allow_nan=False)


def from_json(text: str) -> Record:
    """The record that `as_json` wrote."""
    return Record(**json.loads(text))


def _for_script(text: str) -> Markup:
    """JSON that may stand in a script element."""
    return Markup(text.replace("<", "\\u003c"))
