"""Whitening of a stream of strain, update by update."""

import torch
from torch import Tensor

from preprocessing.recipe import WhiteningRecipe
from preprocessing.whitening import WhitenBlock


class StreamingWhitening(torch.nn.Module):
    """Whiten strain as it comes: `whiten`, with what it needs of the past as a state.

    An update holds a whole number of blocks. Each is whitened with the PSD of the strain just
    before, as `whiten` does it, so that the whitened updates in a row are the whitened stretch.
    What comes out for an update stands `fduration / 2` before it: the filter waits for that much.

    The blocks of `whiten` begin `psd_length + fduration` after the start of the stretch and every
    `update_length` from there. For the very same blocks, a stretch is sent with `lead_in` samples
    of zeros in front. With a state of zeros, the first `warm_up` updates give whitened zeros or
    have a PSD with zeros in it, and are of no use.

    Args:
        recipe: Lengths and frequencies.
        num_blocks: Blocks of `update_length` in an update.

    Attributes:
        update_size: Samples in an update.
        history_size: Samples in the state.
        lead_in: Samples of zeros in front of a stretch.
        warm_up: Number of first updates without use, the lead-in's included.

    Input: Raw strain, of shape (batch, ifo, update_size), and the state, raw strain of shape
    (batch, ifo, history_size), zero at first.
    Output: Whitened strain, of shape (batch, ifo, update_size), and the next state.
    """

    def __init__(self, recipe: WhiteningRecipe, num_blocks: int = 1) -> None:
        super().__init__()
        self.whiten = WhitenBlock(recipe)
        self.num_blocks = num_blocks
        self.block_size = recipe.update_size
        self.update_size = num_blocks * recipe.update_size
        self.history_size = recipe.psd_size + recipe.filter_size
        self.lead_in = -self.history_size % self.update_size
        self.warm_up = (self.history_size + self.lead_in) // self.update_size

    def forward(self, update: Tensor, history: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        strain = torch.cat((history, update), dim=-1)
        span = self.history_size + self.block_size
        whitened = [
            self.whiten(strain[..., first : first + span])
            for first in range(0, self.update_size, self.block_size)
        ]
        return torch.cat(whitened, dim=-1), strain[..., self.update_size :]
