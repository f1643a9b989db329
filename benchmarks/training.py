"""Training steps of every architecture in kernels per second, against the GroupNorm ResNet-34.

Run with the environment of `projects/train`; see README.md.
"""

import argparse
import time
from pathlib import Path

import torch
from architectures.registry import family_of, names
from train.data import Data
from train.families import Autoencoder, Supervised

REFERENCE = "ResNet"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, help="folder of a finished search")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each architecture")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--architectures", nargs="*", help="all that score kernels by default")
    arguments = parser.parse_args()
    folder = arguments.version
    experiment = folder / "stages/TrainLocal-0/experiment.yaml"
    data = Data(
        experiment,
        folder / "strain/index.hdf5",
        folder / "training-waveforms.hdf5",
        folder / "validation-0.hdf5",
        batch_size=arguments.batch,
    )
    data.trainer = None
    data.setup("fit")
    chosen = arguments.architectures or [*names("supervised"), *names("autoencoder")]
    rates = {name: measure(name, experiment, data, arguments.seconds) for name in chosen}
    if REFERENCE in rates:
        for name, rate in rates.items():
            print(f"{name:18s} {rate / rates[REFERENCE]:6.2f} times {REFERENCE}-34")


def measure(name: str, experiment: Path, data: Data, seconds: float) -> float:
    """Kernels per second of one architecture, batches made anew for each step."""
    family = Autoencoder if family_of(name) == "autoencoder" else Supervised
    detector = family(experiment, architecture=name).to(data.background.values.device).train()
    optimizer = torch.optim.AdamW(detector.parameters())
    steps, making, begun = -1, 0.0, time.perf_counter()
    while steps < 1 or time.perf_counter() - begun < seconds:
        if steps == 0:  # the first step is for warming up
            making, begun = 0.0, time.perf_counter()
        start = time.perf_counter()
        batch = data.make_batch(steps + 1)
        making += time.perf_counter() - start
        optimizer.zero_grad()
        detector.loss(batch).backward()
        optimizer.step()
        steps += 1
    total = time.perf_counter() - begun
    rate = steps * data.batch_size / total
    size = sum(p.numel() for p in detector.parameters())
    print(
        f"{name:18s} {rate:7.0f} kernels per s, {making / total:5.1%} of the time makes batches, "
        f"{size} parameters"
    )
    return rate


if __name__ == "__main__":
    main()
