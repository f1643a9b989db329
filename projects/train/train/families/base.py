"""What every family shares: the optimizer, the clock, and what a training needs to go on."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from architectures import build
from ledger import staged
from runtime import load_experiment, seed_for
from torch import Tensor

BAD_BATCH = "bad-batch.pt"
"""Name of the file that holds the batch whose loss is not finite."""


class Family(L.LightningModule):
    """A network and the way it is trained.

    Args:
        experiment: The experiment file; set by `--experiment`.
        architecture: Name of the network in `libs/architectures`.
        options: Further arguments of the network.
        learning_rate: Largest learning rate of the one-cycle schedule.
        warm_up: Fraction of the training in which the learning rate rises.
        weight_decay: Weight decay of AdamW.
        compile: Whether the loss runs through `torch.compile`: faster steps after a first slow
            one. The network is validated and published as it is written.

    Attributes:
        family: Kind of the networks that it trains, as the registry of architectures says it.
        monitor: Measure by which the best checkpoint is chosen where nothing else is asked for.
        settings: The experiment.
        network: What is trained, validated and published.
        num_channels: Channels of the network's input; one for each detector if None.
        seed_offset: Added to the experiment's seed; another number, another training of the same.
    """

    family: ClassVar[str]
    monitor: ClassVar[str]
    num_channels: int | None = None

    def __init__(
        self,
        experiment: Path,
        architecture: str,
        options: dict[str, Any] | None = None,
        learning_rate: float = 3e-3,
        warm_up: float = 0.15,
        weight_decay: float = 1e-4,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.settings = self.read_settings(experiment)
        self.architecture = architecture
        self.options = options
        self.learning_rate = learning_rate
        self.warm_up = warm_up
        self.weight_decay = weight_decay
        self.compile_loss = compile
        self.losses: list[float] = []
        self.begun, self.num_kernels = 0.0, 0
        self.reseed(0)

    @staticmethod
    def read_settings(experiment: Path) -> Any:
        """The experiment that a file holds."""
        return load_experiment(experiment)

    def reseed(self, offset: int) -> None:
        """Begin with the weights of another seed.

        Args:
            offset: Added to the experiment's seed.
        """
        self.seed_offset = offset
        settings = self.settings
        torch.manual_seed(settings.seed + offset)
        self.network = build(
            self.architecture,
            self.num_channels or len(settings.ifos),
            settings.sample_rate,
            settings.kernel_length,
            self.options,
            self.family,
            settings.settings(),
        )
        # The bound method stays out of the module's children: it is no second set of weights.
        self._loss = torch.compile(self.loss) if self.compile_loss else self.loss

    def forward(self, *inputs: Tensor) -> Tensor:
        """What the network makes of its inputs."""
        return self.network(*inputs)

    def loss(self, batch: Any) -> Tensor:
        """Loss of a batch; a scalar."""
        raise NotImplementedError

    def on_train_start(self) -> None:
        """Start the clock; a training that goes on within an epoch starts no epoch."""
        self.start_clock()

    def on_train_epoch_start(self) -> None:
        """Start the clock and the sums of the epoch."""
        self.losses = []
        self.start_clock()

    def start_clock(self) -> None:
        """Measure the speed from here on."""
        self.begun = time.perf_counter()
        self.num_kernels = 0

    @property
    def elapsed(self) -> float:
        """Time since the clock was started [s]."""
        return time.perf_counter() - self.begun

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Let what is random in the network follow from the number of the step alone."""
        seed = self.settings.seed + self.seed_offset
        torch.manual_seed(seed_for(seed, "step", self.global_step, self.global_rank))

    def training_step(self, batch: Any, _: int) -> Tensor:
        """One step of the optimizer.

        Raises:
            ValueError: The loss is not finite; the batch is kept.
        """
        loss = self._loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            path = self.keep_batch(batch)
            raise ValueError(
                f"the loss is {value} at step {self.global_step}, expected a finite number; the "
                f"batch is kept in {path}: lower model.init_args.learning_rate, or look there "
                "for strain that is not finite"
            )
        self.losses.append(value)
        self.num_kernels += len(batch[0])
        return loss

    def keep_batch(self, batch: Any) -> Path:
        """Write a batch beside the checkpoints; `torch.load(path, weights_only=True)` reads it."""
        rank = self.global_rank
        name = BAD_BATCH if rank == 0 else BAD_BATCH.replace(".pt", f"-{rank}.pt")
        path = Path(self.trainer.default_root_dir) / name
        names = getattr(batch, "_fields", None) or [str(i) for i in range(len(batch))]
        content = {name: value.detach().cpu() for name, value in zip(names, batch, strict=True)}
        with staged(path) as partial:
            torch.save({"step": self.global_step, **content}, partial)
        return path

    def epoch_figures(self) -> dict[str, float]:
        """Loss and speed of the epoch so far; nothing where no step was done."""
        if not self.losses:
            return {}
        mean = torch.tensor(sum(self.losses) / len(self.losses), device=self.device)
        figures = {"train_loss": float(self.trainer.strategy.reduce(mean, reduce_op="mean"))}
        if self.num_kernels:
            everywhere = self.num_kernels * self.trainer.world_size
            figures["kernels_per_second"] = everywhere / self.elapsed
        return figures

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the losses of an epoch that is not over."""
        checkpoint["losses"] = list(self.losses)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the losses of an epoch that was not over."""
        self.losses = list(checkpoint["losses"])

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
