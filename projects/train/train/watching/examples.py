"""Single kernels, and what in them made the network score as it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from architectures import WindowedNetwork
from torch import Tensor

from train.validation import SCORES_PER_SECOND
from train.watching.figures import LOUDEST, MISSED
from train.watching.scores import Scores

MAX_SAMPLES = 1024
"""Samples of a kernel that are shown; of a longer one, where the gradient finds the most."""


@dataclass(frozen=True)
class Example:
    """A kernel and its input gradient.

    Attributes:
        score: Score of the kernel.
        time: Of the samples shown, from the kernel's first [s], of shape (sample,).
        strain: Whitened strain, of shape (ifo, sample).
        gradient: Derivative of the score by the whitened strain, of shape (ifo, sample).
        row: Row in the injection set; None for background.
        snr: Network SNR of the injection; None for background.
        coalescence: Time of the coalescence in the kernel [s]; None for background.
    """

    score: float
    time: np.ndarray
    strain: np.ndarray
    gradient: np.ndarray
    row: int | None = None
    snr: float | None = None
    coalescence: float | None = None


def choose_injections(scores: Scores, num_examples: int) -> dict[str, np.ndarray]:
    """Positions of the injections to look at.

    Args:
        scores: Scores.
        num_examples: Number of each kind.

    Returns:
        The loudest of those missed at 1/hour (or, if the livetime is shorter, below the loudest
        background), by their SNR; and those with the largest scores.
    """
    missed = np.flatnonzero(scores.foreground <= next(iter(scores.thresholds().values())))
    by_snr = missed[np.argsort(-scores.snr[missed], kind="stable")]
    by_score = np.argsort(-scores.foreground, kind="stable")
    return {MISSED: by_snr[:num_examples], LOUDEST: by_score[:num_examples]}


def injection_examples(
    network: WindowedNetwork, outcome: Any, positions: Sequence[int] | np.ndarray
) -> list[Example]:
    """Look at the loudest kernel of each of some injections.

    The kernels looked at are those that the validation scores: `SCORES_PER_SECOND` of them.

    Args:
        network: The network, in evaluation mode.
        outcome: What the validation found.
        positions: Positions in `outcome.foreground`.
    """
    if not len(positions):
        return []
    validation = outcome.validation
    rows = np.asarray(outcome.rows)[positions]
    rate = network.sample_rate
    hop = round(rate / SCORES_PER_SECOND)
    chosen = torch.as_tensor(np.array(positions), device=validation.stretches.device)
    windows = validation.stretches[chosen].unfold(-1, network.kernel_size, hop).movedim(1, 2)
    taps = validation.taps[chosen] if network.needs_taps else None
    repeated = None if taps is None else taps.repeat_interleave(windows.shape[1], dim=0)
    with torch.no_grad():
        scores = score(network, windows.flatten(0, 1), repeated).reshape(windows.shape[:2])
    first = scores.argmax(dim=1)
    kernels = windows[torch.arange(len(first), device=first.device), first]
    found = kernel_examples(network, kernels, taps)
    times = np.asarray(validation.times)[positions] - first.cpu().numpy() * hop / rate
    return [
        replace(
            example,
            row=int(row),
            snr=float(validation.injections.snr[row]),
            coalescence=float(time),
        )
        for example, row, time in zip(found, rows, times, strict=True)
    ]


def kernel_examples(
    network: WindowedNetwork, kernels: Tensor, taps: Tensor | None = None
) -> list[Example]:
    """Look at kernels.

    Args:
        network: The network, in evaluation mode.
        kernels: Whitened strain, of shape (example, ifo, kernel_size).
        taps: Their whitening filters, of shape (example, ifo, filter_size), for a network that
            needs them.
    """
    scores, gradients = explain(network, kernels, taps)
    strain, slopes = kernels.float().cpu().numpy(), gradients.cpu().numpy()
    examples = []
    for i, value in enumerate(scores.tolist()):
        shown = telling_part(strain[i] * slopes[i])
        time = np.arange(shown.start, shown.stop) / network.sample_rate
        examples.append(Example(value, time, strain[i][:, shown], slopes[i][:, shown]))
    return examples


def explain(
    network: WindowedNetwork, kernels: Tensor, taps: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores of kernels and their derivatives by the strain; no gradient of a weight is touched.

    Args:
        network: The network, in evaluation mode.
        kernels: Whitened strain, of shape (example, ifo, kernel_size).
        taps: Their whitening filters, for a network that needs them.

    Returns:
        Scores, of shape (example,), and derivatives, of the shape of the kernels.
    """
    # Lightning validates in inference mode, whose tensors can have no gradient: hence the copies
    with torch.inference_mode(mode=False), torch.enable_grad():
        inputs = kernels.clone().requires_grad_()
        scores = score(network, inputs, None if taps is None else taps.clone())
        (gradients,) = torch.autograd.grad(scores.sum(), inputs)
    return scores.detach().float(), gradients.float()


def score(network: WindowedNetwork, kernels: Tensor, taps: Tensor | None) -> Tensor:
    """Scores of kernels, with their whitening filters where the network needs them."""
    return network(kernels) if taps is None else network(kernels, taps)


def telling_part(contribution: np.ndarray) -> slice:
    """Where most of the score comes from.

    Args:
        contribution: Strain times gradient, of shape (ifo, sample).

    Returns:
        At most `MAX_SAMPLES` samples.
    """
    size = contribution.shape[-1]
    if size <= MAX_SAMPLES:
        return slice(0, size)
    total = np.append(0.0, np.abs(contribution).sum(axis=0, dtype=float).cumsum())
    start = int(np.argmax(total[MAX_SAMPLES:] - total[:-MAX_SAMPLES]))
    return slice(start, start + MAX_SAMPLES)
