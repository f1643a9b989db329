"""Injections found against SNR, and sensitive volume against false-alarm rate."""

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import DataRange1d
from bokeh.plotting import figure

from evaluate.efficiency import found_fraction, snr_edges
from evaluate.figures.style import COLORS, finish_legend, new_figure
from evaluate.inputs import FoldResult
from evaluate.sensitivity import PairSensitivity


def fraction_against_snr(
    folds: Sequence[FoldResult],
    recovered: Mapping[float, list[np.ndarray] | None],
    interval: float,
) -> figure | None:
    """Fraction of accepted injections found in bins of network SNR.

    Args:
        folds: Results of all folds.
        recovered: Which injections are found at each false-alarm rate [1/yr].
        interval: Probability content of the error bars.

    Returns:
        The figure; None if there is no accepted injection or no supported rate.
    """
    snr = np.concatenate([result.injections.snr for result in folds])
    supported = {far: found for far, found in recovered.items() if found is not None}
    if not len(snr) or not supported:
        return None
    edges = snr_edges(snr)
    plot = new_figure(
        f"Injections found, with {interval:.0%} binomial intervals",
        "optimal network SNR",
        "fraction of accepted injections found",
        x_axis_type="log",
        y_range=(-0.03, 1.03),
        x_range=(edges[0] / 1.03, edges[-1] * 1.03),
    )
    plot.xaxis.ticker = [4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 60]
    middle = np.sqrt(edges[:-1] * edges[1:])
    for i, (far, found) in enumerate(supported.items()):
        result = found_fraction(snr, np.concatenate(found), edges, interval)
        some = result.num_total > 0
        # next to each other, so that error bars do not hide one another
        at = middle[some] * (1 + 0.008 * (i - (len(supported) - 1) / 2))
        color = COLORS[i % len(COLORS)]
        label = f"{far:g} / yr"
        plot.segment(at, result.lower[some], at, result.upper[some], line_color=color)
        plot.line(at, result.fraction[some], line_color=color, line_width=2, legend_label=label)
        plot.scatter(at, result.fraction[some], size=6, color=color, legend_label=label)
    plot.legend.title = "false-alarm rate"
    return finish_legend(plot, "bottom_right")


def volume_against_rate(volumes: Sequence[PairSensitivity]) -> figure:
    """Sensitive volume of each mass pair against false-alarm rate, with one standard deviation.

    Args:
        volumes: Sensitive volumes of all mass pairs.
    """
    plot = new_figure(
        "Sensitive volume, with one standard deviation",
        "false-alarm rate [1/yr]",
        "sensitive volume [Gpc³]",
        x_axis_type="log",
        y_range=DataRange1d(start=0),
    )
    for i, pair in enumerate(volumes):
        color = COLORS[i % len(COLORS)]
        volume = np.array([point.volume for point in pair.curve])
        std = np.array([point.std or 0.0 for point in pair.curve])
        label = f"{pair.pair[0]:g} + {pair.pair[1]:g} M☉"
        plot.varea(
            x=pair.curve_far,
            y1=np.maximum(volume - std, 0),
            y2=volume + std,
            fill_color=color,
            fill_alpha=0.18,
            legend_label=label,
        )
        plot.line(pair.curve_far, volume, line_color=color, line_width=2, legend_label=label)
    return finish_legend(plot, "top_left")
