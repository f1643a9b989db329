"""Figures of the lines of one report, or of two beside each other."""

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import DataRange1d, Range1d
from bokeh.plotting import figure

from evaluate.figures.style import COLORS, Place, finish_legend, new_figure
from evaluate.lines import Line

DASHES = ("solid", "dashed", "dotdash")
SNR_TICKS = (4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 60)


def volume_figure(reports: Mapping[str, Sequence[Line]]) -> figure:
    """Sensitive volume of each target against false-alarm rate, with one standard deviation.

    Args:
        reports: Lines by the name of the report; one report needs no name.
    """
    plot = new_figure(
        "Sensitive volume, with one standard deviation",
        "false-alarm rate [1/yr]",
        "sensitive volume [Gpc³]",
        x_axis_type="log",
        y_range=DataRange1d(start=0),
    )
    return _drawn(plot, reports, "below")


def recall_figure(reports: Mapping[str, Sequence[Line]], interval: float) -> figure:
    """Fraction of injections found against false-alarm rate: the ROC of the search.

    Args:
        reports: Lines by the name of the report.
        interval: Probability content of the bands.
    """
    plot = new_figure(
        f"Injections found, with {interval:.0%} binomial intervals",
        "false-alarm rate [1/yr]",
        "fraction of accepted injections found",
        x_axis_type="log",
        y_range=Range1d(-0.03, 1.03),
    )
    return _drawn(plot, reports, "below")


def found_figure(reports: Mapping[str, Sequence[Line]], quantity: str, interval: float) -> figure:
    """Fraction of injections found in bins of a quantity.

    Args:
        reports: Lines by the name of the report, one per false-alarm rate.
        quantity: Label of the quantity, with its unit.
        interval: Probability content of the error bars.
    """
    places = np.concatenate([line.x for lines in reports.values() for line in lines])
    plot = new_figure(
        f"Injections found, {interval:.0%} intervals",
        quantity,
        "fraction of accepted injections found",
        x_axis_type="log",
        y_range=Range1d(-0.03, 1.03),
        x_range=Range1d(float(places.min()) / 1.1, float(places.max()) * 1.1),
    )
    if "SNR" in quantity:
        plot.xaxis.ticker = list(SNR_TICKS)
    number = sum(len(lines) for lines in reports.values())
    drawn = 0
    for j, (report, lines) in enumerate(reports.items()):
        for i, line in enumerate(lines):
            # next to each other, so that error bars do not hide one another
            at = line.x * (1 + 0.008 * (drawn - (number - 1) / 2))
            drawn += 1
            look = {"color": COLORS[i % len(COLORS)], "legend_label": _label(report, line)}
            plot.segment(at, line.low, at, line.high, **look)
            plot.line(at, line.y, line_width=2, line_dash=DASHES[j % len(DASHES)], **look)
            plot.scatter(at, line.y, size=6, **look)
    plot.legend.title = "false-alarm rate"
    return finish_legend(plot, "below")


def background_figure(reports: Mapping[str, Sequence[Line]], interval: float) -> figure:
    """Rate of background events at or above a statistic.

    Args:
        reports: Lines by the name of the report, one per fold.
        interval: Probability content of the bands.
    """
    plot = new_figure(
        f"Background, with {interval:.0%} Poisson intervals",
        "detection statistic",
        "rate of events at or above [1/yr]",
        y_axis_type="log",
    )
    return _drawn(plot, reports, "top_right")


def _label(report: str, line: Line) -> str:
    return f"{line.name}, {report}" if report else line.name


def _drawn(plot: figure, reports: Mapping[str, Sequence[Line]], place: Place) -> figure:
    for j, (report, lines) in enumerate(reports.items()):
        for i, line in enumerate(lines):
            color, label = COLORS[i % len(COLORS)], _label(report, line)
            # an axis of logarithms has no zero
            low = np.maximum(line.low, line.y.min() / 30) if line.y.min() > 0 else line.low
            plot.varea(
                x=line.x,
                y1=low,
                y2=line.high,
                fill_color=color,
                fill_alpha=0.15,
                legend_label=label,
            )
            plot.line(
                line.x,
                line.y,
                line_color=color,
                line_width=2,
                line_dash=DASHES[j % len(DASHES)],
                legend_label=label,
            )
    return finish_legend(plot, place)
