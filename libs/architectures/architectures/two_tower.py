"""Two towers and a light head: exactly streaming, cheap to slide."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from architectures.base import StreamingNetwork
from architectures.pooling import log_mean_exp
from architectures.registry import register
from architectures.valid import ValidStack


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
        self.blocks = ValidStack(1, sample_rate, channels, taps, dilations)
        self.width = self.blocks.width
        self.features = features
        # each detector has its own matrix onto the features that the head adds
        self.project = torch.nn.Conv1d(
            num_ifos * self.width, num_ifos * features, 1, groups=num_ifos, bias=False
        )
        self.bias = torch.nn.Parameter(torch.zeros(features, 1))
        head_size = 3
        self.mix = torch.nn.Conv1d(features, hidden, head_size)
        self.evidence = torch.nn.Conv1d(hidden, 1, 1)
        hop = self.blocks.hop_size
        self.set_view(hop, head_size, self.blocks.receptive_size + (head_size - 1) * hop)

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
        """See `EvidenceNetwork`."""
        return log_mean_exp(evidence, self.pool_size, stride)
