"""The newest rows, on a terminal or in a log."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from hermes.aeriel.monitor.rows import Row

logger = logging.getLogger(__name__)

_HEADERS = (
    *("server", "model", "version", "per s", "failed", "pending"),
    *("queue", "compute", "p50", "p90", "p99"),
)


def format_time(seconds: float) -> str:
    """A time in milliseconds; a dash where there is none."""
    return "-" if math.isnan(seconds) else f"{1e3 * seconds:.2f} ms"


def format_row(row: Row) -> list[str]:
    """The cells of a row, as they are shown."""
    compute = row.compute_input + row.compute_infer + row.compute_output
    return [
        row.server,
        row.model,
        row.version,
        f"{row.throughput:.1f}",
        f"{row.failures:.0f}",
        f"{row.pending:.0f}",
        *map(format_time, (row.queue, compute, row.p50, row.p90, row.p99)),
    ]


def build_table(rows: list[Row]) -> Table:
    """A table of rows, for a terminal."""
    table = Table()
    for number, header in enumerate(_HEADERS):
        table.add_column(header, justify="left" if number < 3 else "right")
    for row in rows:
        table.add_row(*format_row(row))
    return table


class Display:
    """Shows rows as they come; pass its `show` to a monitor as the listener."""

    def __init__(self, live: Live | None) -> None:
        self._live = live

    def show(self, rows: list[Row]) -> None:
        """Show the rows of one reading."""
        if self._live is not None:
            self._live.update(build_table(rows), refresh=True)
            return
        for row in rows:
            cells = zip(_HEADERS, format_row(row), strict=True)
            logger.info(", ".join(f"{name} {cell}" for name, cell in cells if cell != "-"))


@contextmanager
def open_display(console: Console | None = None) -> Iterator[Display]:
    """A display: a table that is drawn anew on a terminal, lines in the log otherwise.

    Args:
        console: Where to draw; stderr if None.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield Display(None)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield Display(live)
