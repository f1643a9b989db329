"""The training itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from architectures import StreamingNetwork, build
from runtime import load_experiment
from torch import Tensor
from torch.nn import functional as F

from train.validation import ValidationSet

log = logging.getLogger("train")


class Detector(L.LightningModule):
    """A network that tells kernels with a signal from kernels without.

    Args:
        experiment: The experiment file; set by `--experiment`.
        architecture: Name of the network in `libs/architectures`: `TwoTower` or `ResNet`.
        options: Further arguments of the network.
        learning_rate: Largest learning rate of the one-cycle schedule.
        warm_up: Fraction of the training in which the learning rate rises.
        weight_decay: Weight decay of AdamW.
        pairings: How often a streaming network's features of a batch are paired anew, each
            detector's with those of another kernel: noise, for the price of the head.
    """

    def __init__(
        self,
        experiment: Path,
        architecture: str = "TwoTower",
        options: dict[str, Any] | None = None,
        learning_rate: float = 3e-3,
        warm_up: float = 0.15,
        weight_decay: float = 1e-4,
        pairings: int = 4,
    ) -> None:
        super().__init__()
        self.settings = load_experiment(experiment)
        torch.manual_seed(self.settings.seed)
        self.network = build(
            architecture,
            len(self.settings.ifos),
            self.settings.sample_rate,
            self.settings.kernel_length,
            options,
        )
        self.architecture = architecture
        self.learning_rate = learning_rate
        self.warm_up = warm_up
        self.weight_decay = weight_decay
        self.pairings = pairings
        self.losses: list[float] = []
        self.begun = 0.0

    def forward(self, kernels: Tensor) -> Tensor:
        """Score kernels of whitened strain, of shape (batch, ifo, kernel_size)."""
        return self.network(kernels)

    def loss(self, kernels: Tensor, labels: Tensor) -> Tensor:
        """Binary cross entropy of the batch, and of its features paired anew.

        Args:
            kernels: Of shape (batch, ifo, kernel_size), those with signals first.
            labels: Of shape (batch,), 1 for a signal.
        """
        network = self.network
        if not isinstance(network, StreamingNetwork) or not self.pairings:
            return F.binary_cross_entropy_with_logits(network(kernels), labels)
        features = network.towers(kernels)
        loss = F.binary_cross_entropy_with_logits(
            network.pool(network.head(features))[:, 0], labels
        )
        if network.num_ifos < 2:
            return loss
        # Partners from all over the batch: two signals, a signal and noise, noise and noise.
        batch = len(kernels)
        others = []
        for k in range(1, self.pairings + 1):
            shift = k * batch // (self.pairings + 1)
            others.append(
                torch.stack(
                    [features[:, j].roll(j * shift, 0) for j in range(network.num_ifos)], dim=1
                )
            )
        scores = network.pool(network.head(torch.cat(others)))[:, 0]
        return loss + F.softplus(scores).mean()

    def on_train_epoch_start(self) -> None:
        """Start the clock of the epoch."""
        self.losses = []
        self.begun = time.perf_counter()
        self.trainer.datamodule.seconds_making = 0.0

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """One step of the optimizer.

        Raises:
            ValueError: The loss is not finite.
        """
        loss = self.loss(*batch)
        value = float(loss.detach())
        if value != value or value == float("inf"):
            raise ValueError(
                f"the loss is {value} at step {self.global_step}: lower model.learning_rate"
            )
        self.losses.append(value)
        return loss

    def validation_step(self, validation: ValidationSet, _: int) -> None:
        """Measure the network on time slides, and the epoch's loss and speed with it."""
        elapsed = time.perf_counter() - self.begun
        metrics = {}
        if self.losses:
            data = self.trainer.datamodule
            metrics = {
                "train_loss": sum(self.losses) / len(self.losses),
                "kernels_per_second": len(self.losses) * data.batch_size / elapsed,
                "data_share": data.seconds_making / elapsed,
            }
        found = validation.measure(self.network)
        metrics |= {
            "valid_auroc": found.auroc,
            "valid_recall": found.recall,
            "valid_livetime_s": found.livetime,
            "valid_delay_s": found.delay,
        }
        self.log_dict(metrics, batch_size=1)

    def configure_optimizers(self) -> Mapping[str, Any]:
        """AdamW with a one-cycle learning rate."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=self.learning_rate,
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=self.warm_up,
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
