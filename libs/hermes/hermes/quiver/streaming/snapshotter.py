"""A stream to overlapping windows of it."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor


class Snapshotter(torch.nn.Module):
    """Cut a stream into windows that end `stride_size`, 2 `stride_size`, ... after its start.

    Before its start the stream is zeros. The state is the last `snapshot_size` samples. Numbers
    of any type pass as they are.

    Args:
        snapshot_size: Samples of a window.
        stride_size: Samples between windows; it may be longer than a window.
        batch_size: Windows per update.
        channels: How the channels are shared out: one output per entry with so many channels. 0
            stands for one channel whose axis is left out.

    Input: An update, (1, channel, batch_size * stride_size), and the state, (1, channel,
        snapshot_size).
    Output: The windows of each group, (batch_size, channel, snapshot_size), the first ending
        first; and the next state.

    Raises:
        ValueError: A size is not above 0, or there are no channels.
    """

    def __init__(
        self,
        snapshot_size: int,
        stride_size: int,
        batch_size: int = 1,
        channels: Sequence[int] = (1,),
    ) -> None:
        super().__init__()
        sizes = {
            "snapshot_size": snapshot_size,
            "stride_size": stride_size,
            "batch_size": batch_size,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}, expected 1 or more")
        if not channels or min(channels) < 0:
            raise ValueError(
                f"channels is {list(channels)}, expected numbers from 0, at least one"
            )
        self.snapshot_size = snapshot_size
        self.stride_size = stride_size
        self.batch_size = batch_size
        self.channels = tuple(channels)
        # Windows are put together of the largest blocks that all of them begin on, which is much
        # quicker than sample by sample.
        self.block_size = gcd(snapshot_size, stride_size)
        starts = torch.arange(1, batch_size + 1) * (stride_size // self.block_size)
        self.register_buffer("starts", starts[:, None], persistent=False)
        offsets = torch.arange(snapshot_size // self.block_size)
        self.register_buffer("offsets", offsets[None], persistent=False)

    @property
    def num_channels(self) -> int:
        """Channels of the stream."""
        return sum(max(1, n) for n in self.channels)

    @property
    def update_size(self) -> int:
        """Samples of an update."""
        return self.batch_size * self.stride_size

    @property
    def reach(self) -> int:
        """How many windows back one was cut that held the first samples of this one."""
        return max(0, -(-(self.snapshot_size - self.stride_size) // self.stride_size))

    def forward(self, update: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        stream = torch.cat([state, update], dim=-1)
        blocks = stream.reshape(self.num_channels, -1, self.block_size)
        chosen = (self.starts + self.offsets).reshape(-1)
        windows = blocks.index_select(1, chosen).reshape(
            self.num_channels, self.batch_size, self.snapshot_size
        )
        outputs = []
        first = 0
        for n in self.channels:
            group = windows[first : first + max(1, n)].transpose(0, 1)
            outputs.append(group if n else group[:, 0])
            first += max(1, n)
        return *outputs, stream[..., self.update_size :]
