"""What training, export and search ask of a network."""

import torch
from torch import Tensor

FRAME_RATE = 64
"""Feature frames per second of a streaming network [Hz]."""


class WindowedNetwork(torch.nn.Module):
    """A network that scores one kernel of whitened strain at a time.

    Args:
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].

    Input: Whitened strain, of shape (batch, ifo, kernel_size). Where `needs_taps` is true, the
    whitening filters of each kernel come second, of shape (batch, ifo, filter_size).
    Output: Score, of shape (batch,): the logarithm of the odds that the kernel holds a signal, as
    far as training made it so.

    Attributes:
        needs_taps: Whether `forward` takes the whitening filters, too.
    """

    needs_taps: bool = False

    def __init__(self, num_ifos: int, sample_rate: float, kernel_length: float) -> None:
        super().__init__()
        self.num_ifos = num_ifos
        self.sample_rate = float(sample_rate)
        self.kernel_length = float(kernel_length)
        self.kernel_size = round(kernel_length * sample_rate)


class StreamingNetwork(WindowedNetwork):
    """A network that gives over a long stretch what it gives over its windows, at once.

    It consists of `towers`, which turn each detector's strain into feature frames on its own,
    `head`, which turns the frames of all detectors into an evidence per frame, and `pool`, which
    turns the evidence within a kernel into a score. None pads and none looks at statistics of the
    window. So for a stretch of any length

        pool(head(towers(stretch)), stride)[i]
            == forward(stretch[..., i * stride * hop_size :][..., :kernel_size])

    to rounding, and a detector slid by whole frames gives the towers' frames slid.

    Attributes:
        hop_size: Samples between two feature frames.
        receptive_size: Samples that one head output sees.
        head_size: Feature frames that one head output sees.
        pool_size: Head outputs within a kernel.
    """

    hop_size: int
    receptive_size: int
    head_size: int
    pool_size: int

    def towers(self, strain: Tensor) -> Tensor:
        """Feature frames of each detector.

        Args:
            strain: Whitened strain, of shape (batch, ifo, time).

        Returns:
            Tensor of shape (batch, ifo, feature, frame).
        """
        raise NotImplementedError

    def head(self, features: Tensor) -> Tensor:
        """Evidence of each frame.

        Args:
            features: Of shape (batch, ifo, feature, frame).

        Returns:
            Tensor of shape (batch, frame - head_size + 1).
        """
        raise NotImplementedError

    def pool(self, evidence: Tensor, stride: int = 1) -> Tensor:
        """Scores of the kernels that begin at every `stride`-th frame.

        Args:
            evidence: Of shape (batch, frame).
            stride: Frames between two scores.

        Returns:
            Tensor of shape (batch, score).
        """
        raise NotImplementedError

    def forward(self, kernel: Tensor) -> Tensor:
        """See `WindowedNetwork`."""
        return self.pool(self.head(self.towers(kernel)))[:, 0]


class RegressionNetwork(torch.nn.Module):
    """A network that predicts one time series from others, sample for sample.

    Args:
        num_channels: Number of time series that it sees (witnesses).
        sample_rate: Sample rate of all [Hz].
        kernel_length: Length of the stretches that it is trained on [s]; it takes others as well.

    Input: Of shape (batch, channel, time).
    Output: Of shape (batch, time); sample i stands at the time of the input's sample i.

    Attributes:
        hop_size: Samples by which the input may be shifted without changing the output otherwise,
            away from the ends.
    """

    hop_size: int = 1

    def __init__(self, num_channels: int, sample_rate: float, kernel_length: float) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.sample_rate = float(sample_rate)
        self.kernel_length = float(kernel_length)
        self.kernel_size = round(kernel_length * sample_rate)
