"""Simulated strain, and the truth about the glitches in it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from ledger import GlitchSet, StrainSegment, staged
from runtime import Experiment, load_experiment, make_provenance, progress, require_same
from runtime.experiment import ImportedStrain, Noise, Role

from datagen.glitches import Glitch, GlitchyNoise, glitches_in
from datagen.noise import ColouredNoise
from datagen.noise_curves import noise_asd

TRUTH_COLUMNS = ("ifo", "time", "snr", "kind", "frequency", "quality", "shape")


def simulation(experiment: Experiment) -> tuple[Noise, list[tuple[Role, float, float]]]:
    """What an experiment simulates.

    Returns:
        The settings of the noise, and role and GPS span of each file.

    Raises:
        ValueError: The experiment imports its strain, or fetches all of it.
    """
    strain = experiment.strain
    if isinstance(strain, ImportedStrain):
        raise ValueError(
            f"{experiment.source} has strain.source: import, expected simulate: use `datagen "
            "import` for it"
        )
    files = strain.simulated_files()
    if strain.noise is None or not files:
        raise ValueError(
            f"{experiment.source} fetches all its strain and simulates none: name roles in "
            "strain.simulated, or use `datagen fetch`"
        )
    return strain.noise, files


def shapes_path(experiment: Experiment, noise: Noise) -> Path | None:
    """File of the glitch shapes of an experiment; None if it uses none."""
    if noise.glitches is None or noise.glitches.shapes is None:
        return None
    return Path(experiment.source).parent / noise.glitches.shapes


def read_shapes(experiment: Experiment, noise: Noise) -> GlitchSet | None:
    """Glitch shapes of an experiment; None if it uses none.

    Raises:
        FileNotFoundError: There is no such file.
        ledger.ProductError: The file is broken, or of another sample rate.
    """
    path = shapes_path(experiment, noise)
    if path is None:
        return None
    shapes = GlitchSet.read(path)
    require_same(path, experiment, ("sample_rate",))
    return shapes


def detector_noise(
    experiment: Experiment, settings: Noise, ifo: str, shapes: GlitchSet | None = None
) -> ColouredNoise | GlitchyNoise:
    """What a detector of an experiment measures: noise, and glitches if there are any.

    Args:
        experiment: The experiment.
        settings: Its noise.
        ifo: Detector.
        shapes: Shapes of the glitches; sine-Gaussians if None.

    Raises:
        ValueError: No such noise curve, or glitches that cannot be.
    """
    folder = Path(experiment.source).parent
    frequency = ColouredNoise.frequencies(experiment.sample_rate)
    noise = ColouredNoise(
        np.array([noise_asd(name, folder, frequency) for name in settings.curves(ifo)]),
        experiment.sample_rate,
        experiment.seed,
        ifo,
        settings.variation_length,
    )
    if settings.glitches is None:
        return noise
    lowpass = experiment.lowpass or experiment.sample_rate / 2
    return GlitchyNoise(noise, settings.glitches, experiment.highpass, lowpass, shapes)


def simulate_strain(experiment: str | Path, branch: int, output: str | Path) -> None:
    """Simulate one strain file.

    The noise is Gaussian, of the ASD of each detector's noise curve, or varies slowly from one of
    its curves to the next; nothing is in it below 10 Hz. Glitches are added where the experiment
    asks for them. Neighbouring files join without a seam.

    Args:
        experiment: Experiment file or its folder.
        branch: Index among `experiment.strain.simulated_files()`.
        output: File to write.

    Raises:
        FileNotFoundError: There is no such file of glitch shapes.
        ValueError: No such branch, no such noise curve, or the strain is not simulated.
        ledger.ProductError: The glitch shapes are broken, or have another sample rate.
    """
    settings = load_experiment(experiment)
    noise, files = simulation(settings)
    if not 0 <= branch < len(files):
        raise ValueError(
            f"no branch {branch}: {settings.source} has strain files 0 to {len(files) - 1}"
        )
    role, gps_start, gps_stop = files[branch]
    shapes = read_shapes(settings, noise)
    strain = {}
    for ifo in progress(settings.ifos, f"noise of {role} [{gps_start}, {gps_stop})", unit="ifo"):
        strain[ifo] = detector_noise(settings, noise, ifo, shapes).strain(gps_start, gps_stop)
    segment = StrainSegment(strain=strain, gps_start=gps_start, sample_rate=settings.sample_rate)
    parent = shapes_path(settings, noise)
    provenance = make_provenance(
        "datagen simulate",
        settings,
        seed=settings.seed,
        parents={} if parent is None else {"glitches": parent},
    )
    segment.write(output, provenance)


def _row(glitch: Glitch) -> list[str]:
    return [str(getattr(glitch, name, "")) for name in TRUTH_COLUMNS]


def list_glitches(experiment: str | Path, output: str | Path) -> None:
    """List the glitches in all simulated files of an experiment.

    Args:
        experiment: Experiment file or its folder.
        output: CSV file to write: `ifo`, `time` of the middle (GPS, s), `snr`, `kind`
            (`sine-gaussian` or `shape`), `frequency` (Hz) and `quality` of a sine-Gaussian, row
            of a `shape` in its file. In time order for each detector; a glitch whose middle lies
            outside all files is not listed.

    Raises:
        FileNotFoundError: There is no such file of glitch shapes.
        ValueError: The strain is not simulated, or without glitches.
        ledger.ProductError: The glitch shapes are broken, or have another sample rate.
    """
    settings = load_experiment(experiment)
    noise, files = simulation(settings)
    if noise.glitches is None:
        raise ValueError(f"{settings.source} simulates no glitches: add strain.glitches to it")
    shapes = read_shapes(settings, noise)
    num_shapes = 0 if shapes is None else len(shapes.shape)
    spans = sorted((start, stop) for _, start, stop in files)
    with staged(output) as partial, partial.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(TRUTH_COLUMNS)
        for ifo in progress(settings.ifos, "glitches", unit="ifo"):
            for start, stop in spans:
                found = glitches_in(noise.glitches, settings.seed, ifo, start, stop, num_shapes)
                table.writerows(_row(glitch) for glitch in found)
