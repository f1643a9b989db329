"""What the search gives for injections."""

import numpy as np
import torch
from ledger import InjectionSet
from preprocessing import filter_signals
from runtime import Experiment, progress
from waveforms import Responses

from infer.searcher import Searcher
from infer.stretches import SearchStretch


def recover(
    injections: InjectionSet,
    responses: Responses,
    stretches: list[SearchStretch],
    searcher: Searcher,
    experiment: Experiment,
) -> tuple[np.ndarray, np.ndarray]:
    """Score each injection in the strain around it.

    The piece of strain reaches one kernel plus integration to either side of the coalescence; its
    loudest integrated score is the injection's statistic. The signal is whitened with the filter
    of the block of its coalescence and added to the whitened strain.

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
    begins: list[float] = []
    first = 0
    starts = np.array([s.gps_start for s in stretches])
    for i in progress(range(len(injections.time)), "injections", unit="injection"):
        owner = stretches[max(0, int(np.searchsorted(starts, injections.time[i], "right")) - 1)]
        values = owner.stretch.values
        size = values.shape[-1]
        centre = round((injections.time[i] - owner.gps_start) * rate)
        if not 0 <= centre < size or size < 2 * reach:
            raise ValueError(
                f"injection at GPS {injections.time[i]} lies outside the searched strain: make "
                "the injections from the same strain index and fold"
            )
        begin = min(max(centre - reach, 0), size - 2 * reach)
        piece = values[:, begin : begin + 2 * reach].clone()
        taps = owner.stretch.taps[owner.stretch.block_of(torch.tensor(centre))]
        response = torch.from_numpy(responses[i])
        signal = filter_signals(response[None], taps[None])[0]
        lead = round(injections.coalescence * rate) - taps.shape[-1] // 2
        # place of the signal's first sample in the piece
        place = centre - lead - begin
        low, high = max(0, place), min(2 * reach, place + signal.shape[-1])
        piece[:, low:high] += signal[:, low - place : high - place]
        pieces.append(piece.numpy())
        begins.append(owner.gps_start + begin / rate)
        if len(pieces) == 64 or i == len(injections.time) - 1:
            evidence = searcher.scorer.evidence_of(np.stack(pieces))
            scores = searcher.statistic(evidence)
            last = first + len(pieces)
            statistic[first:last] = scores.max(axis=1)
            frame = evidence.argmax(axis=1) / searcher.timeline.frame_rate
            time[first:last] = np.array(begins) + frame + searcher.offset
            first, pieces, begins = last, [], []
    return statistic, time
