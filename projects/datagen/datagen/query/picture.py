"""Picture of the livetime: who observed when, what was cut, what is left for which role."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import lal
import matplotlib.style
import numpy as np
from igwn_segments import segmentlist
from ledger import SegmentList
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from datagen.query.coincidence import Yield
from datagen.query.intervals import intervals, length

DAY = 86400.0
# told apart also by those who do not see red and green apart
COLOURS = {"training": "#4477aa", "validation": "#ccbb44", "search": "#aa3377"}
SCIENCE, VETO, EVENT, REST = "#8fa3b0", "#cc3311", "#222222", "#f1f3f4"
SCIENCE_BAND, VETO_BAND, ROLE_BAND = (0.02, 0.36), (-0.24, 0.2), (-0.28, 0.56)
EVENT_ROW = -0.6
# spans further apart than this part of all time shown stand side by side, without the time between
WIDEST_GAP = 0.25
# of the width of the picture
NARROWEST = 0.15
# units of the time axis, each for spans of at least twice its length
UNITS = ((DAY, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def _panels(yields: Sequence[Yield]) -> list[tuple[float, float]]:
    """GPS spans to show beside each other: those of the roles, joined where they are near."""
    spans = intervals(item.span for item in yields)
    total = length(spans)
    panels = [tuple(spans[0])]
    for start, stop in spans[1:]:
        if start - panels[-1][1] < WIDEST_GAP * total:
            panels[-1] = (panels[-1][0], stop)
        else:
            panels.append((start, stop))
    return panels


def _bars(
    axes: Axes,
    pairs: Iterable[tuple[float, float]],
    row: float,
    band: tuple[float, float],
    colour: str,
    edge: float = 0.0,
) -> None:
    """Draw intervals as bars; an edge [points] keeps the shortest in sight."""
    bottom, height = band
    axes.broken_barh(
        [(start, stop - start) for start, stop in pairs],
        (row + bottom, height),
        facecolor=colour,
        edgecolor=colour,
        linewidth=edge,
    )


def _duration(seconds: float) -> str:
    for size, unit in ((DAY, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 0.1 * size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds:.1f} s"


def draw_livetime(
    product: SegmentList, yields: Sequence[Yield], title: str, path: str | Path
) -> None:
    """Draw the segments and what they were made of, as a PNG that has the same bytes each time.

    Args:
        product: The segments.
        yields: What each role gets.
        title: Name of the experiment.
        path: File to write.
    """
    science, vetoes = [], []
    for index in range(len(product.ifos)):
        own, out = product.science_ifo == index, product.veto_ifo == index
        science.append(
            intervals(zip(product.science_start[own], product.science_stop[own], strict=True))
        )
        vetoes.append(intervals(zip(product.veto_start[out], product.veto_stop[out], strict=True)))
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(11, 1.9 + 0.72 * (len(product.ifos) + 1)), layout="constrained")
        panels = _panels(yields)
        least = NARROWEST * sum(stop - start for start, stop in panels)
        widths = [max(stop - start, least) for start, stop in panels]
        (row,) = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)
        for axes, (start, stop) in zip(row, panels, strict=True):
            _draw_panel(axes, product, yields, science, vetoes)
            _label_time(axes, start, stop)
        _label_rows(row[0], row[-1], product, yields, science, vetoes)
        figure.suptitle(f"{title}: times to analyse", x=0.02, ha="left", weight="bold")
        figure.legend(
            handles=_legend(product, yields),
            loc="outside lower left",
            ncols=6,
            frameon=False,
            handlelength=1.2,
            columnspacing=1.4,
        )
        figure.savefig(path, dpi=150, format="png", metadata={"Software": None})


def _draw_panel(
    axes: Axes,
    product: SegmentList,
    yields: Sequence[Yield],
    science: Sequence[segmentlist],
    vetoes: Sequence[segmentlist],
) -> None:
    bottom = len(product.ifos)
    for item in yields:
        _bars(axes, [item.span], bottom, ROLE_BAND, REST)
        _bars(axes, item.segments, bottom, ROLE_BAND, COLOURS[item.role])
    for row in range(len(product.ifos)):
        for item in yields:
            _bars(axes, [item.span], row, SCIENCE_BAND, REST)
        _bars(axes, science[row], row, SCIENCE_BAND, SCIENCE)
        _bars(axes, vetoes[row], row, VETO_BAND, VETO, edge=0.4)
    if len(product.event_time):
        axes.plot(
            product.event_time,
            np.full(len(product.event_time), EVENT_ROW),
            linestyle="",
            marker="v",
            markersize=4.5,
            color=EVENT,
        )


def _label_time(axes: Axes, start: float, stop: float) -> None:
    """Count days (or hours) from the start of what is shown, and say when that is."""
    axes.set_xlim(start, stop)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(left=False)
    size, unit = next((unit for unit in UNITS if stop - start >= 2 * unit[0]), UNITS[-1])
    count = (stop - start) / size
    step = next((step for step in STEPS if step >= count / 8), STEPS[-1])
    ticks = np.arange(0, count + 1e-9, step)
    axes.set_xticks(start + ticks * size, [f"{tick:.0f}" for tick in ticks])
    date = datetime(*lal.GPSToUTC(int(start))[:6]).strftime("%Y-%m-%d %H:%M")
    axes.set_xlabel(f"{unit} since {date} UTC\nGPS {start:.0f}", fontsize=9)


def _label_rows(
    left: Axes,
    right: Axes,
    product: SegmentList,
    yields: Sequence[Yield],
    science: Sequence[segmentlist],
    vetoes: Sequence[segmentlist],
) -> None:
    """Name the rows at the left, and give their totals at the right."""
    bottom = len(product.ifos)
    names = [
        f"{ifo}\n{flag}" if len(flag) <= 28 else f"{ifo}\n{flag[:27]}…"
        for ifo, flag in zip(product.ifos, product.flags, strict=True)
    ]
    rows: dict[float, str] = dict(enumerate([*names, "coincident"]))
    beside = right.get_yaxis_transform()
    count = len(product.event_time)
    if count:
        rows[EVENT_ROW] = "known events"
        right.text(1.01, EVENT_ROW, f"{count}", transform=beside, va="center", fontsize=9)
    left.set_yticks(list(rows), list(rows.values()), fontsize=9)
    left.set_ylim(bottom + 0.45, EVENT_ROW - 0.2 if count else -0.4)
    for row, (own, out) in enumerate(zip(science, vetoes, strict=True)):
        text = f"{_duration(length(own))} science"
        if out:
            text += f"\n{_duration(length(own & out))} vetoed"
        right.text(1.01, row, text, transform=beside, va="center", fontsize=9)
    total = sum(item.livetime for item in yields)
    right.text(
        1.01, bottom, f"{_duration(total)} to analyse", transform=beside, va="center", fontsize=9
    )


def _legend(product: SegmentList, yields: Sequence[Yield]) -> list[Patch]:
    handles = [Patch(color=SCIENCE, label="science")]
    if len(product.veto_start):
        handles.append(Patch(color=VETO, label="vetoed"))
    handles += [
        Patch(color=COLOURS[item.role], label=f"{item.role} {_duration(item.livetime)}")
        for item in yields
    ]
    return handles
