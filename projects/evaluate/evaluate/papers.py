"""Figures for papers, as PDF."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from scipy.stats import poisson

from evaluate.figures.style import BACKGROUND, COLORS, KNOWN, ZERO_LAG
from evaluate.findings import Findings
from evaluate.lines import Line, Lines, ranked_positions
from evaluate.rates import YEAR

# Width of a column and three quarters of it [inch]
SIZE = (3.375, 2.53)
STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "lines.linewidth": 1.2,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    # letters as letters, which journals ask for
    "pdf.fonttype": 42,
}
DASHES = ("-", "--", "-.", ":")


def write_papers(findings: Findings, lines: Lines, folder: Path) -> None:
    """Write one PDF per figure, the same bytes for the same input.

    Args:
        findings: What was found.
        lines: Lines of the figures.
        folder: Folder to write into; it is made.
    """
    folder.mkdir()
    # it tells of each table of letters that it leaves out
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    with rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = Figure(SIZE, layout="constrained")
            axes = figure.subplots()
            draw(axes, findings, lines)
            figure.savefig(
                folder / name,
                metadata={"CreationDate": None, "Creator": "evaluate", "Producer": None},
            )


def _volume(axes: Axes, findings: Findings, lines: Lines) -> None:
    _bands(axes, lines.volume)
    _frame(axes, "false-alarm rate [1/yr]", "sensitive volume [Gpc$^3$]", x_log=True)
    axes.set_ylim(bottom=0)


def _recall(axes: Axes, findings: Findings, lines: Lines) -> None:
    _bands(axes, lines.recall)
    _frame(axes, "false-alarm rate [1/yr]", "fraction of injections found", x_log=True)
    axes.set_ylim(0, 1.03)


def _background(axes: Axes, findings: Findings, lines: Lines) -> None:
    _bands(axes, lines.background, steps="post")
    for far in findings.experiment.evaluation.false_alarm_rates:
        axes.axhline(far, color="0.6", linestyle=":", linewidth=0.7)
    _frame(axes, "detection statistic", "background events at or above [1/yr]", y_log=True)


def _found(quantity: str) -> Callable[[Axes, Findings, Lines], None]:
    def draw(axes: Axes, findings: Findings, lines: Lines) -> None:
        label = next((name for name in lines.found if quantity in name), quantity)
        some = lines.found.get(label, [])
        for i, line in enumerate(some):
            at = line.x * (1 + 0.008 * (i - (len(some) - 1) / 2))
            # rounding may leave an end of the interval on the wrong side
            error = np.clip([line.y - line.low, line.high - line.y], 0, None)
            axes.errorbar(
                at, line.y, error, color=COLORS[i], marker="o", markersize=2, label=line.name
            )
        _frame(axes, label, "fraction of injections found", x_log=True)
        axes.set_ylim(-0.03, 1.03)
        if some:
            # numbers within two decades are read better without powers of ten
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
            axes.xaxis.set_minor_formatter("{x:g}")

    return draw


def _events(axes: Axes, findings: Findings, lines: Lines) -> None:
    """Zero-lag events against inverse false-alarm rate."""
    interval = findings.experiment.evaluation.interval
    rated = sorted(
        (event for event in findings.candidates if event.far), key=lambda e: e.far or 0.0
    )
    if rated:
        kept = ranked_positions(len(rated))
        shown = [rated[i] for i in kept]
        inverse = np.array([1 / event.far for event in shown if event.far])
        grid = np.geomspace(inverse.min() / 1.5, inverse.max() * 3, 80)
        searched = sum(result.zero_lag.livetime for result in findings.folds)
        expected = searched / YEAR / grid
        low, high = poisson.interval(interval, expected)
        label = f"noise, {100 * interval:.0f}% of cases"
        axes.fill_between(grid, np.maximum(low, 0.1), high, color=BACKGROUND, alpha=0.2, lw=0)
        axes.plot(grid, expected, color=BACKGROUND, label=label)
        for limit, known in ((False, False), (True, False), (False, True), (True, True)):
            mask = np.array(
                [(e.is_upper_limit, e.known is not None) == (limit, known) for e in shown]
            )
            if mask.any():
                axes.plot(
                    inverse[mask],
                    kept[mask] + 1,
                    ">" if limit else "o",
                    color=KNOWN if known else ZERO_LAG,
                    markersize=3,
                    label=("known event" if known else "zero lag")
                    + (", above all background" if limit else ""),
                )
        axes.set_ylim(0.5, 3 * max(len(rated), 3))
    _frame(axes, "inverse false-alarm rate [yr]", "events at or above", x_log=True, y_log=True)


def _bands(axes: Axes, lines: Sequence[Line], steps: str | None = None) -> None:
    for i, line in enumerate(lines):
        look = {"color": COLORS[i % len(COLORS)]}
        low = np.maximum(line.low, line.y.min() / 30) if line.y.min() > 0 else line.low
        axes.fill_between(line.x, low, line.high, alpha=0.2, lw=0, step=steps and "post", **look)
        axes.plot(
            line.x,
            line.y,
            DASHES[i // len(COLORS) % len(DASHES)],
            drawstyle=f"steps-{steps}" if steps else "default",
            label=line.name.replace("M☉", r"$M_\odot$"),
            **look,
        )


def _frame(axes: Axes, x: str, y: str, x_log: bool = False, y_log: bool = False) -> None:
    axes.set_xlabel(x.replace("M☉", r"$M_\odot$"))
    axes.set_ylabel(y)
    if axes.lines and x_log:
        axes.set_xscale("log")
    if axes.lines and y_log:
        axes.set_yscale("log")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _reliability(axes: Axes, findings: Findings, lines: Lines) -> None:
    """Fraction of signals against p_astro."""
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=0.7)
    made = findings.calibration
    if made is not None:
        error = np.clip([made.fraction - made.lower, made.upper - made.fraction], 0, None)
        axes.errorbar(
            made.expected, made.fraction, error, color=COLORS[0], marker="o", markersize=3, ls=""
        )
    _frame(axes, "mean p$_{astro}$", "fraction of signals")


FIGURES: Mapping[str, Callable[[Axes, Findings, Lines], None]] = {
    "sensitive-volume.pdf": _volume,
    "found-against-false-alarm-rate.pdf": _recall,
    "found-against-snr.pdf": _found("SNR"),
    "found-against-distance.pdf": _found("distance"),
    "found-against-chirp-mass.pdf": _found("chirp mass"),
    "background.pdf": _background,
    "zero-lag.pdf": _events,
    "p-astro-reliability.pdf": _reliability,
}
"""What draws each file."""

NAMES = tuple(FIGURES)
