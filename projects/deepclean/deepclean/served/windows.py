"""How a stream of witnesses is cut for a network, and what of its output is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class WindowSizes:
    """Sizes of a served stream, in samples of the layer's rate.

    A window holds what the noise of its newest `num_updates` updates sees: `past_size` samples
    before them and `future_size` after them, and nothing else, so that each is exact. Windows
    that overlap further than that only say the same once more.

    Attributes:
        past_size: What an output sample sees before it.
        future_size: What it sees after it.
        update_size: Samples between windows.
        num_updates: Windows that are averaged.
    """

    past_size: int
    future_size: int
    update_size: int
    num_updates: int = 1

    @property
    def window_size(self) -> int:
        """Samples of a window."""
        return self.past_size + self.num_updates * self.update_size + self.future_size

    @property
    def delay_size(self) -> int:
        """Samples by which the noise comes later than the witnesses."""
        return self.future_size + (self.num_updates - 1) * self.update_size


def update_size(update_length: float, rate: int, hop_size: int) -> int:
    """Samples of an update: whole hops, at least one.

    Args:
        update_length: Length wanted [s].
        rate: Rate of the layer [Hz].
        hop_size: That of the network.
    """
    return max(1, round(update_length * rate) // hop_size) * hop_size


class ExactPart(torch.nn.Module):
    """A network without the ends of its output, which have not seen all that they would.

    Args:
        network: From witnesses, (batch, channel, time), to noise, (batch, time).
        past_size: Samples cut off in front.
        future_size: Samples cut off at the end.
    """

    def __init__(self, network: torch.nn.Module, past_size: int, future_size: int) -> None:
        super().__init__()
        self.network = network
        self.past_size = past_size
        self.future_size = future_size

    def forward(self, witnesses: Tensor) -> Tensor:
        """Noise, (batch, time - past_size - future_size)."""
        noise = self.network(witnesses)
        return noise[:, self.past_size : witnesses.shape[-1] - self.future_size]
