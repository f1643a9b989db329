"""How a validation is drawn: figures without data, which the page fills in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from bokeh.embed import json_item
from bokeh.layouts import column, row
from bokeh.models import BoxAnnotation, Column, ColumnDataSource
from bokeh.plotting import figure

from train.figures_of_merit import MAX_FALSE_POSITIVE_RATE

# Colours that stay apart for the colour-blind (Okabe and Ito 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
# Colours by which people of the field know the detectors.
IFO_COLORS = {"H1": "#ee0000", "L1": "#4ba6ff", "V1": "#9b59b6", "K1": "#ffb200"}
BACKGROUND, INJECTIONS, GUIDE = "#5b6b7f", "#0072b2", "#9aa5b1"

SCORES = "scores"
MISSED = "missed injections"
LOUDEST = "loudest injections"
NOISE = "loudest background"
EXAMPLES = (MISSED, LOUDEST, NOISE)

LEVELS = {"hour": "1/hour", "day": "1/day", "loudest": "above all background"}
"""Levels of background at which a recall is drawn, as `Scores.thresholds` and people call them."""


CURVE = ("rate", "recall")
BINS = ("left", "right", "top", "bottom")
RECALL = ("snr", "recall", "low", "high")


def example_name(group: str, number: int) -> str:
    """Name of the data of an example; its figures add `strain` or `gradient`."""
    return f"{group} {number}"


def draw_scores() -> Column:
    """ROC, histogram of the scores, and recall against SNR, without data."""
    whole = {"y_range": (-0.03, 1.03), "x_axis_type": "log"}
    curve = _figure("roc", "fraction of background blocks above", "recall", **whole)
    curve.add_layout(
        BoxAnnotation(right=MAX_FALSE_POSITIVE_RATE, fill_color=INJECTIONS, fill_alpha=0.07)
    )
    curve.step("rate", "recall", source=_source("roc", CURVE), mode="after", color=INJECTIONS)
    for color, name in zip(COLORS[1:], LEVELS, strict=False):
        if name != "loudest":
            curve.scatter(
                "rate",
                "recall",
                source=_source(f"roc {name}", CURVE),
                size=9,
                color=color,
                legend_label=LEVELS[name],
            )
            curve.legend.items[-1].name = f"roc {name}"
    bars = _figure("histogram", "score", "fraction in the bin", y_axis_type="log")
    for name, color in (("background", BACKGROUND), ("injections", INJECTIONS)):
        bars.quad(
            left="left",
            right="right",
            top="top",
            bottom="bottom",
            source=_source(f"histogram {name}", BINS),
            fill_color=color,
            fill_alpha=0.35,
            line_color=color,
            legend_label=name,
        )
    recall = _figure("recall", "network SNR", "recall", **whole)
    for color, name in zip(COLORS[1:], LEVELS, strict=False):
        source = _source(f"recall {name}", RECALL)
        recall.segment("snr", "low", "snr", "high", source=source, color=color)
        recall.line("snr", "recall", source=source, color=color, legend_label=LEVELS[name])
        recall.scatter("snr", "recall", source=source, color=color, size=5)
        recall.legend.items[-1].name = source.name
    curve.legend.location = "bottom_right"
    recall.legend.location = "bottom_right"
    return column(
        row(curve, bars, recall, sizing_mode="stretch_width"), sizing_mode="stretch_width"
    )


def draw_examples(group: str, num_examples: int, ifos: Sequence[str]) -> Column:
    """Whitened strain and input gradient of examples, one below the other, without data.

    Args:
        group: Name of the group.
        num_examples: Number of examples.
        ifos: Detectors.
    """
    rows = []
    for number in range(num_examples):
        name = example_name(group, number)
        source = _source(
            name, ("time", *(f"{k} {i}" for k in ("strain", "gradient") for i in ifos))
        )
        merger = _source(f"{name} coalescence", ("time",))
        plots = []
        for kind, label in (
            ("strain", "whitened strain"),
            ("gradient", "d score / d strain"),
        ):
            options = {"x_range": plots[0].x_range} if plots else {}
            plot = _figure(f"{name} {kind}", "time in the kernel [s]", label, 210, **options)
            for position, ifo in enumerate(ifos):
                plot.line(
                    "time",
                    f"{kind} {ifo}",
                    source=source,
                    color=IFO_COLORS.get(ifo, COLORS[position % len(COLORS)]),
                    alpha=0.85,
                    legend_label=ifo,
                )
            plot.vspan(x="time", source=merger, line_color=GUIDE, line_dash="dashed")
            plot.legend.location = "top_left"
            plot.legend.orientation = "horizontal"
            plot.legend.padding = 2
            plot.legend.background_fill_alpha = 0.6
            plots.append(plot)
        rows.append(row(*plots, sizing_mode="stretch_width"))
    return column(*rows, sizing_mode="stretch_width")


def embeddable(drawing: Column) -> str:
    """A drawing as JSON that BokehJS can embed; the same for the same drawing.

    Args:
        drawing: Figures.
    """
    # unsorted: models are defined before they are referred to
    text = json.dumps(json_item(drawing))
    # bokeh counts all models it ever made, and gives random ids to documents
    pattern = re.compile(r'"(?:p\d{4,}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"')
    numbers: dict[str, str] = {}
    return pattern.sub(lambda m: numbers.setdefault(m[0], f'"n{len(numbers):05d}"'), text)


def _source(name: str, columns: Sequence[str]) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _figure(name: str, x: str, y: str, height: int = 320, **options: Any) -> figure:
    plot = figure(
        name=name,
        title=name,
        x_axis_label=x,
        y_axis_label=y,
        height=height,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset,save",
        **options,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.title.text_font_size = "13px"
    plot.outline_line_color = "#d5dbe1"
    plot.grid.grid_line_color = "#eceff3"
    for axis in plot.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_color = "#b8c0c9"
        axis.minor_tick_line_color = None
    return plot
