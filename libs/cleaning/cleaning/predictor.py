"""What turns witnesses into noise: a network in memory, or one that is asked elsewhere."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch


class Predictor(Protocol):
    """What a layer asks of its network, wherever it runs.

    Attributes:
        hop_size: Samples by which its input may be shifted without changing the output
            otherwise.
        past_size: Samples before an output sample that it sees; a multiple of `hop_size`.
        future_size: Samples after an output sample that it sees; a multiple of `hop_size`.
    """

    hop_size: int
    past_size: int
    future_size: int

    def predict(self, witnesses: np.ndarray, first: int) -> np.ndarray:
        """Noise of a stretch.

        Args:
            witnesses: As they are, float64, of shape (channel, time).
            first: Index of the first sample, counted from GPS 0; a multiple of `hop_size`.

        Returns:
            Noise of shape (time,); the first `past_size` and the last `future_size` samples have
            not seen all that they would, and are not used.

        Raises:
            ConnectionError: It runs elsewhere, and gives no answer now.
        """


class Network(Protocol):
    """A network as training publishes it; attributes as those of `Predictor`."""

    hop_size: int
    past_size: int
    future_size: int

    def __call__(self, witnesses: torch.Tensor) -> torch.Tensor:
        """Noise in strain, (batch, time), from witnesses as they are, (batch, channel, time)."""


class TorchPredictor:
    """A network in this process.

    Args:
        network: The network, already on the device and of the precision.
        device: Where it runs.
        precision: Type of its numbers. In single precision what is loudest, such as the mains,
            leaves rounding everywhere, and not the same for each stretch.
    """

    def __init__(
        self,
        network: Network,
        device: str | torch.device = "cpu",
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.network = network
        self.device = torch.device(device)
        self.precision = precision
        self.hop_size = int(network.hop_size)
        self.past_size = int(network.past_size)
        self.future_size = int(network.future_size)

    def predict(self, witnesses: np.ndarray, first: int) -> np.ndarray:
        """See `Predictor`."""
        with torch.inference_mode():
            given = torch.from_numpy(witnesses)[None].to(self.device, self.precision)
            noise = self.network(given)[0]
        found: np.ndarray = noise.cpu().numpy()
        return found
