"""Statistics of background, injections and zero lag; rates against statistic; inverse FAR."""

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.plotting import figure
from scipy.stats import poisson

from evaluate.candidates import Candidate
from evaluate.dispersion import Dispersion
from evaluate.figures.style import (
    BACKGROUND,
    GUIDE,
    INJECTIONS,
    KNOWN,
    ZERO_LAG,
    finish_legend,
    new_figure,
)
from evaluate.inputs import FoldResult
from evaluate.lines import ranked_positions
from evaluate.rates import YEAR, false_alarm_rate, poisson_interval

NUM_BINS = 70
# Opens the page of an event that was clicked on.
OPEN = """
const page = source.data["page"][source.selected.indices[0]];
if (page) { window.location.href = page; }
"""


def score_histogram(result: FoldResult) -> figure:
    """Events per bin of statistic, the background scaled to the zero-lag livetime.

    Injections louder than all noise and than nine tenths of the injections join the last bin.

    Args:
        result: Results of one fold.
    """
    background = result.background.statistic
    zero_lag = result.zero_lag.statistic
    injections = result.injections.statistic
    every = np.concatenate([background, zero_lag, injections])
    # the loudest injections, which all are found, would squeeze the rest: see the last bin
    noise = np.concatenate([background, zero_lag])
    top = max(noise.max(), np.quantile(injections, 0.9) if len(injections) else noise.max())
    edges = np.linspace(every.min(), max(top, every.min() + 1e-6), NUM_BINS + 1)
    injections = np.minimum(injections, edges[-1])
    scale = result.zero_lag.livetime / result.background.livetime
    expected = np.histogram(background, edges)[0] * scale
    bottom = 0.4 * min(scale, 1.0)
    injected = np.histogram(injections, edges)[0]
    counts = np.histogram(zero_lag, edges)[0]
    low, high = poisson_interval(counts, 0.6827)
    top = 3 * max(expected.max(), injected.max(initial=1), counts.max(initial=1))
    plot = new_figure(
        f"Statistics, fold {result.fold}",
        "detection statistic",
        "events per bin",
        y_axis_type="log",
        y_range=(bottom, top),
    )
    left, right = edges[:-1], edges[1:]
    for values, color, alpha, name in (
        (expected, BACKGROUND, 0.45, "background, scaled to the zero-lag livetime"),
        (injected, INJECTIONS, 0.25, "injections accepted (last bin: all louder ones)"),
    ):
        some = values > 0
        if not some.any():
            continue
        plot.quad(
            left=left[some],
            right=right[some],
            bottom=bottom,
            top=values[some].astype(float),
            fill_color=color,
            fill_alpha=alpha,
            line_color=color,
            line_width=0.6,
            legend_label=name,
        )
    some = counts > 0
    middle = (left + right)[some] / 2
    plot.segment(
        middle,
        np.maximum(low[some], bottom),
        middle,
        high[some],
        line_color=ZERO_LAG,
        legend_label="zero lag",
    )
    plot.scatter(
        middle, counts[some].astype(float), size=6, color=ZERO_LAG, legend_label="zero lag"
    )
    return finish_legend(plot, "below")


def cumulative_rate(
    result: FoldResult, dispersion: Dispersion, rates: Sequence[float], interval: float
) -> figure:
    """Rate of events at or above a statistic, with the interval of the background.

    Args:
        result: Results of one fold.
        dispersion: That of its background.
        rates: False-alarm rates to mark [1/yr].
        interval: Probability content of the band.
    """
    background, zero_lag = result.background, result.zero_lag
    at = _ranked(background.statistic)
    far = false_alarm_rate(
        at,
        background.statistic,
        background.livetime,
        interval,
        interval_of=dispersion.interval,
    )
    plot = new_figure(
        f"Rate of events against statistic, fold {result.fold}",
        "detection statistic",
        "rate of events at or above [1/yr]",
        y_axis_type="log",
    )
    band = f"background, {interval:.0%} interval"
    plot.varea(
        x=_step(at)[1:],
        y1=_step(np.maximum(far.lower, far.rate.min() / 30))[:-1],
        y2=_step(far.upper)[:-1],
        fill_color=BACKGROUND,
        fill_alpha=0.25,
        legend_label=band,
    )
    plot.line(
        _step(at)[1:],
        _step(far.rate)[:-1],
        line_color=BACKGROUND,
        line_width=2,
        legend_label=band,
    )
    if len(zero_lag.statistic):
        at = _ranked(zero_lag.statistic)
        count = false_alarm_rate(at, zero_lag.statistic, zero_lag.livetime, interval)
        plot.line(
            _step(at)[1:],
            _step(count.rate)[:-1],
            line_color=ZERO_LAG,
            line_width=1.5,
            legend_label="zero lag",
        )
        plot.scatter(at[:20], count.rate[:20], size=5, color=ZERO_LAG, legend_label="zero lag")
    plot.hspan(
        y=[YEAR / background.livetime],
        line_color="#1c2733",
        legend_label="one event in the background livetime",
    )
    plot.hspan(
        y=list(rates),
        line_color=GUIDE,
        line_dash="dashed",
        legend_label="false-alarm rates of the experiment",
    )
    return finish_legend(plot, "below")


