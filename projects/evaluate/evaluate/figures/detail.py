"""Whitened strain and scores around an event."""

import numpy as np
from bokeh.plotting import figure

from evaluate.candidates import Candidate
from evaluate.figures.style import GUIDE, INJECTIONS, finish_legend, ifo_color, new_figure
from evaluate.inputs import FoldResult

# What is shown of the whitened strain, to either side of the event [s]: a merger of black holes
# fills a fraction of a second.
HALF_LENGTH = 0.5
MAX_SAMPLES = 4096


def detail_figures(event: Candidate, result: FoldResult) -> tuple[figure, figure] | None:
    """Whitened strain and score series of a zero-lag event.

    Args:
        event: The event.
        result: Results of the event's fold.

    Returns:
        Figures of the strain, cut to `HALF_LENGTH` (or fewer, if more than `MAX_SAMPLES`) about
        the event's time, and of the score; None if the search kept no detail of the event.
    """
    events = result.zero_lag
    rows = np.flatnonzero(events.detail == event.position)
    if not len(rows):
        return None
    whitened = events.detail_whitened[rows[0]]
    middle = whitened.shape[1] // 2
    half = min(int(HALF_LENGTH * events.detail_rate), MAX_SAMPLES // 2, middle)
    shown = slice(middle - half, middle + half)
    time = (np.arange(whitened.shape[1]) - middle)[shown] / events.detail_rate
    about = f"time from GPS {event.gps:.3f} [s]"
    strain = new_figure(
        "Whitened strain", about, "whitened strain [standard deviations]", height=260
    )
    for i, ifo in enumerate(events.ifos):
        strain.line(
            time.astype(np.float32),
            whitened[i, shown].astype(np.float32),
            line_color=ifo_color(ifo, i),
            line_alpha=0.85,
            legend_label=ifo,
        )
    scores = events.detail_score[rows[0]]
    at = (np.arange(len(scores)) - len(scores) // 2) / events.detail_score_rate
    score = new_figure("Integrated score", about, "detection statistic", height=260)
    score.line(at, scores.astype(np.float32), line_color=INJECTIONS, line_width=1.5)
    for plot in (strain, score):
        plot.vspan(x=[0.0], line_color=GUIDE, line_dash="dashed")
    return finish_legend(strain, "top_left"), score
