"""Training steps of the default network and of the GroupNorm ResNet-34, in kernels per second.

Run with the environment of `projects/train`; see README.md.
"""

import argparse
import time
from pathlib import Path

import torch
from train.data import Data
from train.families import Supervised


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, help="folder of a finished search")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
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
    rates = {}
    for name, steps in (("TwoTower", arguments.steps), ("ResNet", max(2, arguments.steps // 8))):
        detector = Supervised(experiment, architecture=name).train()
        optimizer = torch.optim.AdamW(detector.parameters())
        making = total = 0.0
        for step in range(-1, steps):
            begun = time.perf_counter()
            batch = data.make_batch(step + 1)
            made = time.perf_counter()
            optimizer.zero_grad()
            detector.loss(batch).backward()
            optimizer.step()
            if step >= 0:
                making += made - begun
                total += time.perf_counter() - begun
        rates[name] = steps * arguments.batch / total
        print(
            f"{name:9s} {rates[name]:7.0f} kernels per s, {making / total:5.1%} of the time makes "
            f"batches, {sum(p.numel() for p in detector.parameters())} parameters"
        )
    print(f"TwoTower trains {rates['TwoTower'] / rates['ResNet']:.1f} times as fast as ResNet-34")


if __name__ == "__main__":
    main()
