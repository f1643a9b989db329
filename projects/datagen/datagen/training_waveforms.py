"""Signals to train on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import priors
from ledger import WaveformSet
from runtime import generator_for, load_experiment, make_provenance, progress

from datagen.waveforms import SignalModel, best_device


def make_training_waveforms(experiment: str | Path, output: str | Path) -> None:
    """Draw sources from the experiment's population and make their polarizations.

    Position, orientation and distance are drawn too, though training may replace them.

    Args:
        experiment: Experiment file or its folder.
        output: File to write.

    Raises:
        ValueError: No such population.
    """
    settings = load_experiment(experiment)
    signals = settings.waveforms
    population = priors.population(signals.prior, signals.redshift_max)
    count = signals.num_training
    sources = population.sample(count, generator_for(settings.seed, "training-waveforms"))
    model = SignalModel(signals, settings.sample_rate, best_device())
    plus = np.zeros((count, model.size), dtype=np.float32)
    cross = np.zeros_like(plus)

    def signals_made() -> Iterator[int]:
        for chosen, h_plus, h_cross in model.batches(sources):
            plus[chosen] = h_plus.cpu().numpy()
            cross[chosen] = h_cross.cpu().numpy()
            yield from chosen

    for _ in progress(signals_made(), "training waveforms", total=count, unit="waveform"):
        pass
    waveforms = WaveformSet(
        sample_rate=settings.sample_rate,
        coalescence=model.coalescence,
        parameters=sources,
        plus=plus,
        cross=cross,
    )
    provenance = make_provenance("datagen training-waveforms", settings, seed=settings.seed)
    waveforms.write(output, provenance)
