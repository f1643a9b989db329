"""Training steps of every architecture in kernels per second, against the GroupNorm ResNet-34.

Time is that of the process, so other work on the machine does not count; on a GPU it is wall time.
Batches are made in the process that trains: the share of its time that this takes is the wait for
data. Run with the environment of `projects/train`; see README.md.
"""

import argparse
import time
from pathlib import Path

import torch
from architectures.registry import family_of, names
from train.data import Data
from train.families import Autoencoder, Supervised

REFERENCE = "ResNet"
CLOCK = time.perf_counter if torch.cuda.is_available() else time.process_time


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, help="folder of a finished search")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each architecture")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--architectures", nargs="*", help="all that score kernels by default")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("high")
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
    steps, making, begun = -1, 0.0, CLOCK()
    while steps < 1 or CLOCK() - begun < seconds:
        if steps == 0:  # the first step is for warming up
            making, begun = 0.0, CLOCK()
        start = CLOCK()
        batch = data.make_batch(steps + 1)
        making += CLOCK() - start
        optimizer.zero_grad()
        loss = detector.loss(batch)
        loss.backward()
        optimizer.step()
        float(loss.detach())  # waits for a GPU, as the training does
        steps += 1
    total = CLOCK() - begun
    rate = steps * data.batch_size / total
    size = sum(p.numel() for p in detector.parameters())
    print(
        f"{family.__name__:12s} {name:18s} {rate:7.0f} kernels per s, {making / total:5.1%} of "
        f"the time makes batches, {size} parameters",
        flush=True,
    )
    return rate


if __name__ == "__main__":
    main()
