"""A streaming network over a stream of whitened strain, what it needs of the past as states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class StreamedNetwork(torch.nn.Module):
    """Scores of a stream, each sample of which passes the towers once.

    The states are the ends of what came before, just as long as the next update needs them: the
    whitened strain that the next frames look at, the feature frames that the head looks at, the
    evidence that is pooled. All are zero at first, and scores that look at zeros are of no use.

    The scores are those that a search of the whole stretch takes: of kernels that begin each
    `stride` frames after the first whitened sample.

    Args:
        network: A streaming network with its methods `towers`, `head` and `pool`.
        description: Of the network, from `model.yaml`.
        stride: Feature frames between two scores.
        update_size: Whitened samples in an update.

    Attributes:
        reach: Frames from a kernel's first to the one that completes its score.
        phase: Place of an update's first score among its frames.
        tail_size: Samples of whitened strain in the state.
        states: Shape of each state, by the name of its input.

    Input: Whitened strain (1, ifo, update_size) and the states `strain_tail` (1, ifo, tail_size),
    `feature_tail` (1, ifo, feature, head_size - 1), `evidence_tail` (1, pool_size - 1).
    Output: Scores (1, score) and the next states.

    Raises:
        ValueError: An update is no whole number of scores.
    """

    def __init__(
        self, network: Any, description: Mapping[str, Any], stride: int, update_size: int
    ) -> None:
        super().__init__()
        self.network = network
        self.stride = stride
        hop, head_size = description["hop_size"], description["head_size"]
        pool_size = description["pool_size"]
        view = description["receptive_size"] - (head_size - 1) * hop
        if update_size % (hop * stride):
            raise ValueError(
                f"an update of {update_size} samples is no whole number of scores, one for each "
                f"{hop * stride} samples: choose whitening.update_length accordingly"
            )
        # A whole number of hops, so that frames fall where those of the whole stretch do.
        self.tail_size = -(-(view - hop) // hop) * hop
        self.head_tail, self.pool_tail = head_size - 1, pool_size - 1
        # Frames that a kernel needs beyond those of its own update: they are of earlier ones.
        self.reach = self.tail_size // hop + self.head_tail + self.pool_tail
        self.phase = self.reach % stride
        ifos = len(description["ifos"])
        with torch.no_grad():
            features = network.towers(torch.zeros(1, ifos, view)).shape[2]
        self.states = {
            "strain_tail": (1, ifos, self.tail_size),
            "feature_tail": (1, ifos, features, self.head_tail),
            "evidence_tail": (1, self.pool_tail),
        }

    def forward(
        self, whitened: Tensor, strain_tail: Tensor, feature_tail: Tensor, evidence_tail: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        strain = torch.cat((strain_tail, whitened), dim=-1)
        features = torch.cat((feature_tail, self.network.towers(strain)), dim=-1)
        evidence = torch.cat((evidence_tail, self.network.head(features)), dim=-1)
        score = self.network.pool(evidence)[:, self.phase :: self.stride]
        return (
            score,
            strain[..., strain.shape[-1] - self.tail_size :],
            features[..., features.shape[-1] - self.head_tail :],
            evidence[..., evidence.shape[-1] - self.pool_tail :],
        )


class SnapshotKernels(torch.nn.Module):
    """Whitened kernels out of a snapshot of raw strain: what any network can be streamed with.

    The whole snapshot is whitened by the PSD of its beginning, and kernels are cut from its end,
    one for each new score. Each sample is whitened and seen by the network as often as snapshots
    and kernels overlap.

    Args:
        whiten: Whitens the end of a window by the PSD of its beginning.
        kernel_size: Samples in a kernel.
        hop_size: Samples between two kernels.
        num_kernels: Kernels cut from a snapshot.

    Input: Raw strain, of shape (1, ifo, psd_size + filter_size + kernel_size +
    (num_kernels - 1) hop_size).
    Output: Kernels, of shape (num_kernels, ifo, kernel_size), the earliest first.
    """

    def __init__(
        self, whiten: torch.nn.Module, kernel_size: int, hop_size: int, num_kernels: int
    ) -> None:
        super().__init__()
        self.whiten = whiten
        self.kernel_size, self.hop_size, self.num_kernels = kernel_size, hop_size, num_kernels

    def forward(self, strain: Tensor) -> Tensor:
        """See the class."""
        whitened = self.whiten(strain)[0]
        first = [k * self.hop_size for k in range(self.num_kernels)]
        return torch.stack([whitened[:, k : k + self.kernel_size] for k in first])
