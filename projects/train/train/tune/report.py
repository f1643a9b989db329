"""What a study leaves: the table of its trials, a picture of it, and the best network."""

from __future__ import annotations

import io
import logging
import math
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import yaml
from pyarrow import fs
from ray.tune import ResultGrid

from train.tune import storage
from train.tune.picture import draw

log = logging.getLogger("train")

PUBLISHED = ("model.pt", "model.yaml", "best.ckpt", "metrics.csv", "config.yaml", "log.txt")


def tabulate(results: ResultGrid, metric: str, mode: Literal["max", "min"]) -> pd.DataFrame:
    """One row per trial, the best first.

    Args:
        results: The trials.
        metric: Measure by which they are compared.
        mode: Whether its best value is the largest or the smallest.

    Returns:
        Columns `trial`, `state` (`complete`; `stopped` by the scheduler; `failed`), `epochs`, the
        values drawn under their dotted names, then the measures of the trial's best epoch.
    """
    rows: list[dict[str, Any]] = []
    for result in results:
        found = result.metrics_dataframe
        state = "failed" if result.error else "stopped"
        row: dict[str, Any] = {"trial": result.path.rstrip("/").rpartition("/")[2]}
        if found is None or metric not in found or found[metric].isna().all():
            rows.append({**row, "state": state, "epochs": 0, **(result.config or {})})
            continue
        if state == "stopped" and bool(found["complete"].iloc[-1]):
            state = "complete"
        best = found.loc[found[metric].idxmax() if mode == "max" else found[metric].idxmin()]
        measures = {name: best[name] for name in found if name.startswith(("valid_", "train_"))}
        rows.append(
            {
                **row,
                "state": state,
                "epochs": int(found["epoch"].max()) + 1,
                **(result.config or {}),
                "best_epoch": int(best["epoch"]) + 1,
                metric: best[metric],
                **measures,
            }
        )
    table = pd.DataFrame(rows)
    if "best_epoch" in table:
        table["best_epoch"] = table["best_epoch"].astype("Int64")
    if metric not in table:
        table[metric] = math.nan
    return table.sort_values(
        metric, ascending=mode == "min", na_position="last", ignore_index=True
    )


def explain(error: Exception | str) -> str:
    """The sentence in what Ray makes of an error in a trial."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [k for k, line in enumerate(lines) if "Error: " in line and "ray::" not in line]
    first = said[-1] if said else len(lines) - 1
    return " ".join(lines[first:]).partition("Error: ")[2] or lines[-1]


def write_report(
    files: fs.FileSystem,
    folder: str,
    results: ResultGrid,
    metric: str,
    mode: Literal["max", "min"],
) -> None:
    """Write `best/`, `trials.html` and, when all else is there, `trials.csv`.

    The best is taken among the trials that trained to their end, since only these have left a
    network; one always does, unless it fails.

    Args:
        files: File system of the study.
        folder: Its folder.
        results: The trials.
        metric: Measure by which they are compared.
        mode: Whether its best value is the largest or the smallest.

    Raises:
        ValueError: No trial trained to its end.
    """
    table = tabulate(results, metric, mode)
    complete = table[table["state"] == "complete"]
    if complete.empty:
        failed = [explain(error) for error in results.errors]
        raise ValueError(
            f"no trial of {len(table)} trained to its end"
            + (f"; the first that failed: {failed[0]}" if failed else "")
        )
    name = complete["trial"].iloc[0]
    best = next(r for r in results if r.path.rstrip("/").endswith(f"/{name}"))
    _copy_best(files, f"{folder}/best", best)
    drawn = list(best.config)
    storage.write(files, f"{folder}/trials.html", draw(table, drawn, metric, mode).encode())
    text = io.StringIO()
    table.to_csv(text, index=False)
    storage.write(files, f"{folder}/trials.csv", text.getvalue().encode())
    log.info("best: trial %s, %s %.4f", name, metric, complete[metric].iloc[0])


def copy_report(files: fs.FileSystem, folder: str, target: Path) -> None:
    """Copy what `write_report` has written to a folder of this machine, the table last.

    Args:
        files: File system of the study.
        folder: Its folder.
        target: Where to.
    """
    local = fs.LocalFileSystem()
    (target / "best").mkdir(parents=True, exist_ok=True)
    listing = files.get_file_info(fs.FileSelector(f"{folder}/best"))
    for name in (*(f"best/{info.base_name}" for info in listing), "trials.html", "trials.csv"):
        storage.write(local, str(target / name), storage.read(files, f"{folder}/{name}"))


def _copy_best(files: fs.FileSystem, target: str, best: Any) -> None:
    source = best.checkpoint
    files.create_dir(target, recursive=True)
    for info in source.filesystem.get_file_info(fs.FileSelector(source.path)):
        if info.base_name in PUBLISHED:
            content = storage.read(source.filesystem, info.path)
            storage.write(files, f"{target}/{info.base_name}", content)
    trial = yaml.safe_load(storage.read(source.filesystem, f"{source.path}/trial.yaml"))
    # Single entries are inputs and places; what is left is a training file as people write them.
    sections = {key: value for key, value in trial.items() if isinstance(value, dict)}
    text = yaml.safe_dump(sections, sort_keys=False)
    storage.write(files, f"{target}/train.yaml", text.encode())
