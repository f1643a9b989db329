"""A line and a row per epoch."""

import csv
import io
import logging
import time
from pathlib import Path
from typing import Any

import lightning as L
from ledger import staged

log = logging.getLogger("train")

# Measures of the line, as far as the family has them.
SHOWN = {
    "valid_auroc": "valid AUROC",
    "valid_recall": "recall",
    "valid_residual": "valid residual",
    "valid_asd_ratio": "valid ASD ratio",
}


class EpochLog(L.Callback):
    """Logs one line per epoch and keeps `metrics.csv`, one row per epoch, complete at any time.

    A resumed training goes on below the rows of the epochs that its checkpoint has seen.

    Args:
        path: The table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.begun = 0.0
        self.first = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock, and take over the rows of an interrupted run."""
        self.begun = time.monotonic()
        self.first = trainer.current_epoch
        if self.first and self.path.exists():
            with self.path.open(newline="") as file:
                self.rows = [r for r in csv.DictReader(file) if int(r["epoch"]) < self.first]

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line and the row."""
        if not trainer.is_global_zero:
            return
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": trainer.current_epoch, **found})
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(self.rows[-1]), restval="")
        table.writeheader()
        table.writerows(self.rows)
        with staged(self.path) as partial:
            partial.write_text(text.getvalue())
        done = trainer.current_epoch + 1
        each = (time.monotonic() - self.begun) / (done - self.first)
        measures = [name for name in SHOWN if name in found]
        log.info(
            "epoch %d/%d: loss %.4f, %s, %.0f kernels/s, %.0f s left",
            done,
            trainer.max_epochs,
            found.get("train_loss", float("nan")),
            ", ".join(f"{SHOWN[name]} {found[name]:.4f}" for name in measures) or "not validated",
            found.get("kernels_per_second", float("nan")),
            each * ((trainer.max_epochs or done) - done),
        )
