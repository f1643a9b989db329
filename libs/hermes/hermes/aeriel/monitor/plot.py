"""A monitor's table as a page with plots."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.palettes import Category10_10
from bokeh.plotting import figure
from bokeh.resources import INLINE

from hermes.aeriel.monitor.rows import CLIENT, Row, read_rows

_MILLISECONDS = 1e3
_TIMES = {"queue": "Queue", "compute_infer": "Time in the model"}
_QUANTILES = ("p50", "p90", "p99")
Series = dict[str, tuple[list[float], list[float]]]


def collect_series(rows: Iterable[Row], name: str, begin: float, scale: float = 1.0) -> Series:
    """One quantity over time, for each version of each model of each server.

    Args:
        rows: The rows.
        name: Name of the column.
        begin: Time from which is counted, Unix time [s].
        scale: What the quantity is multiplied by.

    Returns:
        Times since `begin` [s] and values, by what they are of.
    """
    series: Series = {}
    for row in rows:
        label = f"{row.model} {row.version} ({row.server})"
        times, values = series.setdefault(label, ([], []))
        times.append(row.time - begin)
        values.append(scale * getattr(row, name))
    return series


def draw(title: str, unit: str, series: Series) -> figure:
    """A plot of several series over time."""
    plot = figure(
        title=title,
        height=260,
        sizing_mode="stretch_width",
        x_axis_label="time since the beginning [s]",
        y_axis_label=unit,
    )
    for number, (label, (times, values)) in enumerate(series.items()):
        color = Category10_10[number % len(Category10_10)]
        plot.line(times, values, legend_label=label, color=color, line_width=2)
        plot.scatter(times, values, legend_label=label, color=color, size=4)
    plot.legend.click_policy = "hide"
    return plot


def write_plot(table: str | Path, page: str | Path) -> Path:
    """Plot a monitor's table: throughput, waiting, computing, and the clients' quantiles.

    Args:
        table: The CSV file of a monitor.
        page: HTML file to write; it holds all it needs, and opens without a network.

    Returns:
        The page.

    Raises:
        FileNotFoundError: There is no such table.
        ValueError: It is not of a monitor, or holds no rows.
    """
    rows = read_rows(table)
    if not rows:
        raise ValueError(f"{table} holds no rows: the monitor had not read twice")
    begin = min(row.time - row.interval for row in rows)
    servers = [row for row in rows if row.server != CLIENT]
    clients = [row for row in rows if row.server == CLIENT]
    plots = [draw("Throughput", "per second", collect_series(rows, "throughput", begin))]
    if servers:
        for name, title in _TIMES.items():
            times = collect_series(servers, name, begin, _MILLISECONDS)
            plots.append(draw(f"{title} per request", "ms", times))
        pending = collect_series(servers, "pending", begin)
        plots.append(draw("Requests that wait", "number", pending))
    if clients:
        quantiles = {
            f"{label} {name}": series
            for name in _QUANTILES
            for label, series in collect_series(clients, name, begin, _MILLISECONDS).items()
        }
        plots.append(draw("From sending to answer, at the client", "ms", quantiles))
    page = Path(page)
    page.parent.mkdir(parents=True, exist_ok=True)
    layout = column(*plots, sizing_mode="stretch_width")
    page.write_text(file_html(layout, INLINE, title=f"monitor: {Path(table).name}"))
    return page
