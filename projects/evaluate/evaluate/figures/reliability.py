"""Whether p_astro is what it says."""

from bokeh.models import Range1d
from bokeh.plotting import figure

from evaluate.calibration import Calibration
from evaluate.figures.style import COLORS, GUIDE, INJECTIONS, finish_legend, new_figure


def reliability_figure(calibration: Calibration, interval: float) -> figure:
    """Fraction of signals among events against their p_astro, both known.

    Args:
        calibration: The comparison.
        interval: Probability content of the error bars.
    """
    plot = new_figure(
        f"Fraction of signals against p_astro, {interval:.0%} binomial intervals",
        "mean p_astro of the events in a bin",
        "fraction of signals",
        height=320,
        x_range=Range1d(-0.03, 1.03),
        y_range=Range1d(-0.03, 1.03),
    )
    plot.line([0, 1], [0, 1], line_color=GUIDE, line_dash="dashed", legend_label="what it says")
    at, off = calibration.expected, calibration.off
    for mask, color, label in (
        (~off, INJECTIONS, "as chance allows"),
        (off, COLORS[1], "off"),
    ):
        if mask.any():
            look = {"color": color, "legend_label": label}
            plot.segment(
                at[mask], calibration.lower[mask], at[mask], calibration.upper[mask], **look
            )
            plot.scatter(at[mask], calibration.fraction[mask], size=7, **look)
    return finish_legend(plot, "top_left")
