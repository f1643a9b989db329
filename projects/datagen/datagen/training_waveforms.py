"""Signals to train on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import priors
from ledger import WaveformSet
from runtime import (
    Experiment,
    generator_for,
    load_experiment,
    make_provenance,
    progress,
)
from waveforms import SignalModel, signal_model

from datagen.merging import joined, read_parts

log = logging.getLogger("datagen")

# Signals drawn from one generator; branches take whole blocks.
BLOCK_SIZE = 1000


class SeenSources:
    """Sources drawn from a population times a power of the detector-frame chirp mass.

    By rejection; see Finn & Chernoff, Phys. Rev. D 47, 2198 (1993), equation 3.33: the reach of a
    detector goes with the chirp mass to the power 5/6.

    Args:
        population: The population.
        exponent: The power; 0 for the population itself, 2.5 for what is seen at a fixed SNR.
        generator: Random numbers, to find the largest weight.
    """

    def __init__(
        self, population: priors.Population, exponent: float, generator: np.random.Generator
    ) -> None:
        self.population, self.exponent = population, exponent
        if exponent and population.kind != "binary":
            raise ValueError(
                f"waveforms.chirp_mass_exponent is {exponent}, but {population.name} has no "
                "masses: set it to 0"
            )
        # the largest weight, from a sample of its own; few draws exceed it, and those are kept
        self.top = 0.0
        if exponent:
            self.top = float(np.max(chirp_mass(population.sample(100_000, generator))))

    def draw(self, count: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
        """Draw sources.

        Args:
            count: How many.
            generator: Random numbers.

        Returns:
            Parameters by name, of shape (source,).
        """
        drawn: dict[str, list[np.ndarray]] = {}
        missing = count
        while missing > 0:
            sources = self.population.sample(20 * missing if self.exponent else missing, generator)
            kept = np.arange(len(sources["ra"]))
            if self.exponent:
                weight = (chirp_mass(sources) / self.top) ** self.exponent
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


def make_training_waveforms(
    experiment: str | Path, output: str | Path, branch: int = 0, branches: int = 1
) -> None:
    """Draw sources from the experiment's population and make their polarizations, or a part.

    Position, orientation and distance are drawn too, though training may replace them. With
    `waveforms.storage: parameters` only the sources are kept. The parts of all branches joined
    are the same bytes for any number of branches.

    Args:
        experiment: Experiment file or its folder.
        output: File to write.
        branch: Which part.
        branches: How many parts there are.

    Raises:
        ValueError: No such population or branch.
    """
    settings = load_experiment(experiment)
    signals = settings.waveforms
    population = priors.load_population(
        signals.prior, signals.redshift_max, Path(settings.source).parent
    )
    seen = SeenSources(
        population,
        signals.chirp_mass_exponent,
        generator_for(settings.seed, "training-waveforms", "weight"),
    )
    blocks = range(-(-signals.num_training // BLOCK_SIZE))
    if not 0 <= branch < branches <= len(blocks):
        raise ValueError(
            f"no branch {branch} of {branches}: {signals.num_training} signals are "
            f"{len(blocks)} blocks of {BLOCK_SIZE}, which is the most branches there can be"
        )
    mine = [block for block in blocks if block * branches // len(blocks) == branch]
    model = signal_model(signals, settings.sample_rate)
    parts = []
    for block in progress(mine, f"training waveforms, {BLOCK_SIZE} each", unit="block"):
        count = min(BLOCK_SIZE, signals.num_training - block * BLOCK_SIZE)
        generator = generator_for(settings.seed, "training-waveforms", block)
        parts.append(_make_block(settings, seen, model, count, generator))
    waveforms = joined_waveforms(parts)
    waveforms.write(
        output, make_provenance("datagen training-waveforms", settings, seed=settings.seed)
    )
    _report(waveforms)


def merge_training_waveforms(
    experiment: str | Path, parts: Sequence[Path], output: str | Path
) -> None:
    """Join the parts that the branches of `make_training_waveforms` made.

    Args:
        experiment: Experiment file or its folder.
        parts: The parts, in the order of their branches.
        output: File to write: the same bytes as one branch alone makes.

    Raises:
        ledger.ProductError: A part is broken or of other settings than the experiment.
        ValueError: The parts together are not as many signals as the experiment asks for.
    """
    settings = load_experiment(experiment)
    sets, provenance = read_parts(settings, parts, WaveformSet)
    waveforms = joined_waveforms(sets)
    found = len(waveforms.parameters["ra"])
    if found != settings.waveforms.num_training:
        raise ValueError(
            f"{len(parts)} parts hold {found} signals, expected waveforms.num_training, "
            f"{settings.waveforms.num_training}: give each part once"
        )
    waveforms.write(output, provenance)
    _report(waveforms)


def joined_waveforms(parts: Sequence[WaveformSet]) -> WaveformSet:
    """One set of all parts; the failed draws are counted together."""
    num_failed = sum(part.num_failed for part in parts)
    return replace(joined([replace(part, num_failed=0) for part in parts]), num_failed=num_failed)


def _make_block(
    experiment: Experiment,
    seen: SeenSources,
    model: SignalModel,
    count: int,
    generator: np.random.Generator,
) -> WaveformSet:
    """One block; what fails is replaced by further draws of its generator."""
    sources = seen.draw(count, generator)
    size = model.size if experiment.waveforms.storage == "waveforms" else 0
    plus = np.zeros((count if size else 0, model.size), dtype=np.float32)
    cross = np.zeros_like(plus)
    missing = np.arange(count if size else 0)
    num_failed = 0
    while len(missing):
        rows = {name: values[missing] for name, values in sources.items()}
        for batch in model.batches(rows):
            plus[missing[batch.index]] = batch.plus.cpu().numpy()
            cross[missing[batch.index]] = batch.cross.cpu().numpy()
        failed = [failure.index for failure in model.failures]
        missing = missing[np.array(failed, dtype=np.int64)]
        num_failed += len(missing)
        for name, values in seen.draw(len(missing), generator).items():
            sources[name][missing] = values
    return WaveformSet(
        sample_rate=experiment.sample_rate,
        coalescence=model.coalescence,
        num_failed=num_failed,
        parameters=sources,
        plus=plus,
        cross=cross,
    )


def _report(waveforms: WaveformSet) -> None:
    """Log how many signals there are, and how many failed."""
    count = len(waveforms.parameters["ra"])
    log.info("%d signals to train on", count)
    if waveforms.num_failed:
        log.warning(
            "%d draws gave no physical waveform and were drawn again", waveforms.num_failed
        )
