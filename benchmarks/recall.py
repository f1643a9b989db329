"""What a network finds after equal time: the default streaming one, and the GroupNorm ResNet-34.

Both are trained by the stage's own trainer on the same data, and measured on the same time slides
and injections. Time is that of the process, so other work on the machine does not count; on a GPU
it is wall time. What validation takes is not counted, nor is the first step, in which compilers
work. Each network takes as many steps as fit, found by a few before, and its learning rate and
its loudest signals fall over those. Run with the environment of `projects/train`; see README.md.
"""

import argparse
import logging
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from train.data import Data
from train.families import Supervised
from train.signals import SnrDistribution
from train.validation import ValidationOutcome

ON_GPU = torch.cuda.is_available()
CLOCK = time.perf_counter if ON_GPU else time.process_time
UNIT = "s on the GPU" if ON_GPU else "CPU s"
MEASURE = "valid_recall_hour"


@dataclass(frozen=True)
class Entrant:
    """A way to train.

    Attributes:
        label: Name in the tables.
        learning_rate: Largest learning rate.
        model: Further settings of the family.
        precision: That of the trainer.
    """

    label: str
    learning_rate: float
    model: dict[str, Any] = field(default_factory=dict)
    precision: str = "32-true"


class Stopwatch(L.Callback):
    """Counts the time of the training alone, and keeps what each validation finds."""

    def __init__(self) -> None:
        self.spent, self.steps = 0.0, 0
        self.curve: list[tuple[float, dict[str, float]]] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Add the time since the end of the step before, in which the batch was made, too."""
        now = CLOCK()
        if self.steps:
            self.spent += now - self.mark
        self.mark = now
        self.steps += 1

    def on_validation_end(self, *_: Any) -> None:
        """Begin anew, so that the validation does not count."""
        self.mark = CLOCK()

    def on_validation_score(
        self, trainer: L.Trainer, module: L.LightningModule, outcome: ValidationOutcome
    ) -> None:
        """Keep the figures."""
        self.curve.append((self.spent, outcome.measures))


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, help="folder of a finished search")
    parser.add_argument("--cpu-seconds", type=float, default=600.0, help="for each training")
    parser.add_argument("--variants", action="store_true", help="half precision and compilation")
    parser.add_argument("--validations", type=int, default=4, help="in each training")
    parser.add_argument("--livetime", type=float, default=7400.0, help="of a validation [s]")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("high")
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    default = Entrant("TwoTower", 3e-3)
    others = [Entrant("ResNet-34", 1e-3, {"architecture": "ResNet"})]
    if arguments.variants:
        others = [
            Entrant("bf16-mixed", 3e-3, precision="bf16-mixed"),
            Entrant("compiled", 3e-3, {"compile": True}),
        ]
    results = {entrant.label: train(entrant, arguments) for entrant in (default, *others)}
    print(f"\n{'':12s}{UNIT:>14s}{'kernels':>12s}{'recall at 1/hour':>18s}{'valid AUROC':>14s}")
    for label, (watch, kernels) in results.items():
        found = watch.curve[-1][1]
        print(
            f"{label:12s}{watch.spent:14.0f}{kernels:12d}{found[MEASURE]:18.3f}"
            f"{found['valid_auroc']:14.4f}"
        )
    print(
        f"{found['valid_num_injections']:.0f} injections, {found['valid_livetime_s']:.0f} s of "
        "background in each"
    )


def train(entrant: Entrant, arguments: argparse.Namespace) -> tuple[Stopwatch, int]:
    """Train once, and print the figures of each validation.

    Returns:
        What was measured, and the number of kernels trained on.
    """
    folder = arguments.version
    experiment = folder / "stages/TrainLocal-0/experiment.yaml"

    def prepare(steps: int) -> tuple[Supervised, Data]:
        """The family, and data for so many steps."""
        data = Data(
            experiment,
            folder / "strain/index.hdf5",
            folder / "training-waveforms.hdf5",
            folder / "validation-0.hdf5",
            batch_size=arguments.batch,
            batches_per_epoch=steps // arguments.validations,
            snr=SnrDistribution(start=14.0, start_steps=steps // 4),
            validation_livetime=arguments.livetime,
        )
        model = {"learning_rate": entrant.learning_rate, "weight_decay": 0.01, **entrant.model}
        return Supervised(experiment, **model), data

    steps = int(arguments.cpu_seconds / seconds_per_step(entrant, *prepare(10**6)))
    steps = max(1, steps // arguments.validations) * arguments.validations
    module, data = prepare(steps)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch:
        trainer = make_trainer(entrant, scratch, watch, max_epochs=arguments.validations)
        trainer.fit(module, data)
    for spent, found in watch.curve:
        print(
            f"{entrant.label:12s} after {spent:6.0f} {UNIT}: recall at 1/hour {found[MEASURE]:.3f}"
            f", valid AUROC {found['valid_auroc']:.4f}",
            flush=True,
        )
    return watch, steps * arguments.batch


def seconds_per_step(entrant: Entrant, module: Supervised, data: Data, steps: int = 4) -> float:
    """Time of a step, the mean of a few after a first one [s]."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch:
        options = {"max_steps": steps + 1, "limit_val_batches": 0}
        make_trainer(entrant, scratch, watch, **options).fit(module, data)
    return watch.spent / steps


def make_trainer(entrant: Entrant, scratch: str, watch: Stopwatch, **options: Any) -> L.Trainer:
    """A trainer as the command line makes it, which keeps nothing."""
    return L.Trainer(
        precision=entrant.precision,
        gradient_clip_val=1.0,
        callbacks=[watch],
        default_root_dir=scratch,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


if __name__ == "__main__":
    main()
