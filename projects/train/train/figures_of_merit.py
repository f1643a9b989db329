"""How good scores are: what networks are chosen by."""

from __future__ import annotations

import math

import torch
from ledger import InjectionSet
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

MAX_FALSE_POSITIVE_RATE = 1e-3
"""False-positive rate per block up to which the area under the ROC is taken."""

YEAR = 365.25 * 86400.0
"""The Julian year, as the evaluation counts [s]."""

RATES = {"hour": 1 / 3600.0, "day": 1 / 86400.0}
"""False-alarm rates at which the recall is measured, by name [Hz]."""


def measures_of(
    background: Tensor, foreground: Tensor, livetime: float, injections: InjectionSet
) -> dict[str, float]:
    """Figures of a validation by name, as `ValidationOutcome` explains them.

    Args:
        background: Loudest score of each block, of shape (block,).
        foreground: Score of each injection, of shape (injection,).
        livetime: Livetime of the background [s].
        injections: The set that the injections are from.
    """
    lowest = 1 / livetime
    found = recall(background, foreground, livetime, lowest)
    measures: dict[str, float | None] = {
        "valid_auroc": partial_auroc(background, foreground),
        "valid_recall": float((foreground > background.max()).double().mean()),
        **{
            f"valid_recall_{name}": recall(background, foreground, livetime, rate)
            for name, rate in RATES.items()
        },
        "valid_recall_lowest": found,
        "valid_lowest_far": lowest * YEAR,
        "valid_volume": None if found is None else sensitive_volume(found, injections),
        "valid_livetime_s": livetime,
        "valid_num_injections": float(len(foreground)),
    }
    return {name: value for name, value in measures.items() if value is not None}


def supported(livetime: float, injections: InjectionSet) -> list[str]:
    """Names of the measures that a validation will give, but for `valid_delay_s`.

    Args:
        livetime: Livetime of the background [s].
        injections: The set that the injections are from.
    """
    return list(measures_of(torch.zeros(1), torch.zeros(1), livetime, injections))


def partial_auroc(background: Tensor, foreground: Tensor) -> float:
    """Area under the ROC up to `MAX_FALSE_POSITIVE_RATE`.

    Scaled as by McClish, Med. Decis. Making 9, 190 (1989), equation 4: 0.5 is chance, 1 perfect.

    Args:
        background: Loudest score of each block, of shape (block,).
        foreground: Score of each injection, of shape (injection,).
    """
    scores = torch.cat((background, foreground))
    labels = torch.cat((torch.zeros_like(background), torch.ones_like(foreground))).long()
    # through ranks, since torchmetrics would squash logits into a float32 sigmoid
    order = torch.unique(scores, return_inverse=True)[1].double()
    order = order / order.max().clamp(min=1)
    return float(binary_auroc(order, labels, max_fpr=MAX_FALSE_POSITIVE_RATE))


def recall(background: Tensor, foreground: Tensor, livetime: float, rate: float) -> float | None:
    """Fraction of injections louder than a false-alarm rate allows the background to be.

    The threshold is the loudest background that would exceed the rate if it were a false alarm
    too, so that at most `rate * livetime` lie above it. Blocks are counted: the background's rate
    cannot be more than one for each.

    Args:
        background: Loudest score of each block, of shape (block,).
        foreground: Score of each injection, of shape (injection,).
        livetime: Livetime of the background [s].
        rate: False-alarm rate [Hz].

    Returns:
        The fraction; None where not even one false alarm is expected in the livetime, which then
        says nothing about that rate.
    """
    # one false alarm in the livetime, but for rounding
    allowed = math.floor(rate * livetime * (1 + 1e-9))
    if allowed < 1:
        return None
    if allowed >= len(background):
        return 1.0
    threshold = background.topk(allowed + 1).values[-1]
    return float((foreground > threshold).double().mean())


def sensitive_volume(found: float, injections: InjectionSet) -> float | None:
    """Volume in which the network sees the population, times the time dilation of its rate.

    Injections are drawn from the population itself, so each draw stands for the same share of
    `injections.volume`, and those rejected for their SNR count as missed. This stands in for the
    sensitive volume of the search: that one also integrates and clusters its scores, counts a
    found injection only at its own time, has its own noise, and goes to much lower rates.
    Injections too close to an edge of the strain to be scored are taken to be like the others.

    Args:
        found: Fraction of the scored injections that are found.
        injections: The set that they are from.

    Returns:
        Volume [Gpc^3]; None where the sources have no redshift and thus no volume.
    """
    if not injections.volume:
        return None
    return found * len(injections.snr) / injections.num_drawn * injections.volume
