"""What is shown of some injections."""

from __future__ import annotations

import numpy as np
import torch
from ledger import EventSet, InjectionSet, RecoveredInjections
from ledger.injections import InjectionDetails
from preprocessing import filter_signals
from runtime import Experiment
from waveforms import Responses, injection_responses

from infer.found import YEAR
from infer.prepared import Prepared
from infer.recovery import Place, find_place

# Of the loudest found, of the quietest found, and of the loudest missed
NUM_EACH = 10


def choose_injections(
    found: RecoveredInjections, background: EventSet, experiment: Experiment
) -> np.ndarray:
    """The injections to show: the loudest and the quietest that are found, the loudest missed.

    An injection is found at the largest of `evaluation.false_alarm_rates`, within the cluster
    length of its time. With no rate that the background supports, it is found above all of it.

    Args:
        found: What the search gave for all injections.
        background: Events of the time slides.
        experiment: The experiment.

    Returns:
        Their indices, ascending.
    """
    loud_first = -np.sort(-np.asarray(background.statistic))
    far = max(experiment.evaluation.false_alarm_rates, default=0.0)
    allowed = min(max(int(far * background.livetime / YEAR), 1), len(loud_first))
    threshold = loud_first[allowed - 1] if allowed else -np.inf
    near = np.abs(found.time - found.injection_time) <= experiment.search.cluster_length
    is_found = near & (found.statistic >= threshold)
    seen = np.flatnonzero(is_found)
    seen = seen[np.argsort(-found.statistic[seen], kind="stable")]
    missed = np.flatnonzero(~is_found)
    missed = missed[np.argsort(-found.snr[missed], kind="stable")]
    return np.unique(
        np.concatenate([seen[:NUM_EACH], seen[-NUM_EACH:], missed[:NUM_EACH]]).astype(np.int32)
    )


def find_injection_details(
    prepared: Prepared,
    injections: InjectionSet,
    found: RecoveredInjections,
    background: EventSet,
) -> InjectionDetails:
    """Whitened strain, signal and scores around some injections.

    The strain reaches one kernel plus integration to either side of the coalescence, the scores
    begin as much before it. Injections that have less strain around them are left out.

    Args:
        prepared: The strain of the fold.
        injections: All injections into it.
        found: What the search gave for them, in the same order.
        background: Events of the time slides.

    Raises:
        ValueError: An injection lies outside the strain.
    """
    experiment = prepared.session.experiment
    rate = experiment.sample_rate
    reach = round((experiment.kernel_length + experiment.search.integration_length) * rate)
    responses = injection_responses(injections, experiment.waveforms)
    searcher = prepared.searcher()
    starts = np.array([stretch.gps_start for stretch in prepared.stretches])
    shown: list[int] = []
    whitened, signals, scores = [], [], []
    for row in choose_injections(found, background, experiment):
        times = injections.time[row] + injections.shift[row]
        places = [find_place(prepared.stretches, starts, time, rate) for time in times]
        if any(p.sample < 2 * reach or p.size < p.sample + reach for p in places):
            continue
        taps = np.stack([place.taps[i] for i, place in enumerate(places)])
        signal = _signal(injections, responses, int(row), taps, reach)
        values = _strain(places, reach) + signal
        evidence = searcher.scorer.evidence_of(values[None], taps[None])
        shown.append(int(row))
        whitened.append(values[:, reach:])
        signals.append(signal[:, reach:])
        scores.append(searcher.statistic(evidence)[0])
        for stretch in prepared.stretches:
            stretch.release()
    shape = (len(shown), len(experiment.ifos), 2 * reach)
    return InjectionDetails(
        ifos=experiment.ifos,
        fold=prepared.fold,
        sample_rate=rate,
        score_rate=float(experiment.search.scores_per_second),
        score_start=searcher.seen_length - 2 * reach / rate,
        injection=np.array(shown, dtype=np.int32),
        time=injections.time[shown],
        whitened=np.array(whitened, dtype=np.float32).reshape(shape),
        signal=np.array(signals, dtype=np.float32).reshape(shape),
        score=np.array(scores, dtype=np.float32).reshape(len(shown), -1 if shown else 0),
    )


def _strain(places: list[Place], reach: int) -> np.ndarray:
    """Whitened strain from twice the reach before a signal to the reach after it."""
    return np.stack(
        [
            place.values[i, place.sample - 2 * reach : place.sample + reach]
            for i, place in enumerate(places)
        ]
    )


def _signal(
    injections: InjectionSet, responses: Responses, row: int, taps: np.ndarray, reach: int
) -> np.ndarray:
    """The whitened signal where the strain is, zero where there is none of it."""
    response = torch.from_numpy(responses[row])
    whitened = filter_signals(response[None], torch.from_numpy(taps)[None])[0].numpy()
    # the first sample of the whitened signal lies half a filter after that of the response
    first = 2 * reach - round(injections.coalescence * injections.sample_rate)
    first += taps.shape[-1] // 2
    signal = np.zeros((len(whitened), 3 * reach), dtype=np.float32)
    low, high = max(0, first), min(3 * reach, first + whitened.shape[-1])
    signal[:, low:high] = whitened[:, low - first : high - first]
    return signal
