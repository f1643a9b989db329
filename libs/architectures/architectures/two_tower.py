"""Two towers and a light head: exactly streaming, cheap to slide."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from architectures.base import FRAME_RATE, StreamingNetwork
from architectures.pooling import log_mean_exp
from architectures.registry import register


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


@register("supervised")
class TwoTower(StreamingNetwork):
    """One tower per detector with shared weights, and a head that adds what they see.

    A tower halves the rate with each of its strided residual blocks down to 64 frames per second,
    lengthens its view there with dilated blocks, and ends in a linear layer of its detector's
    own. The head adds the detectors' outputs, so that this sum, a short convolution and the
    pooling are all that a time slide costs. Scores are the log-mean-exp of the evidence over the
    kernel: a signal anywhere in it counts alike.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz]; 64 times a power of two.
        kernel_length: Length of the stretch that one score looks at [s].
        channels: Channels of the strided blocks; the last is repeated if there are more halvings
            than entries, and the last ones are left out if there are fewer.
        taps: Length of the convolutions in the strided blocks.
        dilations: Dilations of the blocks at 64 frames per second.
        features: Width of a tower's output.
        hidden: Channels between the head's convolutions.

    Raises:
        ValueError: The sample rate is none of ours, or the kernel is shorter than what one
            output sees.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        channels: Sequence[int] = (8, 16, 32, 32, 32),
        taps: int = 7,
        dilations: Sequence[int] = (1, 2),
        features: int = 64,
        hidden: int = 16,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        halvings = math.log2(sample_rate / FRAME_RATE)
        if halvings < 1 or halvings != int(halvings):
            raise ValueError(
                f"TwoTower needs a sample rate of 64 Hz times a power of two, found {sample_rate}"
            )
        widths = [channels[min(i, len(channels) - 1)] for i in range(int(halvings))]
        blocks, width, receptive, scale = [], 1, 1, 1
        for wider in widths:
            block = ValidBlock(width, wider, taps, stride=2)
            receptive += block.receptive * scale
            scale *= 2
            blocks.append(block)
            width = wider
        for dilation in dilations:
            block = ValidBlock(width, width, 3, dilation=dilation)
            receptive += block.receptive * scale
            blocks.append(block)
        self.blocks = torch.nn.Sequential(*blocks)
        self.width = width
        self.features = features
        # each detector has its own matrix onto the features that the head adds
        self.project = torch.nn.Conv1d(
            num_ifos * width, num_ifos * features, 1, groups=num_ifos, bias=False
        )
        self.bias = torch.nn.Parameter(torch.zeros(features, 1))
        self.head_size = 3
        self.mix = torch.nn.Conv1d(features, hidden, self.head_size)
        self.evidence = torch.nn.Conv1d(hidden, 1, 1)

        self.hop_size = scale
        self.receptive_size = receptive + (self.head_size - 1) * scale
        self.pool_size = (self.kernel_size - self.receptive_size) // self.hop_size + 1
        if self.pool_size < 1:
            raise ValueError(
                f"one output of this TwoTower sees {self.receptive_size / sample_rate:.3f} s, "
                f"more than the kernel of {kernel_length} s: use fewer dilations or a longer "
                "kernel"
            )

    def towers(self, strain: Tensor) -> Tensor:
        """See `StreamingNetwork`."""
        batch, ifos, size = strain.shape
        seen = self.blocks(strain.reshape(batch * ifos, 1, size))
        frames = seen.shape[-1]
        projected = self.project(seen.reshape(batch, ifos * self.width, frames))
        return projected.reshape(batch, ifos, self.features, frames)

    def head(self, features: Tensor) -> Tensor:
        """See `StreamingNetwork`."""
        joint = F.relu(features.sum(dim=1) + self.bias)
        return self.evidence(F.relu(self.mix(joint)))[:, 0]

    def pool(self, evidence: Tensor, stride: int = 1) -> Tensor:
        """See `StreamingNetwork`."""
        return log_mean_exp(evidence, self.pool_size, stride)
