"""What the status page shows, from the files of an installation."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepclean.lines import read_lines
from deepclean.live.supervisor import STATE
from deepclean.models import list_versions, read_roles
from deepclean.online.telemetry import Record, Telemetry

SHOWN = 600
"""Newest seconds that are shown [s]."""
NUM_DROPS = 20
"""Newest drops that are listed."""


def summarise(root: Path, store: Path) -> dict[str, Any]:
    """How an installation is, as plain values for JSON; what is not finite is null.

    Args:
        root: Folder of the installation.
        store: Folder of all versions.
    """
    telemetry = Telemetry(root / "telemetry")
    last = telemetry.last()
    records = [] if last is None else telemetry.since(last.second - SHOWN + 1)
    drops = list(read_lines(root / "drops.jsonl"))
    return {
        "seconds": [record.second for record in records],
        "ratios": _bands([record.ratios for record in records]),
        "outside": _bands([record.outside for record in records]),
        "canary_ratios": _bands([record.canary_ratios for record in records]),
        "latency": [_plain(record.latency) for record in records],
        "compute": [_plain(record.compute) for record in records],
        "gate": [_gate(record) for record in records],
        "production": [record.production or None for record in records],
        "canary": [record.canary or None for record in records],
        "roles": read_roles(store).model_dump(),
        "versions": [
            {
                "version": m.version,
                "state": m.state,
                "reason": m.reason,
                "parent": m.parent,
                "span": list(m.span),
                "measures": {name: _plain(value) for name, value in m.measures.items()},
            }
            for m in list_versions(store)
        ],
        "num_drops": len(drops),
        "drops": drops[: -NUM_DROPS - 1 : -1],
        "services": _services(root / STATE),
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _bands(values: Sequence[tuple[float, ...]]) -> list[list[float | None]]:
    """A list for each band, with null where nothing was measured."""
    number = max(map(len, values), default=0)
    return [
        [_plain(found[band]) if len(found) > band else None for found in values]
        for band in range(number)
    ]


def _gate(record: Record) -> str:
    if record.dropped:
        return "dropped"
    return "open" if record.good else "closed"


def _services(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}
