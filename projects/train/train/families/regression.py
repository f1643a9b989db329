"""Learning one time series from others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from train.data import Data
from train.families.base import Family

MEASURES = ("valid_loss", "valid_residual")
"""What a validation finds."""


class Regression(Family):
    """Learns to predict a target from inputs, sample for sample, by the mean squared difference.

    For noise subtraction: inputs are witness channels, the target is the strain. It is trained and
    validated on batches of (inputs, target) of shapes (batch, channel, time) and (batch, time),
    which a `LightningDataModule` of one's own makes (`data.class_path`); that of the search makes
    kernels and labels and is refused.

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
    monitor = "valid_residual"

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
        self.residual = MeanMetric()

    def prepare_data(self) -> None:
        """Refuse data without a target, before anything is read.

        Raises:
            ValueError: The data are those of the search.
        """
        if isinstance(self.trainer.datamodule, Data):
            raise ValueError(
                "Regression learns from batches of inputs and target, but the data of the search "
                "are kernels and labels: name a data module of your own by data.class_path, or "
                "choose Supervised or Autoencoder"
            )

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Difference of the prediction from the target."""
        inputs, target = batch
        return self.difference(self.network(inputs), target)

    def published(self) -> torch.jit.ScriptModule:
        """What training hands on: the network as TorchScript."""
        network = self.network
        return torch.jit.trace(network, torch.zeros(2, network.num_channels, network.kernel_size))

    def on_validation_epoch_start(self) -> None:
        """Forget what the last validation found, whatever its kind of tensors."""
        self.residual.reset()

    def on_test_epoch_start(self) -> None:
        """Forget what the last validation found."""
        self.residual.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the loss, and the power that is left of the target when the prediction is taken off.

        `valid_residual` is the mean of (target - prediction)^2 over that of target^2, both over
        all that is validated on: 1 where nothing was learned, 0 where all was.
        """
        inputs, target = batch
        prediction = self.network(inputs)
        power = target.square().sum()
        left = (target - prediction).square().sum()
        self.residual.update(left / power, weight=power)
        figures = self.epoch_figures() if self.trainer.state.fn == "fit" else {}
        figures["valid_loss"] = self.difference(prediction, target)
        self.log_dict(figures, batch_size=len(target), sync_dist=True)
        self.log("valid_residual", self.residual, on_epoch=True)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Measure the network on data that nothing was chosen by."""
        self.validation_step(batch, batch_idx)

    def measures(self) -> dict[str, float]:
        """What the last validation found, by name."""
        found = self.trainer.callback_metrics
        return {name: float(found[name]) for name in MEASURES if name in found}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was measured with what it was measured of."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["measures"] = self.measures()
