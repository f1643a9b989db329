"""How many kernels of a batch hold what, and which are chosen for a change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from train.batch import Kind


def share_of(fraction: float, size: int, number: int) -> int:
    """Things of a batch that a fraction stands for.

    Rounded once over all batches so far, not in each: after any number of batches the count is
    within one half of the fraction's, however small the batches are.

    Args:
        fraction: Between 0 and 1.
        size: Things in a batch.
        number: Number of the batch, from 0.
    """
    after, before = (math.floor(fraction * size * n + 0.5) for n in (number + 1, number))
    return after - before


@dataclass(frozen=True)
class Composition:
    """Fractions of the kernels of a batch; what is left is background as it was drawn.

    Attributes:
        signal: Fraction that holds a signal.
        swapped: Fraction with two different signals in the detectors: noise.
        muted: Fraction with a signal that one detector does not see: noise.
        glitch: Fraction with a glitch in one detector: noise.
    """

    signal: float = 0.5
    swapped: float = 0.0
    muted: float = 0.0
    glitch: float = 0.0

    def fractions(self) -> dict[Kind, float]:
        """Fraction of each kind, in the order of a batch."""
        return {
            Kind.SIGNAL: self.signal,
            Kind.SWAPPED: self.swapped,
            Kind.MUTED: self.muted,
            Kind.GLITCH: self.glitch,
        }

    def check(self, batch_size: int, num_ifos: int) -> None:
        """Check that a batch can be made so.

        Args:
            batch_size: Kernels in a batch.
            num_ifos: Detectors.

        Raises:
            ValueError: It cannot; says which fractions to lower.
        """
        if num_ifos < 2 and (self.swapped or self.muted):
            raise ValueError(
                f"data.swap_fraction {self.swapped} and data.mute_fraction {self.muted} need two "
                "detectors, found one: set both to 0"
            )
        # a fraction that is no whole number of kernels takes one more in some batches
        most = sum(math.ceil(f * batch_size - 1e-6) for f in self.fractions().values())
        if most > batch_size:
            raise ValueError(
                f"data.signal_fraction {self.signal}, swap_fraction {self.swapped}, mute_fraction "
                f"{self.muted} and glitch_fraction {self.glitch} take up to {most} kernels of a "
                f"batch of {batch_size}: lower one of them"
            )

    def kinds(self, batch_size: int, number: int) -> Tensor:
        """Kind of each kernel of a batch, those with signals first, int8, of shape (batch,).

        Args:
            batch_size: Kernels in a batch.
            number: Number of the batch.
        """
        kinds = torch.zeros(batch_size, dtype=torch.int8)
        end = 0
        for kind, fraction in self.fractions().items():
            begin, end = end, end + share_of(fraction, batch_size, number)
            kinds[begin:end] = kind
        return kinds


def choose(eligible: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choose some of the eligible at random.

    Args:
        eligible: Who may be chosen, bool, of any shape.
        count: How many; at most as many as are eligible.
        generator: Random numbers, on the device of `eligible`.

    Returns:
        Who is chosen, bool, of the shape of `eligible`.
    """
    lots = torch.rand(eligible.numel(), generator=generator, device=eligible.device)
    order = torch.where(eligible.flatten(), lots, torch.inf).argsort()
    chosen = torch.zeros_like(eligible).flatten()
    chosen[order[:count]] = True
    return chosen.reshape(eligible.shape)
