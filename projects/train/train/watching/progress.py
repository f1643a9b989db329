"""How far the training is: a bar on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from typing import Any

import lightning as L
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger("train")


class TrainingProgress(L.Callback):
    """Shows kernels per second and the time left, on the first process.

    The rate counts the time of training steps alone; the time left counts validations too, and is
    an upper bound where the training may stop early.

    Args:
        every: Seconds between two lines where the output is not a terminal.
    """

    def __init__(self, every: float = 30.0) -> None:
        self.every = every
        self.bar: tqdm | None = None
        self.redirected = contextlib.ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks; a resumed training starts where it was left."""
        if not trainer.is_global_zero:
            return
        self.total = num_batches(trainer)
        self.first = self.done = trainer.fit_loop.total_batch_idx + 1
        self.kernels = 0
        self.training = 0.0
        self.begun = self.shown = time.monotonic()
        if sys.stderr.isatty():
            self.redirected.enter_context(logging_redirect_tqdm())
            self.bar = tqdm(
                desc="train",
                total=self.total,
                initial=self.first,
                dynamic_ncols=True,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps{postfix}",
            )

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Start the clock of a step."""
        self.step_begun = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Count the step and show it."""
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        self.training += now - self.step_begun
        self.kernels += len(batch[0]) * trainer.world_size
        self.done += 1
        if self.bar is not None:
            self.bar.set_postfix_str(self.state(now), refresh=False)
            self.bar.update()
        elif now - self.shown >= self.every:
            self.shown = now
            log.info("step %d/%s: %s", self.done, self.total or "?", self.state(now))

    def state(self, now: float) -> str:
        """Rate and time left, in words.

        Args:
            now: Time on the monotonic clock [s].
        """
        rate = self.kernels / max(self.training, 1e-9)
        if self.total is None:
            return f"{rate:.3g} kernels/s"
        each = (now - self.begun) / max(self.done - self.first, 1)
        left = max(self.total - self.done, 0) * each
        return f"{rate:.3g} kernels/s, {duration(left)} left"

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the terminal as it was."""
        self.close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal as it was."""
        self.close()

    def close(self) -> None:
        """End the bar, and let the log write by itself again."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        self.redirected.close()


def num_batches(trainer: L.Trainer) -> int | None:
    """Batches of the whole training, as far as its settings say; None if it has no end."""
    limits = []
    if trainer.max_epochs is not None and trainer.max_epochs > 0:
        limits.append(trainer.max_epochs * trainer.num_training_batches)
    if trainer.max_steps > 0:
        limits.append(trainer.max_steps * trainer.accumulate_grad_batches)
    known = [limit for limit in limits if math.isfinite(limit)]
    return int(min(known)) if known else None


def duration(seconds: float) -> str:
    """A time span as a person says it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
