"""All detectors in the first convolution: exactly streaming, but nothing to share by slides."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from architectures.base import EvidenceNetwork
from architectures.pooling import log_mean_exp
from architectures.registry import register
from architectures.valid import ValidStack


@register("supervised")
class EarlyFusion(EvidenceNetwork):
    """The blocks of `TwoTower` on all detectors together: compares them sample by sample.

    The detectors are the channels of the first block, so that the network sees their relative
    phase and delay from the first layer on, where the towers of `TwoTower` hand on 64 features
    per second. The price is that a time slide costs the whole network. Blocks, view of one value
    of the evidence, its head and the pooling are those of `TwoTower`.

    The default widths are 1.5 times those of `TwoTower`, which makes a kernel of two detectors
    cost about the same in training (a layer 2.25 times as much, but once and not per detector),
    with twice the parameters.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz]; 64 times a power of two.
        kernel_length: Length of the stretch that one score looks at [s].
        channels: Channels of the strided blocks; the last is repeated if there are more halvings
            than entries, and the last ones are left out if there are fewer.
        taps: Length of the convolutions in the strided blocks.
        dilations: Dilations of the blocks at 64 frames per second.
        hidden: Channels between the last two convolutions.

    Raises:
        ValueError: The sample rate is none of ours, or the kernel is shorter than what one value
            of the evidence sees.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        channels: Sequence[int] = (12, 24, 48, 48, 48),
        taps: int = 7,
        dilations: Sequence[int] = (1, 2),
        hidden: int = 16,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        self.blocks = ValidStack(num_ifos, sample_rate, channels, taps, dilations)
        mix_size = 3
        self.mix = torch.nn.Conv1d(self.blocks.width, hidden, mix_size)
        self.evidence = torch.nn.Conv1d(hidden, 1, 1)
        hop = self.blocks.hop_size
        # a frame is a hop of strain here: the view is rounded up to whole ones
        frames = -(-(self.blocks.receptive_size + (mix_size - 1) * hop) // hop)
        self.set_view(hop, frames, frames * hop)

    def evidence_of(self, strain: Tensor) -> Tensor:
        """See `EvidenceNetwork`."""
        return self.evidence(F.relu(self.mix(self.blocks(strain))))[:, 0]

    def pool(self, evidence: Tensor, stride: int = 1) -> Tensor:
        """See `EvidenceNetwork`."""
        return log_mean_exp(evidence, self.pool_size, stride)
