"""Learning one time series from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.data import Data
from train.families.base import Family


class Regression(Family):
    """Learns to predict a target from inputs, sample for sample, by the mean squared difference.

    For noise subtraction: inputs are witness channels, the target is the strain. It is trained on
    batches of (inputs, target) of shapes (batch, channel, time) and (batch, time), which a data
    module of its own makes; that of the search makes kernels and labels and is refused.

    Args:
        experiment: The experiment file; set by `--experiment`.
        num_channels: Number of input channels.
        architecture: Name of the network in `libs/architectures`.
        options: Further arguments of the network.
        learning_rate: Largest learning rate of the one-cycle schedule.
        warm_up: Fraction of the training in which the learning rate rises.
        weight_decay: Weight decay of AdamW.
        loss: What is made small: a function of prediction and target, both of shape
            (batch, time), that gives a scalar.
        compile: Whether the loss runs through `torch.compile`: faster steps after a first slow
            one. The network is validated and published as it is written.
    """

    family = "regression"

    def __init__(
        self,
        experiment: Path,
        num_channels: int,
        architecture: str = "DeepClean",
        options: dict[str, Any] | None = None,
        learning_rate: float = 3e-3,
        warm_up: float = 0.15,
        weight_decay: float = 1e-4,
        loss: torch.nn.Module | None = None,
        compile: bool = False,
    ) -> None:
        self.num_channels = num_channels
        super().__init__(
            experiment, architecture, options, learning_rate, warm_up, weight_decay, compile
        )
        self.difference = loss or torch.nn.MSELoss()

    def on_fit_start(self) -> None:
        """Refuse data without a target.

        Raises:
            ValueError: The data are those of the search.
        """
        if isinstance(self.trainer.datamodule, Data):
            raise ValueError(
                "Regression learns from batches of inputs and target, but the data of the search "
                "are kernels and labels: choose Supervised or Autoencoder for them"
            )

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Difference of the prediction from the target."""
        inputs, target = batch
        return self.difference(self.network(inputs), target)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Log the loss, and the power that is left of the target when the prediction is taken off.

        `valid_residual` is the mean of (target - prediction)^2 over that of target^2: 1 where
        nothing was learned, 0 where all was.
        """
        inputs, target = batch
        prediction = self.network(inputs)
        measures = {
            "valid_loss": self.difference(prediction, target),
            "valid_residual": (target - prediction).square().mean() / target.square().mean(),
        }
        self.log_dict(self.epoch_figures() | measures, batch_size=len(target), sync_dist=True)
