"""Families whose networks score kernels: both are measured on time slides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from train.data import Data
from train.families.base import Family
from train.validation import Share, ValidationOutcome, ValidationSet


class Detection(Family):
    """A network whose score tells kernels with a signal from kernels without."""

    monitor = "valid_auroc"

    def prepare_data(self) -> None:
        """Refuse data without kernels and labels, before anything is read.

        Raises:
            ValueError: The data are not those of the search.
        """
        data = self.trainer.datamodule
        # where a checkpoint is measured, there is a validation set and no data
        if data is not None and not isinstance(data, Data):
            raise ValueError(
                f"{type(self).__name__} learns from kernels with and without signals, but "
                f"{type(data).__name__} is no train.data.Data: leave data.class_path out, or "
                "derive the class from that one"
            )

    def start_clock(self) -> None:
        """Measure the speed, and the time that goes into making batches, from here on."""
        super().start_clock()
        self.trainer.datamodule.seconds_making = 0.0

    def epoch_figures(self) -> dict[str, float]:
        """Loss, speed, and the share of the time that went into making batches."""
        figures = super().epoch_figures()
        if figures:
            figures["data_share"] = self.trainer.datamodule.seconds_making / self.elapsed
        return figures

    def measure(self, validation: ValidationSet) -> ValidationOutcome:
        """Measure the network, its work shared out among the processes.

        The numbers are those of full precision, in which the search runs, whatever the training's.
        """
        if self.trainer.world_size > 1:
            # each process has normalised its own batches: all take the first's statistics
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)
        share = Share(self.trainer.global_rank, self.trainer.world_size)
        with torch.autocast(self.device.type, enabled=False):
            return validation.measure(self.network, share)

    def validation_step(self, validation: ValidationSet, batch_idx: int) -> None:
        """Measure the network on time slides, and the epoch's loss and speed with it."""
        figures = self.epoch_figures() if self.trainer.state.fn == "fit" else {}
        outcome = self.measure(validation)
        self.log_dict(figures | outcome.measures, batch_size=1)
        self.hand_on(outcome)

    def test_step(self, validation: ValidationSet, batch_idx: int) -> None:
        """Measure the network on strain that nothing was chosen by."""
        self.hand_on(self.measure(validation))

    def predict_step(self, validation: ValidationSet, batch_idx: int) -> None:
        """Score the background and the injections."""
        self.hand_on(self.measure(validation))

    def hand_on(self, outcome: ValidationOutcome) -> None:
        """Give the outcome to the callbacks that ask for it by `on_validation_score`."""
        if not self.trainer.is_global_zero or self.trainer.sanity_checking:
            return
        for callback in self.trainer.callbacks:
            receive: Any = getattr(callback, "on_validation_score", None)
            if receive is not None:
                receive(self.trainer, self, outcome)

    def score(self, kernels: Tensor, taps: Tensor) -> Tensor:
        """Scores of kernels, of shape (batch,)."""
        if self.network.needs_taps:
            return self.network(kernels, taps)
        return self.network(kernels)
