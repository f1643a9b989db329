"""How good a network is, measured on time slides of data that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from architectures import StreamingNetwork, WindowedNetwork
from architectures.base import FRAME_RATE
from ledger import InjectionSet
from preprocessing import filter_signals
from preprocessing.slides import FrameTimeline, Stretch, slide_shifts
from runtime import Experiment
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc
from waveforms import injection_responses

from train.background import LoadedStretch

SCORES_PER_SECOND = 8
"""Scores per second in validation; a signal is in view of a kernel for about one second [Hz]."""

MAX_FALSE_POSITIVE_RATE = 1e-3


@dataclass(frozen=True)
class Measures:
    """What a validation finds.

    Attributes:
        auroc: Area under the ROC up to a false-positive rate of 1e-3 per block, between 0 and 1.
        recall: Fraction of injections above the loudest background.
        livetime: Livetime of the background [s].
        num_blocks: Blocks of background.
        num_injections: Injections.
        delay: Median time from a loud injection's coalescence to the end of the view of the
            frame with the most evidence (or, for a windowed network, of the loudest kernel) [s].
    """

    auroc: float
    recall: float
    livetime: float
    num_blocks: int
    num_injections: int
    delay: float


class ValidationSet:
    """Validation strain, its injections, and the slides between.

    The background of a slide is the largest score in each block of `block_length`; an injection's
    score is the largest of the kernels that hold its coalescence.

    Args:
        loaded: Whitened validation stretches.
        injections: Injections into them.
        experiment: The experiment.
        left_out: GPS windows that no background score may look at [s].
        livetime: Livetime to slide to, as far as the data allow [s].

    Raises:
        ValueError: No injection lies in the stretches, or nothing can be slid.
    """

    block_length = 8.0

    def __init__(
        self,
        loaded: Sequence[LoadedStretch],
        injections: InjectionSet,
        experiment: Experiment,
        left_out: Sequence[tuple[float, float]],
        livetime: float,
    ) -> None:
        self.loaded = list(loaded)
        self.experiment = experiment
        self.left_out = left_out
        self.wanted_livetime = livetime
        self.rate = experiment.sample_rate
        self.kernel_size = round(experiment.kernel_length * self.rate)
        self.stretches, self.times = self._inject(injections)

    def _inject(self, injections: InjectionSet) -> tuple[Tensor, np.ndarray]:
        """Whitened data around each injection, and where the coalescence is in it [s].

        The data begin one kernel before the coalescence and end one kernel after it, so that every
        kernel that holds the coalescence is within.
        """
        reach = self.kernel_size + round(0.1 * self.rate)
        pieces, times = [], []
        responses = injection_responses(injections, self.experiment.waveforms)
        for item in self.loaded:
            stretch = item.stretch
            start = item.gps_start
            size = stretch.values.shape[-1]
            here = (injections.time > start) & (injections.time < start + size / self.rate)
            for i in np.flatnonzero(here):
                # nearest sample; the remainder is kept in the time
                centre = round((injections.time[i] - start) * self.rate)
                first, last = centre - reach, centre + reach
                if first < 0 or last > size:
                    continue
                block = stretch.block_of(torch.tensor(centre))
                response = torch.from_numpy(responses[i]).to(stretch.values.device)
                signal = filter_signals(response[None], stretch.taps[block][None])[0]
                peak = round(injections.coalescence * self.rate) - stretch.taps.shape[-1] // 2
                data = stretch.values[:, first:last].clone()
                begin, end = max(0, reach - peak), min(2 * reach, reach - peak + signal.shape[-1])
                data[:, begin:end] += signal[:, begin - reach + peak : end - reach + peak]
                pieces.append(data)
                times.append(injections.time[i] - (start + first / self.rate))
        if not pieces:
            raise ValueError(
                "no validation injection lies in the validation strain: make both from the same "
                "strain index and fold"
            )
        return torch.stack(pieces), np.array(times)

    @torch.no_grad()
    def measure(self, network: WindowedNetwork) -> Measures:
        """Score background and injections.

        Args:
            network: The network, in evaluation mode.
        """
        if isinstance(network, StreamingNetwork):
            background, livetime = self._streaming_background(network)
        else:
            background, livetime = self._windowed_background(network)
        foreground, delay = self._foreground(network)
        scores = torch.cat((background, foreground))
        labels = torch.cat((torch.zeros_like(background), torch.ones_like(foreground))).long()
        # through ranks, since torchmetrics would squash logits into a float32 sigmoid
        order = torch.unique(scores, return_inverse=True)[1].double()
        auroc = binary_auroc(order / order.max(), labels, max_fpr=MAX_FALSE_POSITIVE_RATE)
        return Measures(
            # torchmetrics follows McClish, for whom chance is 0.5
            auroc=float(auroc),
            recall=float((foreground > background.max()).float().mean()),
            livetime=livetime,
            num_blocks=len(background),
            num_injections=len(foreground),
            delay=delay,
        )

    def _blocks(self, scores: Tensor, counts: Tensor) -> Tensor:
        """Largest score in each block, where any counts."""
        size = round(self.block_length * SCORES_PER_SECOND)
        scores = torch.where(counts, scores, -torch.inf)
        missing = -len(scores) % size
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
        loudest = scores.reshape(-1, size).amax(dim=-1)
        return loudest[loudest > -torch.inf]

    def _timeline(
        self, window_size: int, sizes: Sequence[int], view: float, rate: float
    ) -> FrameTimeline:
        stretches = [
            Stretch(item.gps_start, size, self.left_out, item.file.label)
            for item, size in zip(self.loaded, sizes, strict=True)
        ]
        return FrameTimeline(stretches, rate, window_size, view)

    def _streaming_background(self, network: StreamingNetwork) -> tuple[Tensor, float]:
        features = [towers_in_parts(network, item.stretch.values) for item in self.loaded]
        window = network.pool_size + network.head_size - 1
        view = (network.receptive_size - (network.head_size - 1) * network.hop_size) / self.rate
        timeline = self._timeline(window, [f.shape[-1] for f in features], view, FRAME_RATE)
        row = torch.cat(features, dim=-1)
        stride = FRAME_RATE // SCORES_PER_SECOND
        blocks, livetime = [], 0.0
        for shifts in self._slides(timeline, stride):
            slid = torch.stack([row[j].roll(-s, dims=-1) for j, s in enumerate(shifts)])
            scores = network.pool(network.head(slid[None]), stride)[0]
            counts = torch.from_numpy(timeline.scored(shifts)[::stride][: len(scores)].copy())
            counts = counts.to(scores.device)
            livetime += int(counts.sum()) / SCORES_PER_SECOND
            blocks.append(self._blocks(scores, counts))
        return torch.cat(blocks), livetime

    def _windowed_background(self, network: WindowedNetwork) -> tuple[Tensor, float]:
        hop = round(self.rate / SCORES_PER_SECOND)
        sizes = [(i.stretch.values.shape[-1] - self.kernel_size) // hop + 1 for i in self.loaded]
        view = self.kernel_size / self.rate
        timeline = self._timeline(1, sizes, view, SCORES_PER_SECOND)
        windows = [
            i.stretch.values.unfold(-1, self.kernel_size, hop).movedim(0, 1) for i in self.loaded
        ]
        row = torch.cat(windows)
        blocks, livetime = [], 0.0
        for shifts in self._slides(timeline, 1):
            partners = [(torch.arange(len(row)) + shift) % len(row) for shift in shifts]
            scores = torch.cat(
                [
                    network(
                        torch.stack([row[p[k : k + 256], j] for j, p in enumerate(partners)], 1)
                    )
                    for k in range(0, len(row), 256)
                ]
            )
            counts = torch.from_numpy(timeline.scored(shifts)).to(scores.device)
            livetime += int(counts.sum()) / SCORES_PER_SECOND
            blocks.append(self._blocks(scores, counts))
        return torch.cat(blocks), livetime

    def _slides(self, timeline: FrameTimeline, stride: int) -> list[tuple[int, ...]]:
        ifos = len(self.experiment.ifos)
        step = self.experiment.search.slide_step
        slides = slide_shifts(timeline, ifos, step, self.wanted_livetime, stride)
        # a single detector has no slides: its background is the data as they are
        if ifos == 1:
            return [(0,)]
        if not slides:
            raise ValueError(
                f"the validation strain of {timeline.size / timeline.frame_rate:.0f} s allows no "
                f"slide of {step} s: validate on more strain"
            )
        return slides

    def _foreground(self, network: WindowedNetwork) -> tuple[Tensor, float]:
        scores, delays = [], []
        hop = round(self.rate / SCORES_PER_SECOND)
        for k in range(0, len(self.stretches), 64):
            data, times = self.stretches[k : k + 64], self.times[k : k + 64]
            if isinstance(network, StreamingNetwork):
                evidence = network.head(network.towers(data))
                scores.append(network.pool(evidence, FRAME_RATE // SCORES_PER_SECOND).amax(-1))
                first = evidence.argmax(dim=-1).cpu().numpy()
                ends = (first * network.hop_size + network.receptive_size) / self.rate
            else:
                windows = data.unfold(-1, self.kernel_size, hop).movedim(1, 2)
                flat = network(windows.flatten(0, 1)).reshape(len(data), -1)
                scores.append(flat.amax(-1))
                ends = (flat.argmax(-1).cpu().numpy() * hop + self.kernel_size) / self.rate
            delays.append(ends - times)
        statistic = torch.cat(scores)
        loud = statistic >= statistic.median()
        return statistic, float(np.median(np.concatenate(delays)[loud.cpu().numpy()]))


def towers_in_parts(network: StreamingNetwork, values: Tensor, part: int = 2**16) -> Tensor:
    """Feature frames of a long stretch, computed part by part to bound the memory.

    Args:
        network: The network.
        values: Whitened strain, of shape (ifo, time).
        part: Samples advanced at a time; a multiple of the network's hop.

    Returns:
        Tensor of shape (ifo, feature, frame).
    """
    view = network.receptive_size - (network.head_size - 1) * network.hop_size
    frames = []
    for start in range(0, values.shape[-1] - view + 1, part):
        stop = start + part + view - network.hop_size
        frames.append(network.towers(values[None, :, start:stop])[0])
    return torch.cat(frames, dim=-1)
