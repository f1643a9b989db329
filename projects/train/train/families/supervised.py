"""Learning from kernels that are labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from architectures import StreamingNetwork
from torch import Tensor
from torch.nn import functional as F

from train.batch import Batch
from train.families.detection import Detection


class Supervised(Detection):
    """Learns from labels: signal or noise, by the binary cross entropy of the score.

    Args:
        experiment: The experiment file; set by `--experiment`.
        architecture: Name of the network in `libs/architectures`.
        options: Further arguments of the network.
        learning_rate: Largest learning rate of the one-cycle schedule.
        warm_up: Fraction of the training in which the learning rate rises.
        weight_decay: Weight decay of AdamW.
        pairings: How often a streaming network's features of a batch are paired anew, each
            detector's with those of another kernel: noise, for the price of the head.
        compile: Whether the loss runs through `torch.compile`: faster steps after a first slow
            one. The network is validated and published as it is written.
    """

    family = "supervised"

    def __init__(
        self,
        experiment: Path,
        architecture: str = "TwoTower",
        options: dict[str, Any] | None = None,
        learning_rate: float = 3e-3,
        warm_up: float = 0.15,
        weight_decay: float = 1e-4,
        pairings: int = 4,
        compile: bool = False,
    ) -> None:
        self.pairings = pairings
        super().__init__(
            experiment, architecture, options, learning_rate, warm_up, weight_decay, compile
        )

    def loss(self, batch: Batch) -> Tensor:
        """Binary cross entropy of the batch, and of its features paired anew."""
        network = self.network
        if not isinstance(network, StreamingNetwork) or not self.pairings:
            scores = self.score(batch.kernels, batch.taps)
            return F.binary_cross_entropy_with_logits(scores, batch.labels)
        features = network.towers(batch.kernels)
        scores = network.pool(network.head(features))[:, 0]
        loss = F.binary_cross_entropy_with_logits(scores, batch.labels)
        if network.num_ifos < 2:
            return loss
        # Partners from all over the batch: two signals, a signal and noise, noise and noise.
        others = []
        for k in range(1, self.pairings + 1):
            shift = k * len(features) // (self.pairings + 1)
            others.append(
                torch.stack(
                    [features[:, j].roll(j * shift, 0) for j in range(network.num_ifos)], dim=1
                )
            )
        scores = network.pool(network.head(torch.cat(others)))[:, 0]
        return loss + F.softplus(scores).mean()
