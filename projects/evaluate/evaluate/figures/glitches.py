"""Where in time, and in which detector, the background is loud."""

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from evaluate.figures.style import ifo_color, new_figure
from evaluate.inputs import FoldResult

NUM_LOUDEST = 1000
NUM_BINS = 100
HOUR = 3600.0


def background_in_time(result: FoldResult) -> list[figure]:
    """Events over analysed time in each detector; the time axes move together.

    Args:
        result: Results of one fold.

    Returns:
        The rate of all background events, then one figure per detector with the loudest
        `NUM_LOUDEST`: what is chosen in one is marked in the others.
    """
    background = result.background
    analysed = np.asarray(background.analysed)
    axis = "analysed time, gaps left out [h]"
    edges, rates = event_rates(result)
    rate = new_figure(
        f"Background events, fold {result.fold}", axis, "rate of events [1/h]", height=240
    )
    # both ends of each bin, for a line of steps
    ends = np.repeat(edges / HOUR, 2)[1:-1]
    for i, ifo in enumerate(background.ifos):
        rate.line(
            ends,
            np.repeat(rates[i] * HOUR, 2),
            color=ifo_color(ifo, i),
            legend_label=f"time in {ifo}",
        )
    rate.legend.click_policy = "hide"
    loudest = np.argsort(-np.asarray(background.statistic), kind="stable")[:NUM_LOUDEST]
    times = np.asarray(background.time)[loudest]
    columns = {"statistic": np.asarray(background.statistic)[loudest]}
    for i, ifo in enumerate(background.ifos):
        columns[ifo] = analysed_before(times[:, i], analysed) / HOUR
        columns[f"GPS in {ifo}"] = times[:, i]
    source = ColumnDataSource(columns)
    tips = [(name, f"@{{{name}}}{{0.00}}") for name in columns if name not in background.ifos]
    plots = [rate]
    for i, ifo in enumerate(background.ifos):
        plot = new_figure(
            f"The {len(loudest)} loudest background events by their time in {ifo}, "
            f"fold {result.fold}",
            axis,
            "detection statistic",
            height=240,
            x_range=rate.x_range,
        )
        plot.scatter(
            ifo,
            "statistic",
            source=source,
            size=5,
            color=ifo_color(ifo, i),
            fill_alpha=0.5,
            line_alpha=0,
            nonselection_fill_alpha=0.06,
            selection_line_alpha=1,
            selection_line_color="#000000",
        )
        plot.add_tools("tap", "box_select", HoverTool(tooltips=tips))
        plots.append(plot)
    return plots


def event_rates(result: FoldResult) -> tuple[np.ndarray, np.ndarray]:
    """Rate of background events by the time in each detector.

    A slide takes each analysed moment of a detector once, so that the time searched in a bin is
    its share of the analysed time, times the livetime of all slides.

    Args:
        result: Results of one fold.

    Returns:
        Edges of `NUM_BINS` bins of analysed time [s], of shape (bin + 1,), and the rate [Hz], of
        shape (ifo, bin).
    """
    background = result.background
    analysed = np.asarray(background.analysed)
    edges = np.linspace(0, np.diff(analysed, axis=1).sum(), NUM_BINS + 1)
    counts = [
        np.histogram(analysed_before(times, analysed), edges)[0]
        for times in np.asarray(background.time).T
    ]
    return edges, np.array(counts) * NUM_BINS / background.livetime


def analysed_before(times: np.ndarray, analysed: np.ndarray) -> np.ndarray:
    """Analysed time before some times [s]: time without gaps.

    Args:
        times: GPS times [s].
        analysed: GPS spans, of shape (span, 2); none overlaps another.
    """
    spans = analysed[np.argsort(analysed[:, 0])]
    lengths = np.diff(spans, axis=1)[:, 0]
    before = np.cumsum(lengths) - lengths
    inside = np.searchsorted(spans[:, 0], times, side="right") - 1
    inside = np.maximum(inside, 0)
    return before[inside] + np.clip(times - spans[inside, 0], 0, lengths[inside])
