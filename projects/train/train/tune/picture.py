"""Parallel coordinates of a study."""

from __future__ import annotations

from numbers import Real
from typing import Literal

import numpy as np
import pandas as pd
from bokeh.embed import file_html
from bokeh.models import ColorBar, ColumnDataSource, FixedTicker, HoverTool, LinearColorMapper
from bokeh.plotting import figure
from bokeh.resources import INLINE

PALETTE = "Viridis256"
# An axis over more than this factor is logarithmic.
WIDE = 30.0


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def place(column: pd.Series) -> tuple[np.ndarray, dict[float, str]]:
    """Where values lie on an axis from 0 to 1, and what to write beside it.

    Args:
        column: Values; numbers keep their order, anything else is laid out in order of its text.

    Returns:
        A place for each value, NaN for a missing one, and the labels by their places.
    """
    given = [None if _is_missing(value) else value for value in column]
    if any(value is not None and not _is_number(value) for value in given):
        names = sorted({str(value) for value in given if value is not None})
        places = {name: (k + 0.5) / len(names) for k, name in enumerate(names)}
        found = [np.nan if value is None else places[str(value)] for value in given]
        return np.array(found), {where: name for name, where in places.items()}
    values = np.array(given, dtype=float)
    low, high = np.nanmin(values), np.nanmax(values)
    if low == high:
        return np.where(np.isnan(values), np.nan, 0.5), {0.5: f"{low:.4g}"}
    wide = low > 0 and high / low > WIDE
    scale = np.log if wide else np.asarray
    first, last = scale(low), scale(high)
    middle = np.exp((first + last) / 2) if wide else (low + high) / 2
    labels = {0.0: f"{low:.4g}", 0.5: f"{middle:.4g}", 1.0: f"{high:.4g}"}
    return (scale(values) - first) / (last - first), labels


def draw(table: pd.DataFrame, drawn: list[str], metric: str, mode: Literal["max", "min"]) -> str:
    """A page with one line per trial through an axis per value drawn, and the measure last.

    Args:
        table: The trials.
        drawn: Names of the values drawn.
        metric: The measure, which gives the color.
        mode: Whether its best value is the largest or the smallest.

    Returns:
        HTML that needs no other file.
    """
    shown = table[table[metric].notna()]
    axes = [*drawn, metric]
    placed = {name: place(shown[name]) for name in axes}
    lines = np.stack([placed[name][0] for name in axes], axis=1)
    source = {
        "xs": [list(range(len(axes)))] * len(shown),
        "ys": [list(line) for line in lines],
        "measure": shown[metric],
        "trial": shown["trial"],
        "state": shown["state"],
        "epochs": shown["epochs"],
        "values": [", ".join(f"{n} {row[n]}" for n in drawn) for _, row in shown.iterrows()],
    }
    plot = figure(
        width=max(700, 170 * len(axes)),
        height=480,
        title=f"{len(table)} trials, {len(table) - len(shown)} without a measure",
        x_range=(-0.3, len(axes) - 0.5),
        y_range=(-0.06, 1.06),
        toolbar_location=None,
    )
    low, high = float(shown[metric].min()), float(shown[metric].max())
    colors = LinearColorMapper(PALETTE, low=low, high=high if high > low else low + 1e-9)
    drawn_lines = plot.multi_line(
        "xs",
        "ys",
        source=ColumnDataSource(source),
        line_width=2.5,
        line_alpha=0.85,
        line_color={"field": "measure", "transform": colors},
        hover_line_width=5,
    )
    hover = [("trial", "@trial (@state, @epochs epochs)"), (metric, "@measure{0.0000}")]
    tips = [*hover, ("drawn", "@values")]
    plot.add_tools(HoverTool(renderers=[drawn_lines], tooltips=tips))
    for x, name in enumerate(axes):
        plot.segment([x], [0], [x], [1], line_color="black")
        heights, words = zip(*placed[name][1].items(), strict=True)
        at = [x] * len(words)
        plot.text(at, list(heights), list(words), text_font_size="11px", x_offset=5)
    plot.xaxis.ticker = FixedTicker(ticks=list(range(len(axes))))
    plot.xaxis.major_label_overrides = dict(enumerate(axes))
    plot.yaxis.visible = False
    plot.grid.visible = False
    best = "largest" if mode == "max" else "smallest"
    plot.add_layout(ColorBar(color_mapper=colors, title=f"{metric}, {best} is best"), "right")
    return file_html(plot, INLINE, "Tuning")
