"""Dilated gated convolutions."""

import torch
from ml4gw.nn.norm import GroupNorm1D
from torch import Tensor
from torch.nn import functional as F

from architectures.base import WindowedNetwork
from architectures.pooling import log_mean_exp
from architectures.registry import register


class GatedLayer(torch.nn.Module):
    """Dilated convolution with a gate, and what it adds to the residual and to the skip path.

    Van den Oord et al., arXiv:1609.03499, equation 2, with the unit's output normalised over
    groups of channels.

    Args:
        channels: Channels of the residual path.
        skips: Channels of the skip path.
        taps: Length of the convolution; odd.
        dilation: Its dilation.
        groups: Groups of the normalisation.
    """

    def __init__(self, channels: int, skips: int, taps: int, dilation: int, groups: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(
            channels, 2 * channels, taps, dilation=dilation, padding=taps // 2 * dilation
        )
        self.norm = GroupNorm1D(channels, groups)
        self.residual = torch.nn.Conv1d(channels, channels, 1)
        self.skip = torch.nn.Conv1d(channels, skips, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shape (batch, channel, time) to residual and skip, of the same time."""
        content, gate = self.convolution(x).chunk(2, dim=1)
        unit = self.norm(torch.tanh(content) * torch.sigmoid(gate))
        return x + self.residual(unit), self.skip(unit)


@register("supervised")
class WaveNet(WindowedNetwork):
    """Stacked dilated convolutions with gates at the full rate.

    Van den Oord et al., arXiv:1609.03499, with centred instead of causal convolutions, since the
    whole kernel is there at once, and the log-mean-exp of the output over the kernel as score. The
    dilation doubles from layer to layer and starts anew with each block, so that one output sees
    blocks * (taps - 1) * (2^layers - 1) + 1 samples. It pads and normalises over the window: each
    window is computed alone.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        channels: Channels of the residual path.
        skips: Channels of the skip path.
        layers: Layers in a block.
        blocks: Blocks.
        taps: Length of the dilated convolutions; odd.
        groups: Groups of the normalisation.

    Raises:
        ValueError: The convolutions have an even length.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        channels: int = 16,
        skips: int = 32,
        layers: int = 8,
        blocks: int = 2,
        taps: int = 3,
        groups: int = 4,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        if taps % 2 == 0:
            raise ValueError(f"taps of WaveNet must be odd, found {taps}")
        self.enter = torch.nn.Conv1d(num_ifos, channels, 1)
        self.layers = torch.nn.ModuleList(
            GatedLayer(channels, skips, taps, 2**layer, groups)
            for _ in range(blocks)
            for layer in range(layers)
        )
        self.mix = torch.nn.Conv1d(skips, skips, 1)
        self.evidence = torch.nn.Conv1d(skips, 1, 1)

    def forward(self, kernel: Tensor) -> Tensor:
        """See `WindowedNetwork`."""
        x = self.enter(kernel)
        skips = []
        for layer in self.layers:
            x, skip = layer(x)
            skips.append(skip)
        evidence = self.evidence(F.relu(self.mix(F.relu(sum(skips)))))[:, 0]
        return log_mean_exp(evidence, self.kernel_size)[:, 0]
