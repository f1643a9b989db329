"""A line per epoch."""

import logging
import time
from typing import Any

import lightning as L

log = logging.getLogger("train")


class EpochLine(L.Callback):
    """Logs one line per epoch: how far, how good, how fast, how long still."""

    def __init__(self) -> None:
        self.begun = 0.0
        self.first = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.begun = time.monotonic()
        self.first = trainer.current_epoch

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the line."""
        found: dict[str, Any] = {k: float(v) for k, v in trainer.callback_metrics.items()}
        done = trainer.current_epoch + 1
        each = (time.monotonic() - self.begun) / (done - self.first)
        log.info(
            "epoch %d/%d: loss %.4f, valid AUROC %.4f, recall %.3f, %.0f kernels/s, %.0f s left",
            done,
            trainer.max_epochs,
            found.get("train_loss", float("nan")),
            found.get("valid_auroc", float("nan")),
            found.get("valid_recall", float("nan")),
            found.get("kernels_per_second", float("nan")),
            each * ((trainer.max_epochs or done) - done),
        )
