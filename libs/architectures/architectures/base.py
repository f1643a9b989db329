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


class EvidenceNetwork(WindowedNetwork):
    """A network that gives over a long stretch what it gives over its windows, at once.

    It consists of `evidence_of`, which turns strain into an evidence per frame, and `pool`, which
    turns the evidence within a kernel into a score. Neither pads and neither looks at statistics
    of the window. So for a stretch of any length

        pool(evidence_of(stretch), stride)[i]
            == forward(stretch[..., i * stride * hop_size :][..., :kernel_size])

    to rounding.

    Attributes:
        hop_size: Samples between two frames.
        receptive_size: Samples that one value of the evidence sees.
        head_size: Frames that one value of the evidence sees: a frame is a hop of strain, or what
            towers make of it.
        pool_size: Values of the evidence within a kernel.
    """

    hop_size: int
    receptive_size: int
    head_size: int
    pool_size: int

    def set_view(self, hop_size: int, head_size: int, receptive_size: int) -> None:
        """Set the attributes.

        Raises:
            ValueError: The kernel is shorter than what one value of the evidence sees.
        """
        self.hop_size, self.head_size, self.receptive_size = hop_size, head_size, receptive_size
        self.pool_size = (self.kernel_size - receptive_size) // hop_size + 1
        if self.pool_size < 1:
            raise ValueError(
                f"one output of this {type(self).__name__} sees "
                f"{receptive_size / self.sample_rate:.3f} s, more than the kernel of "
                f"{self.kernel_length} s: use fewer dilations or a longer kernel"
            )

    def evidence_of(self, strain: Tensor) -> Tensor:
        """Evidence of each frame.

        Args:
            strain: Whitened strain, of shape (batch, ifo, time).

        Returns:
            Tensor of shape (batch, frame), for as many frames as are seen in full.
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
        return self.pool(self.evidence_of(kernel))[:, 0]


class StreamingNetwork(EvidenceNetwork):
    """A network whose evidence has two steps, so that most of a time slide's cost is shared.

    `towers` turns each detector's strain into feature frames on its own, and `head` turns the
    frames of all detectors into the evidence. A detector slid by whole frames gives the towers'
    frames slid: the head alone is computed anew.
    """

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

    def evidence_of(self, strain: Tensor) -> Tensor:
        """See `EvidenceNetwork`."""
        return self.head(self.towers(strain))


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
        past_size: Samples of the input before an output sample that it sees, rounded up to a
            multiple of `hop_size`.
        future_size: Samples of the input after an output sample that it sees, rounded up alike.
    """

    hop_size: int = 1
    past_size: int = 0
    future_size: int = 0

    def __init__(self, num_channels: int, sample_rate: float, kernel_length: float) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.sample_rate = float(sample_rate)
        self.kernel_length = float(kernel_length)
        self.kernel_size = round(kernel_length * sample_rate)
