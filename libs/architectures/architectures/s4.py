"""Diagonal state spaces."""

import math

import torch
from ml4gw.nn.ssm.s4d import S4DKernel, S4Model
from torch import Tensor

from architectures.base import WindowedNetwork
from architectures.pooling import log_mean_exp
from architectures.registry import register


class SizedKernel(S4DKernel):
    """Kernel of ml4gw's S4D layer for one length: the same values and parameters, faster.

    A kernel is a sum of powers of complex numbers z. ml4gw computes each power of each number on
    its own; here z^(i b + j) is the product of z^(i b) and z^j, so that the sum over states is a
    matrix product and a kernel of a few thousand samples takes a thirtieth of the time, and of
    the memory. The exponents are buffers, since a trace ties tensors that are made in `forward` to
    its device.

    Args:
        d_model: Number of state spaces.
        size: Samples of the kernel.
        d_state: States of each.
        dt_min: Smallest initial time step.
        dt_max: Largest initial time step.
    """

    fine: Tensor
    coarse: Tensor

    def __init__(
        self, d_model: int, size: int, d_state: int, dt_min: float, dt_max: float
    ) -> None:
        super().__init__(d_model, d_state, dt_min, dt_max)
        self.size = size
        block = math.ceil(math.sqrt(size))
        self.register_buffer("fine", torch.arange(block), persistent=False)
        self.register_buffer("coarse", torch.arange(0, size, block), persistent=False)

    def forward(self, L: int) -> Tensor:
        """Shape (d_model, size): Gu et al., arXiv:2206.11893, 3.1 (zero-order hold) and 3.2."""
        output = torch.view_as_complex(self.C)
        rate = torch.complex(-torch.exp(self.log_A_real), self.A_imag)
        exponent = rate * torch.exp(self.log_dt)[:, None]
        weight = output * (torch.exp(exponent) - 1) / rate
        blocks = weight[..., None] * torch.exp(exponent[..., None] * self.coarse)
        within = torch.exp(exponent[..., None] * self.fine)
        return 2 * (blocks.mT @ within).real.flatten(1)[:, : self.size]


@register("supervised")
class S4(WindowedNetwork):
    """Diagonal state-space model (S4D) on the samples of all detectors.

    Gu et al., arXiv:2206.11893, as ml4gw has it: each layer convolves each channel with the
    impulse response of a linear system, as long as the kernel, and mixes the channels. The score
    is the log-mean-exp of the evidence over the kernel: ml4gw takes the mean over time of what
    the evidence is made from, in which a signal of a few samples drowns. It runs in full
    precision also where others are mixed. Each window is computed alone.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        channels: State spaces in each layer.
        states: States of each state space; even.
        layers: Layers.
        dropout: Fraction of channels dropped in training.
        dt_min: Smallest initial time step of a state space [samples].
        dt_max: Largest one; a state space remembers about 2 / time step samples.
    """

    def __init__(
        self,
        num_ifos: int,
        sample_rate: float,
        kernel_length: float,
        channels: int = 64,
        states: int = 64,
        layers: int = 4,
        dropout: float = 0.1,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
    ) -> None:
        super().__init__(num_ifos, sample_rate, kernel_length)
        self.network = S4Model(
            num_ifos,
            1,
            d_model=channels,
            d_state=states,
            n_layers=layers,
            dropout=dropout,
            dt_min=dt_min,
            dt_max=dt_max,
        )
        for layer in self.network.s4_layers:
            layer.kernel = SizedKernel(channels, self.kernel_size, states, dt_min, dt_max)

    def forward(self, kernel: Tensor) -> Tensor:
        """See `WindowedNetwork`."""
        # GPUs have no Fourier transforms of half precision
        with torch.autocast(kernel.device.type, enabled=False):
            return log_mean_exp(self.evidence(kernel), self.kernel_size)[:, 0]

    def evidence(self, kernel: Tensor) -> Tensor:
        """Evidence at each sample, of shape (batch, time)."""
        network = self.network
        x = network.encoder(kernel.mT)
        for layer, norm, dropout in zip(
            network.s4_layers, network.norms, network.dropouts, strict=True
        ):
            # channels are last for the linear layers, and in front of time for the others
            x = norm(x + dropout(layer(x.mT)).mT)
        return network.decoder(x)[..., 0]
