"""How good a network is, measured on time slides of data that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from architectures import EvidenceNetwork, StreamingNetwork, WindowedNetwork
from architectures.base import FRAME_RATE
from ledger import InjectionSet
from preprocessing import filter_signals
from preprocessing.slides import FrameTimeline, Stretch, slide_shifts
from preprocessing.stretches import LoadedStretch
from runtime import Experiment
from torch import Tensor
from waveforms import injection_responses

from train.figures_of_merit import measures_of

SCORES_PER_SECOND = 8
"""Scores per second in validation; a signal is in view of a kernel for about one second [Hz]."""

NUM_LOUDEST = 8
"""Blocks of background whose kernels are kept, to be looked at."""

WINDOWS_AT_ONCE = 256
"""Windows that a windowed network scores at a time; bounds the memory, changes no value."""


class Share(NamedTuple):
    """Which part of a measurement a process does.

    Attributes:
        rank: Number of the process.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    def of(self, items: Sequence[Any]) -> Sequence[Any]:
        """The items that are this process's."""
        return items[self.rank :: self.size]

    def gather(self, results: list[Any]) -> list[Any]:
        """Results of all items, in the order of the items, from those of each process."""
        if self.size == 1:
            return results
        parts: list[list[Any]] = [[] for _ in range(self.size)]
        torch.distributed.all_gather_object(parts, results)
        total = sum(map(len, parts))
        return [parts[i % self.size][i // self.size] for i in range(total)]


ALONE = Share()


class Place(NamedTuple):
    """Where the score of a block of background is.

    Attributes:
        score: The score.
        shifts: Shifts of the slide, in frames (or windows) of each detector.
        start: First frame (or window) of the kernel in the slide.
    """

    score: float
    shifts: tuple[int, ...]
    start: int


class Kernels(NamedTuple):
    """Kernels of whitened strain.

    Attributes:
        kernels: Of shape (kernel, ifo, kernel_size).
        taps: Filters that whitened the middle of each, of shape (kernel, ifo, filter_size).
    """

    kernels: Tensor
    taps: Tensor


@dataclass(frozen=True)
class ValidationOutcome:
    """What a validation finds.

    Attributes:
        measures: Figures by name; those that the livetime does not support are left out.
            `valid_auroc`: area under the ROC up to a false-positive rate of 1e-3 per block,
            between 0.5 (chance) and 1.
            `valid_recall`: fraction of injections above the loudest background.
            `valid_recall_hour`, `valid_recall_day`: at one false alarm per hour, per day.
            `valid_recall_lowest`: at `valid_lowest_far`, the lowest rate that the livetime
            supports: one false alarm in all of it [1/yr].
            `valid_volume`: sensitive volume at that rate [Gpc^3], see `sensitive_volume`.
            `valid_livetime_s`: livetime of the background [s].
            `valid_num_injections`: number of injections.
            `valid_delay_s`: median time from a loud injection's coalescence to the end of the
            view of the frame with the most evidence (or, for a windowed network, of the loudest
            kernel) [s].
        background: Loudest score of each block, of shape (block,).
        foreground: Score of each injection, of shape (injection,).
        rows: Row of each of these injections in `validation.injections`.
        validation: What was scored.
        loudest: Kernels of the `NUM_LOUDEST` loudest blocks of background, slid as they were
            scored, the loudest first.
    """

    measures: dict[str, float]
    background: Tensor
    foreground: Tensor
    rows: np.ndarray
    validation: ValidationSet
    loudest: Kernels


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

    Attributes:
        stretches: Whitened data around each injection, the injection in it, of shape
            (injection, ifo, time).
        taps: Filters that whitened the middle of each, of shape (injection, ifo, filter_size).
        times: Time of the coalescence in each [s].
        rows: Row of each in `injections`.
        injections: The injections, those included that lie too close to an edge to be scored.

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
        self.injections = injections
        self._inject(injections)

    def _inject(self, injections: InjectionSet) -> None:
        """Whiten the data around each injection, and the injection with it.

        The data begin one kernel before the coalescence and end one kernel after it, so that every
        kernel that holds the coalescence is within.
        """
        reach = self.kernel_size + round(0.1 * self.rate)
        pieces, filters, times, rows = [], [], [], []
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
                filters.append(stretch.taps[block])
                rows.append(int(i))
                times.append(injections.time[i] - (start + first / self.rate))
        if not pieces:
            raise ValueError(
                "no validation injection lies in the validation strain: make both from the same "
                "strain index and fold"
            )
        self.stretches, self.taps = torch.stack(pieces), torch.stack(filters)
        self.times, self.rows = np.array(times), np.array(rows)

    @torch.no_grad()
    def measure(self, network: WindowedNetwork, share: Share = ALONE) -> ValidationOutcome:
        """Score background and injections.

        Args:
            network: The network, in evaluation mode.
            share: Which part is this process's; the outcome is that of all parts.
        """
        if isinstance(network, EvidenceNetwork):
            background, livetime, loudest = self._streaming_background(network, share)
        else:
            background, livetime, loudest = self._windowed_background(network, share)
        foreground, delay = self._foreground(network, share)
        measures = measures_of(background, foreground, livetime, self.injections)
        measures["valid_delay_s"] = delay
        return ValidationOutcome(measures, background, foreground, self.rows, self, loudest)

    def livetime(self, network: WindowedNetwork, wanted: float | None = None) -> float:
        """Livetime of the background of a measurement, before anything is scored [s].

        Args:
            network: The network.
            wanted: Livetime to slide to, as far as the data allow; that of the set if None [s].
        """
        timeline, _, stride = self._timeline(network)
        scores = sum(
            np.count_nonzero(timeline.scored(shifts)[::stride])
            for shifts in self._slides(timeline, stride, wanted)
        )
        return scores / SCORES_PER_SECOND

    def _blocks(self, scores: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Largest score in each block, where any counts, and its position."""
        size = round(self.block_length * SCORES_PER_SECOND)
        scores = torch.where(counts, scores, -torch.inf)
        missing = -len(scores) % size
        scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
        loudest, place = scores.reshape(-1, size).max(dim=-1)
        place = place + size * torch.arange(len(place), device=place.device)
        some = loudest > -torch.inf
        return loudest[some], place[some]

    def _slide(
        self, scores: Tensor, counts: Tensor, shifts: tuple[int, ...], stride: int
    ) -> tuple[Tensor, float, list[Place]]:
        """Blocks and livetime of a slide, and where its loudest blocks are."""
        blocks, places = self._blocks(scores, counts)
        first = blocks.topk(min(NUM_LOUDEST, len(blocks))).indices
        found = [Place(float(blocks[i]), shifts, int(places[i]) * stride) for i in first]
        return blocks.cpu(), int(counts.sum()) / SCORES_PER_SECOND, found

    def _timeline(self, network: WindowedNetwork) -> tuple[FrameTimeline, list[int], int]:
        """What a network makes of the stretches.

        Returns:
            The timeline of its frames (or windows), how many each stretch has, and how many lie
            between two scores.
        """
        if isinstance(network, EvidenceNetwork):
            seen = network.receptive_size - (network.head_size - 1) * network.hop_size
            hop, rate, stride = network.hop_size, FRAME_RATE, FRAME_RATE // SCORES_PER_SECOND
            window = network.pool_size + network.head_size - 1
        else:
            seen, rate, stride, window = self.kernel_size, SCORES_PER_SECOND, 1, 1
            hop = round(self.rate / rate)
        sizes = [(item.stretch.values.shape[-1] - seen) // hop + 1 for item in self.loaded]
        stretches = [
            Stretch(item.gps_start, size, self.left_out, item.file.label)
            for item, size in zip(self.loaded, sizes, strict=True)
        ]
        return FrameTimeline(stretches, rate, window, seen / self.rate), sizes, stride

    def _joined(
        self,
        results: list[tuple[Tensor, float, list[Place]]],
        share: Share,
        sizes: Sequence[int],
        hop: int,
    ) -> tuple[Tensor, float, Kernels]:
        """Blocks, livetime and loudest kernels of all slides.

        Args:
            results: Of this process's slides, as `_slide` gives them.
            share: Which part of them this process has done.
            sizes: Frames (or windows) of each stretch.
            hop: Samples between two of them.
        """
        results = share.gather(results)
        places = sorted((p for _, _, found in results for p in found), key=lambda p: -p.score)
        kernels = self._kernels(places[:NUM_LOUDEST], sizes, hop)
        blocks = torch.cat([blocks for blocks, _, _ in results])
        return blocks, sum(livetime for _, livetime, _ in results), kernels

    def _kernels(self, places: Sequence[Place], sizes: Sequence[int], hop: int) -> Kernels:
        """Kernels at places in slides; see `_joined`."""
        ends = np.cumsum(sizes)
        kernels, taps = [], []
        for place in places:
            for j, shift in enumerate(place.shifts):
                frame = (place.start + shift) % int(ends[-1])
                k = int(np.searchsorted(ends, frame, side="right"))
                first = (frame - int(ends[k] - sizes[k])) * hop
                stretch = self.loaded[k].stretch
                kernel = stretch.values[j, first : first + self.kernel_size]
                # the last frames of a stretch end less than a hop before their kernel
                missing = self.kernel_size - len(kernel)
                kernels.append(torch.nn.functional.pad(kernel, (0, missing)))
                block = stretch.block_of(torch.tensor(first + self.kernel_size // 2))
                taps.append(stretch.taps[block, j])
        shape = (len(places), -1)
        return Kernels(
            torch.stack(kernels).reshape(*shape, self.kernel_size),
            torch.stack(taps).reshape(*shape, taps[0].shape[-1]),
        )

    def _streaming_background(
        self, network: EvidenceNetwork, share: Share
    ) -> tuple[Tensor, float, Kernels]:
        timeline, sizes, stride = self._timeline(network)
        row = torch.cat(
            [frames_in_parts(network, item.stretch.values) for item in self.loaded], dim=-1
        )
        results = []
        for shifts in share.of(self._slides(timeline, stride)):
            slid = torch.stack([row[j].roll(-s, dims=-1) for j, s in enumerate(shifts)])
            scores = network.pool(evidence_in_parts(network, slid), stride)[0]
            counts = torch.from_numpy(timeline.scored(shifts)[::stride][: len(scores)].copy())
            results.append(self._slide(scores, counts.to(scores.device), shifts, stride))
        return self._joined(results, share, sizes, network.hop_size)

    def _windowed_background(
        self, network: WindowedNetwork, share: Share
    ) -> tuple[Tensor, float, Kernels]:
        hop = round(self.rate / SCORES_PER_SECOND)
        timeline, sizes, stride = self._timeline(network)
        windows = [
            i.stretch.values.unfold(-1, self.kernel_size, hop).movedim(0, 1) for i in self.loaded
        ]
        row = torch.cat(windows)
        taps, block = self._window_taps(sizes, hop)
        results = []
        for shifts in share.of(self._slides(timeline, stride)):
            partners = [(torch.arange(len(row)) + shift) % len(row) for shift in shifts]

            def score(k: int, partners: list[Tensor] = partners) -> Tensor:
                here = [p[k : k + WINDOWS_AT_ONCE] for p in partners]
                kernels = torch.stack([row[p, j] for j, p in enumerate(here)], 1)
                if not network.needs_taps:
                    return network(kernels)
                return network(
                    kernels, torch.stack([taps[block[p], j] for j, p in enumerate(here)], 1)
                )

            scores = torch.cat([score(k) for k in range(0, len(row), WINDOWS_AT_ONCE)])
            counts = torch.from_numpy(timeline.scored(shifts)).to(scores.device)
            results.append(self._slide(scores, counts, shifts, stride))
        return self._joined(results, share, sizes, hop)

    def _window_taps(self, sizes: Sequence[int], hop: int) -> tuple[Tensor, Tensor]:
        """Filters of all stretches, and which of them whitened the middle of each window."""
        blocks, offset = [], 0
        for item, size in zip(self.loaded, sizes, strict=True):
            middle = torch.arange(size) * hop + self.kernel_size // 2
            blocks.append(item.stretch.block_of(middle) + offset)
            offset += len(item.stretch.taps)
        return torch.cat([item.stretch.taps for item in self.loaded]), torch.cat(blocks)

    def _slides(
        self, timeline: FrameTimeline, stride: int, wanted: float | None = None
    ) -> list[tuple[int, ...]]:
        ifos = len(self.experiment.ifos)
        step = self.experiment.search.slide_step
        livetime = self.wanted_livetime if wanted is None else wanted
        slides = slide_shifts(timeline, ifos, step, livetime, stride)
        # a single detector has no slides: its background is the data as they are
        if ifos == 1:
            return [(0,)]
        if not slides:
            raise ValueError(
                f"the validation strain of {timeline.size / timeline.frame_rate:.0f} s allows no "
                f"slide of {step} s: validate on more strain"
            )
        return slides

    def _foreground(self, network: WindowedNetwork, share: Share) -> tuple[Tensor, float]:
        """Scores of the injections, and the delay."""
        results = []
        for k in share.of(range(0, len(self.stretches), 64)):
            scores, ends = self._score_stretches(network, slice(k, k + 64))
            results.append((scores.cpu(), ends - self.times[k : k + 64]))
        results = share.gather(results)
        statistic = torch.cat([scores for scores, _ in results])
        delays = np.concatenate([delay for _, delay in results])
        loud = statistic >= statistic.median()
        return statistic, float(np.median(delays[loud.numpy()]))

    def _score_stretches(
        self, network: WindowedNetwork, which: slice
    ) -> tuple[Tensor, np.ndarray]:
        """Loudest score of some stretches, and the end of the view of what made it [s]."""
        data = self.stretches[which]
        hop = round(self.rate / SCORES_PER_SECOND)
        if isinstance(network, EvidenceNetwork):
            evidence = network.evidence_of(data)
            scores = network.pool(evidence, FRAME_RATE // SCORES_PER_SECOND)
            first = evidence.argmax(dim=-1).cpu().numpy()
            return scores.amax(-1), (first * network.hop_size + network.receptive_size) / self.rate
        windows = data.unfold(-1, self.kernel_size, hop).movedim(1, 2)
        inputs = [windows.flatten(0, 1)]
        if network.needs_taps:
            inputs.append(self.taps[which].repeat_interleave(windows.shape[1], 0))
        scores = network(*inputs).reshape(len(data), -1)
        last = scores.argmax(-1).cpu().numpy()
        return scores.amax(-1), (last * hop + self.kernel_size) / self.rate


def frames_in_parts(network: EvidenceNetwork, values: Tensor, part: int = 2**16) -> Tensor:
    """Frames of a long stretch, computed part by part to bound the memory.

    Args:
        network: The network.
        values: Whitened strain, of shape (ifo, time).
        part: Samples advanced at a time; a multiple of the network's hop.

    Returns:
        Tensor of shape (ifo, feature, frame): what the towers make of the strain or, for a network
        without towers, the hops of the strain itself, (ifo, hop, frame).
    """
    hop = network.hop_size
    if not isinstance(network, StreamingNetwork):
        count = values.shape[-1] // hop
        return values[:, : count * hop].unflatten(-1, (count, hop)).mT
    view = network.receptive_size - (network.head_size - 1) * hop
    frames = []
    for start in range(0, values.shape[-1] - view + 1, part):
        stop = start + part + view - hop
        frames.append(network.towers(values[None, :, start:stop])[0])
    return torch.cat(frames, dim=-1)


def evidence_in_parts(network: EvidenceNetwork, frames: Tensor, part: int = 2**11) -> Tensor:
    """Evidence of the frames of a slide; see `frames_in_parts`.

    Args:
        network: The network.
        frames: Of shape (ifo, feature, frame).
        part: Frames that a network without towers is given at once.

    Returns:
        Tensor of shape (1, frame - head_size + 1).
    """
    if isinstance(network, StreamingNetwork):
        return network.head(frames[None])
    strain = frames.mT.flatten(1)[None]
    parts = []
    for start in range(0, frames.shape[-1] - network.head_size + 1, part):
        last = (start + part - 1) * network.hop_size + network.receptive_size
        parts.append(network.evidence_of(strain[..., start * network.hop_size : last]))
    return torch.cat(parts, dim=-1)
