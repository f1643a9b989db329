"""Progress of long work: a bar on a terminal, counted lines in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T],
    what: str,
    total: int | None = None,
    unit: str = "item",
    every: float = 10.0,
) -> Iterator[T]:
    """Go through items and show how far the work is.

    Args:
        items: What to go through.
        what: What is being done, for the reader.
        total: Number of items; taken from `items` where it has a length.
        unit: Name of one item.
        every: Seconds between two lines where the output is not a terminal.

    Yields:
        The items.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=total, unit=unit, dynamic_ncols=True)
        return
    log = logging.getLogger("progress")
    begun = shown = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - shown >= every:
            shown = now
            rate = count / (now - begun)
            left = f", {(total - count) / rate:.0f} s left" if total else ""
            log.info("%s: %d/%s %ss, %.3g/s%s", what, count, total or "?", unit, rate, left)
    log.info("%s: %d %ss in %.1f s", what, count, unit, time.monotonic() - begun)
