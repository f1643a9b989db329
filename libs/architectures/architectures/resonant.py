"""Noise that reaches the strain through resonances, which ring for seconds."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from architectures.base import RegressionNetwork
from architectures.registry import register

TAPERED = 0.25
"""Part of the memory over which an impulse response is tapered to zero."""
BLOCK = 512
"""Fourier transforms are a multiple of this long: lengths of large prime factors are slow."""


@register("regression")
class Resonant(RegressionNetwork):
    """Filtered witnesses and products of two filtered sums of them, with a memory of seconds.

        noise(t) = sum_c (f_c * x_c)(t) + sum_k g_k (sum_c a_kc * x_c)(t) (sum_c b_kc * x_c)(t)

    as in `Bilinear`, and each filter is a short one of free taps, which looks ahead as far as it
    looks back, plus a long causal one: a sum of damped oscillations ("modes"). What gets into the
    strain through a suspension, or anything else that rings, has such an impulse response, and a
    resonance of 30 Hz and quality 100 rings for a second. Modes have their frequency and decay in
    common for all filters and witnesses, and both are learned, as is how much of each mode a
    filter has of a witness: a linear state space with a diagonal matrix (S4D: Gu et al.,
    arXiv:2206.11893, 3) whose states are shared. As long as no filter has any of a mode, as in
    the beginning, this is `Bilinear`.

    Approximation: responses are tapered to zero over the last quarter of `memory_length`. So they
    are finite, and a stretch of witnesses gives the same noise wherever it is cut. They are
    applied by Fourier transforms, in double precision except in training: rounding spreads from
    the loudest frequency to all others.

    Args:
        num_channels: Number of witness channels.
        sample_rate: Sample rate of witnesses and strain [Hz].
        kernel_length: Length of the stretches that it is trained on [s].
        rank: Number of products.
        taps: Length of the short filters; odd.
        memory_length: Length of the long filters [s].
        bands: Where the modes lie to begin with, lowest and highest frequency of each band [Hz];
            those of the strain that is cleaned, and those of slow witnesses if they ring. In the
            end modes may lie elsewhere.
        modes: Number of modes in each band.

    Raises:
        ValueError: The short filters have an even length or are longer than the memory, or a band
            is none.
    """

    time: Tensor
    window: Tensor
    start: Tensor

    def __init__(
        self,
        num_channels: int,
        sample_rate: float,
        kernel_length: float,
        rank: int = 8,
        taps: int = 65,
        memory_length: float = 4.0,
        bands: Sequence[Sequence[float]] = ((10.0, 100.0),),
        modes: int = 24,
    ) -> None:
        super().__init__(num_channels, sample_rate, kernel_length)
        if taps % 2 == 0:
            raise ValueError(f"taps must be odd to keep the alignment, found {taps}")
        size = round(memory_length * sample_rate)
        if size <= taps // 2:
            raise ValueError(
                f"a memory of {memory_length} s is shorter than half of the {taps} taps: "
                "lengthen memory_length or use fewer taps"
            )
        for low, high in bands:
            if not 0 <= low < high <= sample_rate / 2:
                raise ValueError(
                    f"bands of the modes: found [{low}, {high}] Hz, expected frequencies that "
                    f"rise, from 0 to {sample_rate / 2} Hz"
                )
        self.rank = rank
        self.hop_size, self.past_size, self.future_size = 1, size - 1, taps // 2
        self.memory_length = memory_length
        outputs = 1 + 2 * rank
        # the short filters, and the coefficients of both phases of each mode
        self.weight = torch.nn.Parameter(torch.empty(outputs, num_channels, taps))
        self.bias = torch.nn.Parameter(torch.zeros(outputs))
        number = modes * len(bands)
        self.modes = torch.nn.Parameter(torch.zeros(outputs, num_channels, 2 * number))
        # steps of the optimizer are alike for all parameters: one of 0.01 moves a frequency by a
        # hundredth of what the memory can tell apart, and a decay by a hundredth of itself
        self.shift = torch.nn.Parameter(torch.zeros(number))
        self.log_decay = torch.nn.Parameter(torch.full((number,), math.log(4 / memory_length)))
        self.gain = torch.nn.Parameter(torch.randn(rank) / max(1, rank) ** 0.5)
        with torch.no_grad():
            # small products, and no linear part: what is learned first is what matters most
            self.weight.normal_(std=0.01)
            self.weight[0].zero_()
        place = (torch.arange(modes, dtype=torch.float64) + 0.5) / modes
        start = torch.cat([low + (high - low) * place for low, high in bands])
        self.register_buffer("start", start, persistent=False)
        time = torch.arange(size, dtype=torch.float64) / sample_rate
        self.register_buffer("time", time, persistent=False)
        ending = ((memory_length - time) / (TAPERED * memory_length)).clamp(max=1)
        window = 0.5 - 0.5 * torch.cos(math.pi * ending)
        self.register_buffer("window", window, persistent=False)

    @property
    def frequency(self) -> Tensor:
        """Frequency of each mode [Hz]."""
        return self.start + self.shift.double() / self.memory_length

    def responses(self) -> Tensor:
        """Impulse responses of the modes in both phases, of shape (2 mode, time).

        Their gain at their frequency is 1.
        """
        decay = torch.exp(self.log_decay.double())[:, None]
        size = torch.exp(-decay * self.time) * self.window
        size = 2 * size / size.sum(dim=-1, keepdim=True)
        phase = 2 * math.pi * self.frequency[:, None] * self.time
        return torch.cat((size * torch.cos(phase), size * torch.sin(phase)))

    def kernels(self) -> Tensor:
        """All filters, of shape (output, channel, time), from `future_size` before no delay on."""
        long = self.modes.double() @ self.responses()
        ahead, past = self.future_size, self.past_size
        short = torch.nn.functional.pad(self.weight.flip(-1), (0, past - ahead))
        return torch.nn.functional.pad(long, (ahead, 0)) + short

    def forward(self, witnesses: Tensor) -> Tensor:
        """See `RegressionNetwork`."""
        # neither are there Fourier transforms of half precision, nor would it do
        with torch.autocast(witnesses.device.type, enabled=False):
            precision = torch.float32 if self.training else torch.float64
            noise = self.predict(witnesses.to(precision), self.kernels().to(precision))
        return noise.to(witnesses.dtype)

    def predict(self, witnesses: Tensor, kernels: Tensor) -> Tensor:
        """The formula.

        Args:
            witnesses: Of shape (batch, channel, time); zeros beyond the ends.
            kernels: See `kernels`.
        """
        seen = self.convolve(witnesses, kernels) + self.bias[:, None]
        linear, left, right = seen.split((1, self.rank, self.rank), dim=1)
        return linear[:, 0] + (left * right * self.gain[:, None]).sum(dim=1)

    def convolve(self, witnesses: Tensor, kernels: Tensor) -> Tensor:
        """Sums over the witnesses, each through its filter, of shape (batch, output, time).

        Overlapping blocks, of twice the filters' length: the filters' transforms are the same
        for any stretch.
        """
        length, tail = witnesses.shape[-1], self.past_size + self.future_size
        size = math.ceil(2 * (tail + 1) / BLOCK) * BLOCK
        step = size - tail
        count = (length + step - 1) // step
        padding = (self.past_size, count * step - length + self.future_size)
        blocks = torch.nn.functional.pad(witnesses, padding).unfold(-1, size, step)
        spectrum = torch.einsum(
            "bcnf,ocf->bonf", torch.fft.rfft(blocks), torch.fft.rfft(kernels, size)
        )
        # what came round from the end is left out
        sums = torch.fft.irfft(spectrum, size)[..., tail:]
        return sums.flatten(2)[..., :length]
