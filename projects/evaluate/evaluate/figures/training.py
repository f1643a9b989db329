"""Training curves."""

from collections.abc import Sequence

from bokeh.plotting import figure

from evaluate.curves import TrainingCurves
from evaluate.figures.style import COLORS, finish_legend, new_figure


def training_figures(runs: Sequence[TrainingCurves]) -> list[figure]:
    """One figure for all losses, and one for each other quantity that was logged.

    Args:
        runs: Logs of the trainings, one for each fold.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.curves))
    losses = [name for name in names if "loss" in name]
    groups = [losses] if losses else []
    groups += [[name] for name in names if name not in losses]
    return [_curves(runs, group) for group in groups]


def _curves(runs: Sequence[TrainingCurves], names: Sequence[str]) -> figure:
    title = "loss" if len(names) > 1 else names[0]
    plot = new_figure(title, runs[0].axis, title, height=280)
    dashes = ("solid", "dashed", "dotted", "dotdash")
    for i, run in enumerate(runs):
        for j, name in enumerate(names):
            if name not in run.curves:
                continue
            at, values = run.curves[name]
            color = COLORS[i % len(COLORS)]
            label = f"{name}, {run.name}" if len(names) > 1 else run.name
            dash = dashes[j % len(dashes)]
            plot.line(
                at, values, line_color=color, line_dash=dash, line_width=2, legend_label=label
            )
            if len(at) < 60:
                plot.scatter(at, values, size=4, color=color, legend_label=label)
    return finish_legend(plot, "top_right" if "loss" in title else "bottom_right")
