"""What the search gives for injections."""

from dataclasses import dataclass

import numpy as np
import torch
from ledger import InjectionSet
from preprocessing import filter_signals
from runtime import progress
from waveforms import Responses

from infer.prepared import Prepared
from infer.ranking import rank_pieces
from infer.stretches import PreparedStretch

# Injections that go through the networks together.
GROUP_SIZE = 64


@dataclass(frozen=True)
class Place:
    """Where a time lies in the whitened strain.

    Attributes:
        values: The stretch, of shape (ifo, sample).
        taps: The whitening filters there, of shape (ifo, filter_size).
        sample: Nearest sample.
        time: Its GPS time [s].
    """

    values: np.ndarray
    taps: np.ndarray
    sample: int
    time: float

    @property
    def size(self) -> int:
        """Samples in the stretch."""
        return int(self.values.shape[-1])


def find_place(
    stretches: list[PreparedStretch], starts: np.ndarray, time: float, rate: float
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
    if not 0 <= sample < owner.size:
        raise ValueError(
            f"injection at GPS {time} lies outside the searched strain: make the injections from "
            "the same strain index and fold"
        )
    taps = owner.taps[owner.block_of(sample)]
    return Place(owner.whitened, taps, sample, owner.gps_start + sample / rate)


def recover(
    injections: InjectionSet, responses: Responses, prepared: Prepared, rows: slice
) -> tuple[np.ndarray, np.ndarray]:
    """Score injections in the strain around them.

    Each detector's data are taken at the injection's time plus its shift there. The piece of
    strain reaches one kernel plus integration to either side of the coalescence; its loudest
    integrated score is the injection's, of which the experiment's ranking makes a statistic. The
    signal is whitened with the filter of the block of its coalescence and added to the whitened
    strain.

    Args:
        injections: Injections into the strain.
        responses: Their signals in the detectors.
        prepared: The strain.
        rows: Which injections, consecutive ones that begin at a multiple of `GROUP_SIZE`.

    Returns:
        Statistic and recovered GPS time of each of them.

    Raises:
        ValueError: An injection lies outside the stretches.
    """
    searcher, experiment = prepared.searcher(), prepared.session.experiment
    starts = np.array([s.gps_start for s in prepared.stretches])
    count = len(range(len(injections.time))[rows])
    statistic, time = np.empty(count), np.empty(count)
    done = 0
    groups = range(rows.start, rows.stop, GROUP_SIZE)
    for i in progress(groups, "injections", unit="group"):
        last = min(i + GROUP_SIZE, rows.stop)
        pieces = [_piece(injections, responses, prepared, starts, j) for j in range(i, last)]
        values = np.stack([piece.values for piece in pieces])
        taps = np.stack([piece.taps for piece in pieces])
        evidence = searcher.scorer.evidence_of(values, taps)
        here = slice(done, done + len(pieces))
        score = searcher.statistic(evidence).max(axis=1).astype(np.float64)
        after = evidence.argmax(axis=1) / searcher.timeline.frame_rate + searcher.offset
        time[here] = np.array([piece.time for piece in pieces]) + after
        centre = np.round(after * experiment.sample_rate)
        statistic[here] = rank_pieces(experiment, score, values, taps, centre)
        done += len(pieces)
        for stretch in prepared.stretches:
            stretch.release()
    return statistic, time


def _piece(
    injections: InjectionSet,
    responses: Responses,
    prepared: Prepared,
    starts: np.ndarray,
    number: int,
) -> Place:
    """The whitened strain around an injection with its signal, its first sample at the place."""
    experiment = prepared.session.experiment
    rate = experiment.sample_rate
    reach = round((experiment.kernel_length + experiment.search.integration_length) * rate)
    shift = injections.shift[number]
    times = injections.time[number] + shift
    places = [find_place(prepared.stretches, starts, t, rate) for t in times]
    # a kernel and an integration to either side, less where a stretch ends sooner
    begin = max(-reach, *(-place.sample for place in places))
    begin = min(begin, *(place.size - 2 * reach - place.sample for place in places))
    if any(place.sample + begin < 0 for place in places):
        raise ValueError(
            f"the strain around GPS {injections.time[number]} is shorter than "
            f"{2 * reach / rate} s: make the injections from the same strain index and fold"
        )
    values = np.stack(
        [
            place.values[j, place.sample + begin : place.sample + begin + 2 * reach]
            for j, place in enumerate(places)
        ]
    )
    taps = np.stack([place.taps[j] for j, place in enumerate(places)])
    response = torch.from_numpy(responses[number])
    signal = filter_signals(response[None], torch.from_numpy(taps)[None])[0].numpy()
    # where the signal's first sample falls in the piece
    lead = round(injections.coalescence * rate) - taps.shape[-1] // 2
    start = -lead - begin
    low, high = max(0, start), min(2 * reach, start + signal.shape[-1])
    values[:, low:high] += signal[:, low - start : high - start]
    return Place(values, taps, 0, places[0].time - shift[0] + begin / rate)
