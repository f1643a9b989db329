"""Figures of the report."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import Span
from bokeh.plotting import figure

from deepclean.report.findings import Findings
from deepclean.report.signals import SNR

# Colours that stay apart for the colour-blind (Okabe and Ito 2008).
RAW, CLEANED, PRODUCTION, OPTIMUM = "#5b6b7f", "#0072b2", "#56b4e9", "#009e73"
DROPPED, GUIDE = "#d55e00", "#9aa5b1"
SERIES = {
    "raw": ("raw", RAW),
    "production": ("production, without the gate", PRODUCTION),
    "out_dq": ("cleaned (OUT_DQ)", CLEANED),
    "background": ("best possible", OPTIMUM),
}
AROUND = 10.0
"""What is shown on either side of the bands [Hz]."""


def new_figure(title: str, x: str, y: str, height: int = 340, **options: Any) -> figure:
    """An empty figure as wide as its place."""
    plot = figure(
        title=title,
        x_axis_label=x,
        y_axis_label=y,
        height=height,
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset,save",
        **options,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    return plot


def all_figures(findings: Findings) -> dict[str, figure]:
    """All figures by name."""
    plots = {
        "density": _density(findings),
        "spectrum": _spectrum(findings),
        "ratio": _ratio(findings),
        "outside": _outside(findings),
        "gate": _gate(findings),
        "ranges": _ranges(findings),
        "signals": _signals(findings),
    }
    for i in range(len(findings.coherence)):
        plots[f"coherence_{i}"] = _coherence(findings, i)
    return plots


def _shown(findings: Findings) -> tuple[float, float]:
    bands = findings.bands
    return max(1.0, bands[0][0] - AROUND), bands[-1][1] + AROUND


def _edges(findings: Findings, plot: figure) -> None:
    for band in findings.bands:
        for edge in band:
            plot.add_layout(Span(location=edge, dimension="height", line_color=GUIDE))


def _lines(findings: Findings, plot: figure, chosen: np.ndarray) -> None:
    frequency = findings.density.frequency[chosen]
    for name, (label, color) in SERIES.items():
        if name in findings.density:
            values = findings.density.asd(name)[chosen]
            plot.line(frequency, values, color=color, legend_label=label, line_width=1.5)
    plot.legend.click_policy = "hide"


def _density(findings: Findings) -> figure:
    plot = new_figure(
        "Density around the bands", "frequency [Hz]", "strain / √Hz", y_axis_type="log"
    )
    low, high = _shown(findings)
    frequency = findings.density.frequency
    _lines(findings, plot, (frequency >= low) & (frequency <= high))
    _edges(findings, plot)
    return plot


def _spectrum(findings: Findings) -> figure:
    plot = new_figure(
        "Density", "frequency [Hz]", "strain / √Hz", y_axis_type="log", x_axis_type="log"
    )
    frequency = findings.density.frequency
    _lines(findings, plot, (frequency >= 10) & (frequency < 0.45 * findings.density.rate))
    return plot


def _ratio(findings: Findings) -> figure:
    plot = new_figure("Density over that of raw strain, bin by bin", "frequency [Hz]", "ratio")
    low, high = _shown(findings)
    frequency = findings.density.frequency
    chosen = (frequency >= low) & (frequency <= high)
    for name, (label, color) in SERIES.items():
        if name != "raw" and name in findings.density:
            plot.step(
                frequency[chosen],
                findings.ratio(name)[chosen],
                color=color,
                mode="center",
                legend_label=label,
                line_width=1.5,
            )
    plot.add_layout(Span(location=1, dimension="width", line_color=GUIDE))
    _edges(findings, plot)
    plot.legend.location = "bottom_left"
    plot.legend.click_policy = "hide"
    return plot


def _outside(findings: Findings) -> figure:
    plot = new_figure(
        "Change of bins that see nothing of a band",
        "frequency [Hz]",
        "OUT_DQ over raw, less 1",
        x_axis_type="log",
    )
    chosen = findings.outside
    change = findings.ratio("out_dq")[chosen] - 1
    plot.line(findings.density.frequency[chosen], change, color=CLEANED)
    for limit in (-1e-3, 1e-3):
        plot.add_layout(Span(location=limit, dimension="width", line_color=GUIDE))
    return plot


def _gate(findings: Findings) -> figure:
    plot = new_figure(
        "What the cleaner did",
        f"time since GPS {findings.start} [s]",
        "",
        height=230,
        y_range=["not analysed", "witnesses missing", "gate tapers or is closed", "cleaned"],
    )
    rows = (
        ("cleaned", CLEANED, [s.cleaned for s in findings.seconds]),
        ("gate tapers or is closed", RAW, [not s.cleaned for s in findings.seconds]),
        ("witnesses missing", DROPPED, [s.dropped for s in findings.seconds]),
        ("not analysed", GUIDE, [not s.analysed for s in findings.seconds]),
    )
    place = np.array([s.second for s in findings.seconds]) - findings.start
    for name, color, chosen in rows:
        left = place[np.array(chosen)]
        plot.hbar(y=[name] * len(left), left=left, right=left + 1, height=0.7, color=color)
    return plot


def _ranges(findings: Findings) -> figure:
    plot = new_figure(
        "Range for 1.4 + 1.4 M☉", f"time since GPS {findings.start} [s]", "range [Mpc]"
    )
    time = np.array([r.time for r in findings.ranges]) - findings.start
    for label, color, values in (
        ("raw", RAW, [r.before for r in findings.ranges]),
        ("cleaned (OUT_DQ)", CLEANED, [r.after for r in findings.ranges]),
    ):
        plot.line(time, values, color=color, legend_label=label)
        plot.scatter(time, values, color=color, size=6)
    return plot


def _signals(findings: Findings) -> figure:
    plot = new_figure(
        f"Injected signals of optimal SNR {SNR:g}: error of what was found, in standard errors",
        "SNR found less optimal SNR",
        "phase found, times optimal SNR",
        match_aspect=True,
    )
    for k, (label, color) in enumerate((("raw", RAW), ("cleaned (OUT_DQ)", CLEANED))):
        found = np.array([(s.before, s.after)[k] for s in findings.signals])
        optimal = np.array([s.optimal[k] for s in findings.signals])
        phase = np.angle(found) * optimal
        plot.scatter(found.real - optimal, phase, color=color, legend_label=label, size=7)
    for radius in (1, 2, 3):
        plot.ellipse(
            0, 0, 2 * radius, 2 * radius, fill_color=None, line_color=GUIDE, line_dash="dotted"
        )
    return plot


def _coherence(findings: Findings, number: int) -> figure:
    layer = findings.coherence[number]
    plot = new_figure(
        "Largest coherence with any witness, bin by bin",
        "frequency [Hz]",
        "coherence",
        y_range=(0, 1),
    )
    low, high = _shown(findings)
    frequency = layer.frequency
    chosen = (frequency >= low) & (frequency <= high)
    for name in ("raw", "out_dq"):
        label, color = SERIES[name]
        highest = layer.coherence(name)[:, chosen].max(axis=0)
        plot.line(frequency[chosen], highest, color=color, legend_label=label, line_width=1.5)
    floor = 1 / max(1, layer.number)
    plot.add_layout(Span(location=floor, dimension="width", line_color=GUIDE))
    _edges(findings, plot)
    return plot
