"""Sentences on what a reader of one fold's numbers must know."""

import numpy as np
from ledger import StrainIndex
from runtime import Experiment

from evaluate.inputs import FoldResult
from evaluate.rates import YEAR
from evaluate.repeats import Repeats, repeat_notes


def fold_notes(
    result: FoldResult, index: StrainIndex, experiment: Experiment, repeats: Repeats
) -> list[str]:
    """What limits the numbers of a fold.

    Args:
        result: Results of the fold.
        index: The strain index.
        experiment: The experiment.
        repeats: What its loudest background events have in common.
    """
    notes = []
    livetime = result.background.livetime
    for far in experiment.evaluation.false_alarm_rates:
        if livetime / YEAR < 1 / far:
            notes.append(
                f"A false-alarm rate of {far:g} per year is not supported: it is less than one "
                f"event in the background livetime of {livetime / 86400:.4g} d, which reaches "
                f"{YEAR / livetime:.4g} per year."
            )
    times = np.asarray(result.background.time)
    inside = np.zeros(len(times), dtype=bool)
    for start, stop in np.asarray(index.known_window).reshape(-1, 2):
        inside |= ((start <= times) & (times < stop)).any(axis=1)
    if inside.any():
        notes.append(
            f"{np.count_nonzero(inside)} background events lie in the window of a known event in "
            "one of the detectors: false-alarm rates are too large if a signal is among them."
        )
    window = experiment.kernel_length + experiment.search.integration_length
    notes += repeat_notes(repeats, experiment.search.slide_step, window)
    when = result.injections.injection_time
    analysed = np.zeros(len(when), dtype=bool)
    for start, stop in np.asarray(result.zero_lag.analysed):
        analysed |= (start <= when) & (when < stop)
    if not analysed.all():
        notes.append(
            f"{np.count_nonzero(~analysed)} of {len(when)} accepted injections lie outside the "
            "analysed time and count as missed if they were: the sensitive volume is too small "
            "by as much."
        )
    return notes
