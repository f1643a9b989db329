"""Convolutions without padding: what exactly streaming networks are made of."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from architectures.base import FRAME_RATE


class ValidBlock(torch.nn.Module):
    """Residual block of two convolutions without padding; the skip is cropped to match.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        taps: Length of each convolution; odd.
        stride: Of the first convolution.
        dilation: Of both convolutions.
    """

    def __init__(
        self, inputs: int, outputs: int, taps: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.first = torch.nn.Conv1d(
            inputs, outputs, taps, stride=stride, dilation=dilation, bias=False
        )
        self.first_norm = torch.nn.BatchNorm1d(outputs)
        self.second = torch.nn.Conv1d(outputs, outputs, taps, dilation=dilation, bias=False)
        self.second_norm = torch.nn.BatchNorm1d(outputs)
        self.skip = torch.nn.Conv1d(inputs, outputs, 1, stride=stride)
        # samples lost at either end, in samples of the input
        self.crop = (taps - 1) // 2 * dilation * (1 + stride)
        self.receptive = 2 * self.crop

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, inputs, time) to (batch, outputs, (time - receptive) / stride)."""
        y = F.relu(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return F.relu(y + self.skip(x[..., self.crop :])[..., : y.shape[-1]])


class ValidStack(torch.nn.Sequential):
    """Blocks that halve the rate down to 64 frames per second, and dilated ones at that rate.

    Args:
        inputs: Channels in.
        sample_rate: Sample rate [Hz]; 64 times a power of two.
        channels: Channels of the strided blocks; the last is repeated if there are more halvings
            than entries, and the last ones are left out if there are fewer.
        taps: Length of the convolutions in the strided blocks.
        dilations: Dilations of the blocks at 64 frames per second.

    Attributes:
        width: Channels out.
        hop_size: Samples between two frames out.
        receptive_size: Samples that one frame sees.

    Input: Of shape (batch, inputs, time).
    Output: Of shape (batch, width, (time - receptive_size) // hop_size + 1).

    Raises:
        ValueError: The sample rate is none of ours.
    """

    def __init__(
        self,
        inputs: int,
        sample_rate: float,
        channels: Sequence[int],
        taps: int,
        dilations: Sequence[int],
    ) -> None:
        halvings = math.log2(sample_rate / FRAME_RATE)
        if halvings < 1 or halvings != int(halvings):
            raise ValueError(
                "a network of halving blocks needs a sample rate of 64 Hz times a power of two, "
                f"found {sample_rate}"
            )
        widths = [channels[min(i, len(channels) - 1)] for i in range(int(halvings))]
        blocks, width, receptive, hop = [], inputs, 1, 1
        for wider in widths:
            block = ValidBlock(width, wider, taps, stride=2)
            receptive += block.receptive * hop
            hop *= 2
            blocks.append(block)
            width = wider
        for dilation in dilations:
            block = ValidBlock(width, width, 3, dilation=dilation)
            receptive += block.receptive * hop
            blocks.append(block)
        super().__init__(*blocks)
        self.width, self.hop_size, self.receptive_size = width, hop, receptive
