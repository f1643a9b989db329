"""Overlapping windows to the stream of their averages."""

from __future__ import annotations

import torch
from torch import Tensor


class OnlineAverager(torch.nn.Module):
    """Average what overlapping windows say of the same samples.

    Windows follow each other by `update_size` samples. Of each the last `num_updates *
    update_size` samples count, so that a sample is in `num_updates` windows; the answer comes
    when the last of these does, `num_updates - 1` windows after the first. Windows from before
    the first of a sequence count as zeros, which is seen in its first `num_updates - 1` windows'
    worth of answers.

    The state holds sums over the windows that came, of `num_updates - 1` frames of `update_size`
    samples (one frame that stays zeros where `num_updates` is 1). A frame is summed up in the
    order of the windows, whatever the batch: where the stream begins makes no difference of
    rounding.

    Args:
        update_size: Samples between windows.
        num_updates: Windows to average over.
        batch_size: Windows per update.
        num_channels: Channels; None if windows have no channel axis.

    Input: Windows, (batch_size, channel, time) with at least num_updates * update_size samples
        of real numbers, and the state, (1, channel, state_size).
    Output: The stream, (1, channel, batch_size * update_size), and the next state.

    Raises:
        ValueError: A size is not above 0.
    """

    def __init__(
        self,
        update_size: int,
        num_updates: int,
        batch_size: int = 1,
        num_channels: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {
            "update_size": update_size,
            "num_updates": num_updates,
            "batch_size": batch_size,
            "num_channels": 1 if num_channels is None else num_channels,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}, expected 1 or more")
        self.update_size = update_size
        self.num_updates = num_updates
        self.batch_size = batch_size
        self.num_channels = num_channels

    @property
    def state_size(self) -> int:
        """Samples of the state."""
        return max(1, self.num_updates - 1) * self.update_size

    @property
    def reach(self) -> int:
        """Windows before the present one that are in an answer."""
        return self.num_updates - 1

    def forward(self, windows: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        frames, batch = self.num_updates, self.batch_size
        recent = windows[..., -frames * self.update_size :]
        channels = self.num_channels or 1
        parts = recent.reshape(batch, channels, frames, self.update_size)
        if frames == 1:
            return self._join(parts[:, :, 0]), state
        # sums[f] belongs to a frame; its last one is the last of the last window
        known = state.reshape(channels, frames - 1, self.update_size).transpose(0, 1)
        sums = torch.cat([known, torch.zeros_like(parts[:, :, 0])])
        for i in range(frames - 1, -1, -1):
            # part i of window j is of frame j + i: for a frame, from the oldest window on
            shifted = sums[i : i + batch] + parts[:, :, i]
            sums = torch.cat([sums[:i], shifted, sums[i + batch :]])
        rest = sums[batch:].transpose(0, 1).reshape(state.shape)
        return self._join(sums[:batch] / frames), rest

    def _join(self, frames: Tensor) -> Tensor:
        """Frames (frame, channel, time) to a stream."""
        stream = frames.transpose(0, 1).reshape(1, self.num_channels or 1, -1)
        return stream if self.num_channels else stream[:, 0]
