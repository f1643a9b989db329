"""From frames to data that a training learns from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cleaning import (
    BandPass,
    CleaningExperiment,
    Layer,
    NoiseEstimator,
    Problem,
    Recording,
    Resampler,
    Series,
)
from cleaning.cleaner import TAPER_LENGTH
from ledger import WitnessSet

from deepclean.frames import FrameFolder
from deepclean.quality import is_analysed


def collect_witnesses(
    experiment: CleaningExperiment,
    strain: FrameFolder,
    witness: FrameFolder,
    earlier: NoiseEstimator | None = None,
) -> WitnessSet:
    """Strain and witnesses of the training span, at the rates of the cleaned strain and the layer.

    Seconds that are missing, that hold what is not finite, or that the state vector does not call
    analysed are not usable, and zero.

    Args:
        experiment: Names the problem, the layer and the span.
        strain: Strain frames.
        witness: Frames of the witnesses of all layers and, if the problem names one, of the state
            vector.
        earlier: The layers before this one, whose noise is taken off the strain.

    Raises:
        ValueError: No second is usable, or a witness is too slow for the layer.
    """
    problem, layer = experiment.load_problem(), experiment.training_layer
    start, stop = experiment.training.start, experiment.training.stop
    rates = {name: witness.rates[name] for name in problem.witnesses}
    _require_fast(problem, layer, rates)
    # a second more on either side, for the filters
    recording = Recording(
        strain.rates[problem.strain_channel], rates, problem.sample_rate, start - 1
    )
    for second in range(start - 1, stop + 1):
        values, seen = strain.second(second), witness.second(second)
        if seen is not None and not is_analysed(problem, seen):
            seen = None
        taken = None if seen is None else {name: seen[name] for name in rates}
        recording.add(second, None if values is None else values[problem.strain_channel], taken)
    # beside a missing second the filters have seen zeros, and at the ends nothing
    missing = recording.dropped(start - 1, stop + 1)
    missing |= {
        second for second in range(start - 1, stop + 1) if not recording.has_strain(second)
    }
    usable = np.array(
        [not missing & {second - 1, second, second + 1} for second in range(start, stop)]
    )
    if not usable.any():
        raise ValueError(
            f"no usable second in [{start}, {stop}) of {strain.folder} and {witness.folder}: "
            "look at the warnings above, or choose another span"
        )
    seen_all = recording.witnesses(start - 1, stop + 1)
    cleaned = np.nan_to_num(recording.strain(start, stop))
    if earlier is not None:
        cleaned -= earlier(seen_all, start, stop)
    channels = problem.layer_witnesses(layer)
    lowered = np.stack([_at(seen_all[name], layer.sample_rate, start, stop) for name in channels])
    return WitnessSet(
        gps_start=start,
        strain_rate=problem.sample_rate,
        witness_rate=layer.sample_rate,
        strain_channel=problem.strain_channel,
        problem=problem.digest,
        channel=list(channels),
        strain=cleaned * np.repeat(usable, problem.sample_rate),
        witness=(lowered * np.repeat(usable, layer.sample_rate)).astype(np.float32),
        usable=usable.astype(np.int8),
    )


def _require_fast(problem: Problem, layer: Layer, rates: Mapping[str, int]) -> None:
    """Before a network is trained that could not be used: a slow witness has a long filter."""
    rate = layer.sample_rate
    others = (
        BandPass(layer.bands, rate).half_size / rate + Resampler(rate, problem.sample_rate).reach
    )
    slow = [
        f"{name} ({rates[name]} Hz)"
        for name in problem.layer_witnesses(layer)
        if Resampler(rates[name], rate).reach + others + TAPER_LENGTH >= 1
    ]
    if slow:
        raise ValueError(
            f"{', '.join(slow)}: to bring so slow a witness to {rate} Hz takes more than the one "
            "second after a sample that a cleaner waits for; take it out of the problem"
        )


def _at(series: Series, rate: int, start: int, stop: int) -> np.ndarray:
    return Resampler(series.rate, rate)(series).seconds(start, stop).values
