"""The graphs that are exported."""

import torch
from preprocessing import WhitenBlock, WhiteningRecipe
from torch import Tensor


class StrainToScore(torch.nn.Module):
    """Whiten the kernel at the end of a window of raw strain and score it.

    Args:
        network: Scores whitened kernels.
        recipe: Whitening settings.

    Input: Raw strain, of shape (batch, ifo, psd_size + filter_size + kernel_size).
    Output: Score, of shape (batch, 1).
    """

    def __init__(self, network: torch.nn.Module, recipe: WhiteningRecipe) -> None:
        super().__init__()
        self.whiten = WhitenBlock(recipe)
        self.network = network

    def forward(self, strain: Tensor) -> Tensor:
        """See the class."""
        return self.network(self.whiten(strain))[:, None]


class Score(torch.nn.Module):
    """Score of whitened kernels as a column, of shape (batch, 1)."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, kernel: Tensor) -> Tensor:
        """See the class."""
        return self.network(kernel)[:, None]


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
