"""Signals to train on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import priors
from ledger import WaveformSet
from runtime import generator_for, load_experiment, make_provenance, progress

from datagen.waveforms import SignalModel, best_device


def seen_sources(
    population: priors.Population, count: int, exponent: float, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw from a population times a power of the detector-frame chirp mass, by rejection.

    Args:
        population: The population.
        count: Number of sources.
        exponent: The power; 0 for the population itself, 2.5 for what is seen at a fixed SNR
            (Finn & Chernoff, Phys. Rev. D 47, 2198 (1993), equation 3.33: the reach goes with
            the chirp mass to the power 5/6).
        generator: Random numbers.

    Returns:
        Parameters by name, of shape (source,).
    """
    drawn: dict[str, list[np.ndarray]] = {}
    missing, top = count, 0.0
    if exponent:
        # the largest weight, from a sample of its own; few draws exceed it, and those are kept
        top = float(np.max(chirp_mass(population.sample(100_000, generator))))
    while missing > 0:
        sources = population.sample(20_000, generator)
        kept = np.arange(len(sources["mass_1_source"]))
        if exponent:
            weight = (chirp_mass(sources) / top) ** exponent
            kept = np.flatnonzero(generator.random(len(weight)) < weight)
        kept = kept[:missing]
        missing -= len(kept)
        for name, values in sources.items():
            drawn.setdefault(name, []).append(values[kept])
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def chirp_mass(sources: dict[str, np.ndarray]) -> np.ndarray:
    """Detector-frame chirp mass [Msun], of shape (source,)."""
    mass_1, mass_2 = sources["mass_1_detector"], sources["mass_2_detector"]
    return (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2


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
    generator = generator_for(settings.seed, "training-waveforms")
    sources = seen_sources(population, count, signals.chirp_mass_exponent, generator)
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
