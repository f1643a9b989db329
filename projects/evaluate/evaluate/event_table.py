"""All zero-lag events as a table for other programs."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluate.origin import CLASSES

COLUMNS = (
    "gps",
    "statistic",
    "far_per_year",
    "far_low_per_year",
    "far_high_per_year",
    "noise_events",
    "false_alarm_probability",
    "p_astro",
    "p_astro_unextrapolated",
    *(f"p_{name.lower()}" for name in CLASSES),
    "known_event",
    "left_out",
    "fold",
)


def write_event_table(events: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write one line per event, the most significant first; unknown values are empty.

    Args:
        events: `zero_lag` of the summary.
        path: File to write, comma separated.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("rank", *COLUMNS))
        for rank, event in enumerate(events, start=1):
            low, high = event["far_interval_per_year"] or (None, None)
            classes = {
                f"p_{name.lower()}": value for name, value in (event["p_class"] or {}).items()
            }
            row = {**event, **classes, "far_low_per_year": low, "far_high_per_year": high}
            row["left_out"] = "; ".join(event["left_out"])
            writer.writerow((rank, *(row.get(name) for name in COLUMNS)))