def inverse_rates(
    candidates: Sequence[Candidate],
    searched: float,
    interval: float,
    pages: Mapping[tuple[int, int], str],
) -> figure | None:
    """Number of zero-lag events against inverse false-alarm rate, all folds together.

    Args:
        candidates: All zero-lag events, the most significant first.
        searched: Time searched by all folds [s].
        interval: Probability content of the band.
        pages: Page of each event that has one, by the event's key; a click on it opens the page.

    Returns:
        The figure; None if no event has a false-alarm rate.
    """
    rated = [event for event in candidates if event.far is not None]
    if not rated:
        return None
    rated.sort(key=lambda event: event.far or 0.0)
    kept = ranked_positions(len(rated))
    shown = [rated[i] for i in kept]
    page = np.array([pages.get(event.key, "") for event in shown], dtype=object)
    number = kept + 1.0
    inverse = np.array([1 / event.far for event in shown if event.far])
    grid = np.geomspace(inverse.min() / 1.5, inverse.max() * 3, 80)
    expected = searched / YEAR / grid
    low, high = poisson.interval(interval, expected)
    plot = new_figure(
        "Zero-lag events against inverse false-alarm rate, all folds together",
        "inverse false-alarm rate [yr]",
        "number of events at or above",
        x_axis_type="log",
        y_axis_type="log",
        y_range=(0.5, 3.0 * max(len(rated), 3)),
    )
    noise = f"noise alone: expectation and {interval:.0%} of cases"
    plot.varea(
        x=grid,
        y1=np.maximum(low, 0.1),
        y2=np.maximum(high, 0.1),
        fill_color=BACKGROUND,
        fill_alpha=0.2,
        legend_label=noise,
    )
    plot.line(grid, expected, line_color=BACKGROUND, line_width=2, legend_label=noise)
    limit = np.array([event.is_upper_limit for event in shown])
    known = np.array([event.known is not None for event in shown])
    for mask, marker, color, label in (
        (~limit & ~known, "circle", ZERO_LAG, "zero lag"),
        (limit & ~known, "triangle", ZERO_LAG, "zero lag, above all background: lower limit"),
        (~limit & known, "circle", KNOWN, "in the window of a known event"),
        (limit & known, "triangle", KNOWN, "known event, above all background: lower limit"),
    ):
        if mask.any():
            source = ColumnDataSource(
                {"inverse": inverse[mask], "number": number[mask], "page": page[mask]}
            )
            source.selected.js_on_change("indices", CustomJS(args={"source": source}, code=OPEN))
            plot.scatter(
                "inverse",
                "number",
                source=source,
                marker=marker,
                size=7,
                # a triangle that points to where the event may lie
                angle=-np.pi / 2 if marker == "triangle" else 0.0,
                color=color,
                legend_label=label,
                nonselection_alpha=1,
            )
    plot.add_tools("tap")
    return finish_legend(plot, "top_right")


def _ranked(statistic: np.ndarray) -> np.ndarray:
    """Some of the statistics, the loudest first."""
    loud_first = -np.sort(-statistic)
    return loud_first[ranked_positions(len(loud_first))]


def _step(values: np.ndarray) -> np.ndarray:
    """Each value twice: without the first for x, without the last for y, a curve of steps."""
    return np.repeat(values, 2)
