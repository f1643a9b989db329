"""What a training took: which device, how long, and how busy that was."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from ledger import staged

SAMPLED_STEPS = 20
"""Steps between two readings of how busy the GPU is."""


class Resources(L.Callback):
    """Writes `resources.yaml` when training ends.

    It stands apart from `model.yaml`, which is the same for the same training wherever and however
    fast it runs. Time goes on where an interrupted training goes on; what was done after the last
    checkpoint, and is done again, counts once.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds = 0.0
        self.begun: float | None = None
        self.busy: list[float] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self.begun = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any
    ) -> None:
        """Read now and then how busy the GPU is, where there is one and it can be asked."""
        if trainer.global_step % SAMPLED_STEPS == 0:
            share = busy_share(pl_module.device)
            if share is not None:
                self.busy.append(share)

    @property
    def elapsed(self) -> float:
        """Time of the training so far, validations included [s]."""
        running = 0.0 if self.begun is None else time.monotonic() - self.begun
        return self.seconds + running

    def state_dict(self) -> dict[str, Any]:
        """What a training that goes on takes over."""
        return {"seconds": self.elapsed, "busy": list(self.busy)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over."""
        self.seconds, self.busy = state_dict["seconds"], list(state_dict["busy"])

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the file."""
        if not trainer.is_global_zero:
            return
        content: dict[str, Any] = {
            "device": device_name(trainer.strategy.root_device),
            "num_processes": trainer.world_size,
            "duration_s": round(self.elapsed, 1),
        }
        if self.busy:
            content["busy_share"] = round(sum(self.busy) / len(self.busy), 3)
        with staged(self.path) as partial:
            partial.write_text(yaml.safe_dump(content, sort_keys=False))


def device_name(device: torch.device) -> str:
    """Name of a device, for a record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def busy_share(device: torch.device) -> float | None:
    """Part of the last moments in which a GPU worked; None where it cannot be asked."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.utilization(device) / 100
    except (ModuleNotFoundError, RuntimeError):
        return None  # without nvidia-ml-py, or where the driver does not tell
