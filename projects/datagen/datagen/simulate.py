"""Simulated strain."""

from pathlib import Path

from ledger import StrainSegment
from runtime import Experiment, load_experiment, make_provenance, progress
from runtime.experiment import SimulatedStrain

from datagen.noise import ColouredNoise
from datagen.noise_curves import noise_asd


def simulated_strain(experiment: Experiment) -> SimulatedStrain:
    """The settings of an experiment on simulated strain.

    Raises:
        ValueError: The experiment imports its strain.
    """
    if not isinstance(experiment.strain, SimulatedStrain):
        raise ValueError(
            f"{experiment.source} has strain.source: {experiment.strain.source}, expected "
            "simulate: use `datagen import` for it"
        )
    return experiment.strain


def simulate_strain(experiment: str | Path, branch: int, output: str | Path) -> None:
    """Simulate one strain file.

    The noise is stationary and Gaussian, of the ASD of each detector's noise curve; nothing is
    in it below 10 Hz. Neighbouring files join without a seam.

    Args:
        experiment: Experiment file or its folder.
        branch: Index among `experiment.strain.files()`.
        output: File to write.

    Raises:
        ValueError: No such branch, no such noise curve, or the strain is not simulated.
    """
    settings = load_experiment(experiment)
    strain_settings = simulated_strain(settings)
    files = strain_settings.files()
    if not 0 <= branch < len(files):
        raise ValueError(
            f"no branch {branch}: {settings.source} has strain files 0 to {len(files) - 1}"
        )
    role, gps_start, gps_stop = files[branch]
    folder = Path(settings.source).parent
    frequency = ColouredNoise.frequencies(settings.sample_rate)
    strain = {}
    for ifo in progress(settings.ifos, f"noise of {role} [{gps_start}, {gps_stop})", unit="ifo"):
        asd = noise_asd(strain_settings.noise_curves[ifo], folder, frequency)
        noise = ColouredNoise(asd, settings.sample_rate, settings.seed, ifo)
        strain[ifo] = noise.strain(gps_start, gps_stop)
    segment = StrainSegment(strain=strain, gps_start=gps_start, sample_rate=settings.sample_rate)
    segment.write(output, make_provenance("datagen simulate", settings, seed=settings.seed))
