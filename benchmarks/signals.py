"""Time-domain signals per second: ml4gw in batches against lalsimulation in a pool of processes.

Both make the same thing: conditioned polarizations of the same sources, placed in arrays of one
length, with unphysical ones sifted out.

Run with the environment of `projects/datagen`; see README.md.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import priors
import torch
from runtime import generator_for
from runtime.experiment import Waveforms
from waveforms import SignalModel, Sources, signal_model
from waveforms.threads import num_cores

RATE = 2048.0
# Signals made first, once to warm up and once to find how many a measurement takes
TRIAL_SIZES = {"cpu": 32, "cuda": 1024}
NEUTRON_STAR_MASS = 1.4


@dataclass(frozen=True)
class Case:
    """What is made.

    Attributes:
        approximant: Its name.
        generators: Who can make it.
        duration: Length of the array [s].
        minimum_frequency: Where signals begin [Hz].
        neutron_stars: Whether all masses are 1.4 Msun in the detector frame, without spins.
    """

    approximant: str
    generators: tuple[str, ...] = ("lalsimulation", "ml4gw")
    duration: float = 8.0
    minimum_frequency: float = 20.0
    neutron_stars: bool = False


CASES = (
    Case("IMRPhenomD"),
    Case("IMRPhenomPv2"),
    # 54 s from 30 Hz on
    Case("TaylorF2", duration=64.0, minimum_frequency=30.0, neutron_stars=True),
    Case("IMRPhenomXPHM", ("lalsimulation",)),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    arguments = parser.parse_args()
    cores = num_cores()
    gpu = torch.cuda.is_available()
    print(f"{cores} cores, " + (torch.cuda.get_device_name() if gpu else "no GPU"))
    print(f"{'':14s}{'':14s}{'':5s}{'signals/s':>10s}{'per core':>10s}{'ratio':>7s}")
    for case in CASES:
        places = [(generator, "cpu") for generator in case.generators]
        if gpu and "ml4gw" in case.generators:
            places.append(("ml4gw", "cuda"))
        reference = None
        for generator, device in places:
            model = signal_model(settings(case, generator), RATE, device)
            found = signals_per_second(model, case, TRIAL_SIZES[device], arguments.seconds)
            reference = reference or found
            each = f"{found / cores:10.1f}" if device == "cpu" else f"{'':10s}"
            print(
                f"{case.approximant:14s}{generator:14s}{device:5s}{found:10.1f}{each}"
                f"{found / reference:7.1f}"
            )


def settings(case: Case, generator: str) -> Waveforms:
    """The `waveforms` of an experiment."""
    return Waveforms.model_validate(
        {
            "approximant": case.approximant,
            "generator": generator,
            "prior": "end_o3_ratesandpops",
            "redshift_max": 1.0,
            "duration": case.duration,
            "right_pad": 1.0,
            "minimum_frequency": case.minimum_frequency,
            "reference_frequency": 50.0,
            "num_training": 1,
        }
    )


def draw(case: Case, count: int) -> Sources:
    """Sources, the same for all generators."""
    name = "nonspin_bbh" if case.neutron_stars else "end_o3_ratesandpops"
    sources = priors.population(name, 1.0).sample(count, generator_for(1, "benchmark"))
    if case.neutron_stars:
        mass = np.full(count, NEUTRON_STAR_MASS)
        sources |= {"mass_1_detector": mass, "mass_2_detector": mass}
    return sources


def signals_per_second(model: SignalModel, case: Case, trial_size: int, seconds: float) -> float:
    """Signals per second over about so many seconds."""
    trial = draw(case, trial_size)
    speed(model, trial)
    count = max(trial_size, round(seconds * speed(model, trial)))
    return speed(model, draw(case, count))


def speed(model: SignalModel, sources: Sources) -> float:
    """Signals per second, of those that could be made."""
    begun = time.perf_counter()
    count = sum(len(batch.index) for batch in model.batches(sources))
    return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
