"""The networks' parts as modules that take and give arrays."""

import torch
from torch import Tensor


class Score(torch.nn.Module):
    """Score of whitened kernels as a column, of shape (batch, 1)."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, kernel: Tensor) -> Tensor:
        """See the class."""
        return self.network(kernel)[:, None]


class FilteredScore(torch.nn.Module):
    """The same of a network that looks at the whitening filters, too."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, kernel: Tensor, taps: Tensor) -> Tensor:
        """See the class."""
        return self.network(kernel, taps)[:, None]


class Evidence(torch.nn.Module):
    """Evidence of a network without towers, along a stretch."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, strain: Tensor) -> Tensor:
        """Whitened strain (batch, ifo, time) to evidence (batch, frame)."""
        return self.network.evidence_of(strain)


class Towers(torch.nn.Module):
    """The towers of a streaming network."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, strain: Tensor) -> Tensor:
        """Whitened strain (batch, ifo, time) to features (batch, ifo, feature, frame)."""
        return self.network.towers(strain)


class Head(torch.nn.Module):
    """The head of a streaming network."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """Features (batch, ifo, feature, frame) to evidence (batch, frame - head_size + 1)."""
        return self.network.head(features)
