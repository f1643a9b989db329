"""Convolutional autoencoder whose output stands sample for sample over its input."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F


class Hourglass(torch.nn.Module):
    """Strided convolutions down, transposed convolutions up to the same rate.

    Every convolution has an odd length and is padded by half of it, and every transposed one gets
    the sample back that its stride of two left out. So no layer shifts its output: output sample i
    sees the same number of input samples on either side, and an input that is shifted by a
    multiple of `hop_size` gives the same output, shifted, away from the ends. A stretch that is no
    multiple of `hop_size` is continued with zeros, and the output cropped.

    Args:
        inputs: Channels in, per group.
        outputs: Channels out, per group.
        widths: Channels of the strided convolutions, per group.
        taps: Length of all convolutions; odd.
        groups: Parts of the channels that never meet.
        activation: Makes the nonlinearity after each normalisation.

    Attributes:
        hop_size: Samples by which an input may be shifted.
        reach_size: Samples that an output sample sees on either side.

    Raises:
        ValueError: The convolutions have an even length.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int],
        taps: int = 7,
        groups: int = 1,
        activation: Callable[[], torch.nn.Module] = torch.nn.ELU,
    ) -> None:
        super().__init__()
        if taps % 2 == 0:
            raise ValueError(f"taps must be odd to keep the alignment, found {taps}")
        self.hop_size = 2 ** len(widths)
        # half the taps at each rate down, the same up again, and once at either end
        self.reach_size = taps // 2 * 2 * self.hop_size
        padding = taps // 2

        def block(convolution: torch.nn.Module, channels: int) -> torch.nn.Sequential:
            return torch.nn.Sequential(
                convolution, torch.nn.BatchNorm1d(channels * groups), activation()
            )

        ladder = [inputs, *widths]
        self.enter = block(
            torch.nn.Conv1d(
                inputs * groups, inputs * groups, taps, padding=padding, groups=groups
            ),
            inputs,
        )
        self.down = torch.nn.Sequential(
            *(
                block(
                    torch.nn.Conv1d(
                        fine * groups,
                        coarse * groups,
                        taps,
                        stride=2,
                        padding=padding,
                        groups=groups,
                    ),
                    coarse,
                )
                for fine, coarse in pairwise(ladder)
            )
        )
        self.up = torch.nn.Sequential(
            *(
                block(
                    torch.nn.ConvTranspose1d(
                        coarse * groups,
                        fine * groups,
                        taps,
                        stride=2,
                        padding=padding,
                        output_padding=1,
                        groups=groups,
                    ),
                    fine,
                )
                for fine, coarse in reversed(list(pairwise(ladder)))
            )
        )
        self.leave = torch.nn.Conv1d(
            inputs * groups, outputs * groups, taps, padding=padding, groups=groups
        )

    def encode(self, x: Tensor) -> Tensor:
        """To (batch, groups * widths[-1], time / hop_size), from what `forward` takes."""
        return self.down(self.enter(F.pad(x, (0, -x.shape[-1] % self.hop_size))))

    def decode(self, code: Tensor) -> Tensor:
        """Back to (batch, groups * outputs, time), with the time a multiple of `hop_size`."""
        return self.leave(self.up(code))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, groups * inputs, time) to (batch, groups * outputs, time)."""
        return self.decode(self.encode(x))[..., : x.shape[-1]]
