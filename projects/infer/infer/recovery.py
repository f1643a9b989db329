"""What the search gives for injections."""

from dataclasses import dataclass

import numpy as np
import torch
from ledger import InjectionSet
from preprocessing import filter_signals
from preprocessing.stretches import LoadedStretch
from runtime import Experiment, progress
from torch import Tensor
from waveforms import Responses

from infer.searcher import Searcher


@dataclass(frozen=True)
class Place:
    """Where a time lies in the whitened strain.

    Attributes:
        values: The stretch, of shape (ifo, sample).
        taps: The whitening filters there, of shape (ifo, filter_size).
        sample: Nearest sample.
        time: Its GPS time [s].
    """

    values: Tensor
    taps: Tensor
    sample: int
    time: float

    @property
    def size(self) -> int:
        """Samples in the stretch."""
        return self.values.shape[-1]


def find_place(
    stretches: list[LoadedStretch], starts: np.ndarray, time: float, rate: float
) -> Place:
    """Find a GPS time in the stretches.

    Args:
        stretches: Whitened strain in time order.
        starts: Their first times [s].
        time: GPS time [s].
        rate: Sample rate [Hz].

    Raises:
        ValueError: It lies in none of them.
    """
    owner = stretches[max(0, int(np.searchsorted(starts, time, "right")) - 1)]
    sample = round((time - owner.gps_start) * rate)
    if not 0 <= sample < owner.stretch.values.shape[-1]:
        raise ValueError(
            f"injection at GPS {time} lies outside the searched strain: make the injections from "
            "the same strain index and fold"
        )
    taps = owner.stretch.taps[owner.stretch.block_of(torch.tensor(sample))]
    return Place(owner.stretch.values, taps, sample, owner.gps_start + sample / rate)


def recover(
    injections: InjectionSet,
    responses: Responses,
    stretches: list[LoadedStretch],
    searcher: Searcher,
    experiment: Experiment,
) -> tuple[np.ndarray, np.ndarray]:
    """Score each injection in the strain around it.

    Each detector's data are taken at the injection's time plus its shift there. The piece of
    strain reaches one kernel plus integration to either side of the coalescence; its loudest
    integrated score is the injection's statistic. The signal is whitened with the filter of the
    block of its coalescence and added to the whitened strain.

    Args:
        injections: Injections into these stretches.
        responses: Their signals in the detectors.
        stretches: Whitened strain.
        searcher: Scores it.
        experiment: The experiment.

    Returns:
        Statistic and recovered GPS time of each injection.

    Raises:
        ValueError: An injection lies outside the stretches.
    """
    rate = experiment.sample_rate
    search = experiment.search
    reach = round((experiment.kernel_length + search.integration_length) * rate)
    statistic, time = np.empty(len(injections.time)), np.empty(len(injections.time))
    pieces: list[np.ndarray] = []
    filters: list[np.ndarray] = []
    begins: list[float] = []
    first = 0
    starts = np.array([s.gps_start for s in stretches])
    for i in progress(range(len(injections.time)), "injections", unit="injection"):
        shift = injections.shift[i]
        places = [find_place(stretches, starts, t, rate) for t in injections.time[i] + shift]
        # a kernel and an integration to either side, less where a stretch ends sooner
        begin = max(-reach, *(-place.sample for place in places))
        begin = min(begin, *(place.size - 2 * reach - place.sample for place in places))
        if any(place.sample + begin < 0 for place in places):
            raise ValueError(
                f"the strain around GPS {injections.time[i]} is shorter than {2 * reach / rate} "
                "s: make the injections from the same strain index and fold"
            )
        piece = torch.stack(
            [
                place.values[j, place.sample + begin : place.sample + begin + 2 * reach]
                for j, place in enumerate(places)
            ]
        )
        taps = torch.stack([place.taps[j] for j, place in enumerate(places)])
        response = torch.from_numpy(responses[i])
        signal = filter_signals(response[None], taps[None])[0]
        # where the signal's first sample falls in the piece
        lead = round(injections.coalescence * rate) - taps.shape[-1] // 2
        start = -lead - begin
        low, high = max(0, start), min(2 * reach, start + signal.shape[-1])
        piece[:, low:high] += signal[:, low - start : high - start]
        pieces.append(piece.numpy())
        filters.append(taps.numpy())
        begins.append(places[0].time - shift[0] + begin / rate)
        if len(pieces) == 64 or i == len(injections.time) - 1:
            evidence = searcher.scorer.evidence_of(np.stack(pieces), np.stack(filters))
            scores = searcher.statistic(evidence)
            last = first + len(pieces)
            statistic[first:last] = scores.max(axis=1)
            frame = evidence.argmax(axis=1) / searcher.timeline.frame_rate
            time[first:last] = np.array(begins) + frame + searcher.offset
            first, pieces, filters, begins = last, [], [], []
    return statistic, time
