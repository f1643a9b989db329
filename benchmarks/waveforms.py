"""Time-domain waveforms per second: ml4gw in batches against lalsimulation one by one.

Run with the environment of `projects/datagen`; see README.md.
"""

import argparse
import time

import lal
import lalsimulation
import numpy as np
import priors
import torch
from runtime import generator_for
from runtime.experiment import Waveforms
from waveforms.ml4gw_model import SignalModel, best_device

RATE = 2048.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=512)
    arguments = parser.parse_args()
    for approximant in ("IMRPhenomD", "IMRPhenomPv2"):
        settings = Waveforms(
            approximant=approximant,
            prior="end_o3_ratesandpops",
            redshift_max=1.0,
            duration=8.0,
            right_pad=1.0,
            minimum_frequency=20.0,
            reference_frequency=50.0,
            num_training=arguments.count,
        )
        population = priors.population(settings.prior, settings.redshift_max)
        sources = population.sample(arguments.count, generator_for(1, "benchmark"))
        model = SignalModel(settings, RATE, best_device())
        for _ in model.batches({k: v[:64] for k, v in sources.items()}):
            pass
        begun = time.perf_counter()
        for _ in model.batches(sources):
            pass
        batched = arguments.count / (time.perf_counter() - begun)
        count = min(64, arguments.count)
        begun = time.perf_counter()
        for i in range(count):
            one_by_one({k: float(v[i]) for k, v in sources.items()}, approximant)
        single = count / (time.perf_counter() - begun)
        print(
            f"{approximant:13s} ml4gw {batched:6.0f} per s ({torch.get_num_threads()} threads, "
            f"{best_device()}), lalsimulation {single:6.0f} per s (one core): "
            f"{batched / single:.1f} times"
        )


def one_by_one(source: dict[str, float], approximant: str) -> None:
    """One time-domain waveform from lalsimulation."""
    lalsimulation.SimInspiralTD(
        source["mass_1_detector"] * lal.MSUN_SI,
        source["mass_2_detector"] * lal.MSUN_SI,
        0.0,
        0.0,
        source["a_1"] * np.cos(source["tilt_1"]),
        0.0,
        0.0,
        source["a_2"] * np.cos(source["tilt_2"]),
        source["luminosity_distance"] * 1e6 * lal.PC_SI,
        source["theta_jn"],
        source["phase"],
        0.0,
        0.0,
        0.0,
        1 / RATE,
        20.0,
        50.0,
        lal.CreateDict(),
        lalsimulation.GetApproximantFromString(approximant),
    )


if __name__ == "__main__":
    main()
