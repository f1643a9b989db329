"""Ending early and well: SIGTERM, and memory that does not suffice."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
import torch

EXIT_CODE = 128 + signal.SIGTERM


class Preempted(SystemExit):
    """The training was asked to end, and has saved itself."""

    def __init__(self, path: Path) -> None:
        super().__init__(EXIT_CODE)
        self.path = path

    def __str__(self) -> str:
        return f"asked to end (SIGTERM): saved in {self.path}; run it again to go on from there"


class SaveOnSigterm(L.Callback):
    """Saves a checkpoint at the end of the running step when asked to end, and ends.

    Within an epoch the checkpoint replaces that of the last epoch. Where the epoch is over but for
    its validation, the validation is done first: that takes longer, but its row is not lost.

    Args:
        path: The checkpoint that a training goes on from.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen; the trainer gives the signal back when it ends."""
        signal.signal(signal.SIGTERM, self.ask)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Note the signal, and let the step end."""
        self.asked = True

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """End between two epochs; the checkpoint has been written there."""
        if batch_idx == 0 and self._all_asked(trainer):
            raise Preempted(self.path)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save and end."""
        last = batch_idx + 1 >= trainer.num_training_batches
        if not last and self._all_asked(trainer):
            trainer.save_checkpoint(self.path)
            raise Preempted(self.path)

    def _all_asked(self, trainer: L.Trainer) -> bool:
        """Whether any process was asked; all save together."""
        return bool(trainer.strategy.reduce_boolean_decision(self.asked, all=False))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice, on a device or on the host."""
    return isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )
