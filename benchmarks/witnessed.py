"""What networks leave of witnessed noise after the same processor time, against a linear filter.

Each training file is trained by the family that it names, its schedule as long as the processor
time allows; validation does not count. Run with the environment of `projects/train`; see
README.md.
"""

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import h5py
import lightning as L
import numpy as np
import torch
import yaml
from cleaning import asd
from train.families.cleaning import Cleaning
from train.witnesses import Witnesses

CALIBRATION = 6
"""Steps by which the time of a step is measured."""


class Stopwatch(L.Callback):
    """Processor time of the steps, their batches included, and what the last validation found.

    Attributes:
        spent: Processor time [s].
        found: Measures by name.
    """

    def __init__(self) -> None:
        self.spent, self.begun = 0.0, 0.0
        self.found: dict[str, float] = {}

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start."""
        self.begun = time.process_time()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop."""
        self.spent += time.process_time() - self.begun

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop while validating."""
        self.spent += time.process_time() - self.begun

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the measures; go on."""
        self.found = pl_module.measures()
        self.begun = time.process_time()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path, help="folder of a cleaning experiment")
    parser.add_argument("witnesses", type=Path, help="file of `deepclean collect`")
    parser.add_argument("configs", type=Path, nargs="+", help="training files")
    parser.add_argument("--truth", type=Path, help="truth of `deepclean simulate`")
    parser.add_argument("--cpu-seconds", type=float, default=60.0, help="of training, each")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = Witnesses(arguments.experiment, arguments.witnesses)
    if arguments.truth:
        print(f"{'optimum':58s} {optimum(data, arguments.truth):.4f}", flush=True)
    linear = None
    for path in arguments.configs:
        content = yaml.safe_load(path.read_text())
        found, steps, spent = train(arguments, content)
        if linear is None:
            linear = found["valid_wiener"]
            print(f"{'linear filter, 0.25 s to either side':58s} {linear:.4f}")
        name = f"{path.name}: {content['model']['init_args']['architecture']}"
        print(
            f"{name:58s} {found['valid_asd_ratio']:.4f}   outside {found['valid_outside']:.4f}   "
            f"{steps} steps in {spent:.0f} s",
            flush=True,
        )


def optimum(data: Witnesses, folder: Path) -> float:
    """Mean in-band ratio that taking off the true noise leaves in the validation span."""
    start, stop = data.settings.split, data.gps_stop - 1
    parts = []
    for path in sorted(folder.glob("truth-*.hdf5"), key=lambda p: int(p.stem.split("-")[1])):
        with h5py.File(path) as file:
            first, last = int(file.attrs["gps_start"]), int(file.attrs["gps_stop"])
            if first < stop and last > start:
                rate = int(file.attrs["sample_rate"])
                begin, end = max(first, start) - first, min(last, stop) - first
                parts.append(file["background"][begin * rate : end * rate])
    place = slice(
        (start - data.gps_start) * data.raw_rate, (stop - data.gps_start) * data.raw_rate
    )
    frequency, raw = asd(data.raw[place], data.raw_rate, average="mean")
    _, left = asd(np.concatenate(parts), data.raw_rate, average="mean")
    ratios = []
    for low, high in data.settings.training_layer.bands:
        inside = (frequency >= low) & (frequency < high)
        ratios.append(float((left / raw)[inside].mean()))
    return float(np.mean(ratios))


def train(
    arguments: argparse.Namespace, content: dict[str, Any]
) -> tuple[dict[str, float], int, float]:
    """Train as a file says, for some processor time.

    Returns:
        What the last validation found, steps, and the processor time that they took [s].
    """
    batches = content["data"]["init_args"]["batches_per_epoch"]
    step = fit(arguments, content, 1, CALIBRATION, 2).spent / CALIBRATION
    epochs = max(1, round(arguments.cpu_seconds / step / batches))
    # one validation, after the last step
    watch = fit(arguments, content, epochs, batches, epochs)
    return watch.found, epochs * batches, watch.spent


def fit(
    arguments: argparse.Namespace, content: dict[str, Any], epochs: int, batches: int, every: int
) -> Stopwatch:
    """Train for some epochs of some batches; validate after every so many epochs."""
    size = content["data"]["init_args"]["batch_size"]
    data = Witnesses(arguments.experiment, arguments.witnesses, size, batches)
    module = Cleaning(arguments.experiment, **content["model"]["init_args"])
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            default_root_dir=folder,
            max_epochs=epochs,
            accelerator="cpu",
            gradient_clip_val=content["trainer"].get("gradient_clip_val"),
            check_val_every_n_epoch=every,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[watch],
        )
        trainer.fit(module, data)
    return watch


if __name__ == "__main__":
    main()
