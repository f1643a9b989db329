"""Learning what detectors have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from architectures.autoencoder_losses import AutoencoderLoss
from torch import Tensor

from train.batch import Batch
from train.families.detection import Detection

TERMS = {"correlation": 1.0, "reconstruction": 0.1, "variance": 0.1, "covariance": 0.01}
"""Default weights of the loss terms."""


class Autoencoder(Detection):
    """Learns to keep of each detector's strain what the others see too.

    The score is the correlation of the reconstructions, and is validated like any other. With
    `labelled: false` every kernel counts as one that holds something (set `data.signal_fraction`
    to 1): the network never sees which kernels are noise.

    Args:
        experiment: The experiment file; set by `--experiment`.
        architecture: Name of the network in `libs/architectures`.
        options: Further arguments of the network.
        learning_rate: Largest learning rate of the one-cycle schedule.
        warm_up: Fraction of the training in which the learning rate rises.
        weight_decay: Weight decay of AdamW.
        terms: Weight of each term of the loss; `architectures.autoencoder_losses` has them and
            takes more.
        labelled: Whether the terms are told which kernels hold a signal.
        compile: Whether the loss runs through `torch.compile`: faster steps after a first slow
            one. The network is validated and published as it is written.
    """

    family = "autoencoder"

    def __init__(
        self,
        experiment: Path,
        architecture: str = "Autoencoder",
        options: dict[str, Any] | None = None,
        learning_rate: float = 3e-3,
        warm_up: float = 0.15,
        weight_decay: float = 1e-4,
        terms: Mapping[str, float] = TERMS,
        labelled: bool = True,
        compile: bool = False,
    ) -> None:
        super().__init__(
            experiment, architecture, options, learning_rate, warm_up, weight_decay, compile
        )
        self.terms = AutoencoderLoss(terms)
        self.labelled = labelled

    def loss(self, batch: Batch) -> Tensor:
        """Weighted sum of the terms."""
        found = self.network.examine(batch.kernels)
        return self.terms(found, batch.labels if self.labelled else None)[0]
