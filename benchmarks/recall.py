"""What networks find after equal time, with error bars: by default TwoTower and ResNet-34.

All are trained by the stage's own trainer on the same data, and measured on the same time slides
and injections. Time is that of the process, so other work on the machine does not count; on a GPU
it is wall time. What validation takes is not counted, nor is the first step, in which compilers
work. A training ends when its time is spent: the learning rate and the smallest SNR of the
signals follow the part of the time that is over, not the number of the step. Each seed has other
weights and other batches. Run with the environment of `projects/train`; see README.md.
"""

import argparse
import itertools
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch
from architectures import names
from train.batch import Batch
from train.data import Data
from train.families import Supervised
from train.figures_of_merit import RATES
from train.signals import SnrDistribution
from train.validation import ValidationOutcome

ON_GPU = torch.cuda.is_available()
CLOCK = time.perf_counter if ON_GPU else time.process_time
UNIT = "s on the GPU" if ON_GPU else "CPU s"
# More steps than any training here takes: the schedules are read off at a part of them.
ALL_STEPS = 10**6
LEARNING_RATES = {"TwoTower": 3e-3, "EarlyFusion": 3e-3}
OTHER_LEARNING_RATE = 1e-3
RECALLS = {f"valid_recall_{name}": f"recall at 1/{name}" for name in RATES}


@dataclass(frozen=True)
class Entrant:
    """A way to train.

    Attributes:
        label: Name in the tables.
        architecture: Name of the network.
        compile: Whether the loss is compiled.
        precision: That of the trainer.
    """

    label: str
    architecture: str
    compile: bool = False
    precision: str = "32-true"


class Stopwatch(L.Callback):
    """Counts the time of the training alone, and keeps what each validation finds.

    Args:
        budget: Time that the training may take [s].
    """

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.spent, self.steps = 0.0, 0
        self.curve: list[tuple[float, dict[str, float]]] = []

    @property
    def share(self) -> float:
        """Part of the time that is spent."""
        return self.spent / self.budget

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


@dataclass(frozen=True)
class TimedSnr(SnrDistribution):
    """The distribution at the time that is spent, whatever the step."""

    start: float = 14.0
    start_steps: int = ALL_STEPS // 4
    watch: Stopwatch = field(kw_only=True)

    def smallest(self, step: int) -> float:
        """See `SnrDistribution`."""
        return super().smallest(round(self.watch.share * ALL_STEPS))


class Epoch:
    """Numbers of steps until the time of an epoch is spent; how many is not known before."""

    def __init__(self, trainer: L.Trainer, watch: Stopwatch) -> None:
        self.trainer, self.watch = trainer, watch

    def __iter__(self) -> Iterator[int]:
        end = (self.trainer.current_epoch + 1) / self.trainer.max_epochs
        return itertools.takewhile(lambda _: self.watch.share < end, itertools.count())


class TimedData(Data):
    """Batches of a seed, as many as the time allows."""

    def __init__(self, *files: Path, watch: Stopwatch, seed: int, **options: Any) -> None:
        super().__init__(*files, batches_per_epoch=ALL_STEPS, snr=TimedSnr(watch=watch), **options)
        self.watch, self.seed = watch, seed

    def train_dataloader(self) -> Epoch:
        """See `Data`."""
        return Epoch(self.trainer, self.watch)

    def make_batch(self, number: int) -> Batch:
        """See `Data`."""
        return super().make_batch(number + self.seed * 100 * ALL_STEPS)


class Timed(Supervised):
    """Learns at the rate of the time that is spent."""

    def __init__(self, *args: Any, watch: Stopwatch, seed: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.watch = watch
        self.reseed(seed)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Set the schedule to the step that belongs to the time; see `Supervised`."""
        scheduler.last_epoch = min(round(self.watch.share * ALL_STEPS), ALL_STEPS - 1) - 1
        scheduler.step()


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, help="folder of a finished search")
    parser.add_argument("--networks", default="TwoTower,ResNet", help="by name, with commas")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each")
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
    entrants = [Entrant(name, name) for name in arguments.networks.split(",")]
    known = names("supervised")
    unknown = [e.architecture for e in entrants if e.architecture not in known]
    if unknown:
        parser.error(f"no network {', '.join(unknown)}: there are {', '.join(known)}")
    if arguments.variants:
        first = entrants[0].architecture
        entrants = [
            entrants[0],
            Entrant("bf16-mixed", first, precision="bf16-mixed"),
            Entrant("compiled", first, compile=True),
        ]
    watches: dict[str, list[Stopwatch]] = {entrant.label: [] for entrant in entrants}
    # seed by seed, so that what is done when the run is ended compares all
    for seed in range(arguments.seeds):
        for entrant in entrants:
            watches[entrant.label].append(train(entrant, seed, arguments))
        print_table(watches, arguments.batch)


def train(entrant: Entrant, seed: int, arguments: argparse.Namespace) -> Stopwatch:
    """Train once, and print the figures of each validation."""
    folder = arguments.version
    experiment = folder / "stages/TrainLocal-0/experiment.yaml"
    watch = Stopwatch(arguments.cpu_seconds)
    data = TimedData(
        experiment,
        folder / "strain/index.hdf5",
        folder / "training-waveforms.hdf5",
        folder / "validation-0.hdf5",
        watch=watch,
        seed=seed,
        batch_size=arguments.batch,
        validation_livetime=arguments.livetime,
    )
    module = Timed(
        experiment,
        entrant.architecture,
        watch=watch,
        seed=seed,
        learning_rate=LEARNING_RATES.get(entrant.architecture, OTHER_LEARNING_RATE),
        weight_decay=0.01,
        compile=entrant.compile,
    )
    with tempfile.TemporaryDirectory() as scratch:
        trainer = L.Trainer(
            precision=entrant.precision,
            gradient_clip_val=1.0,
            max_epochs=arguments.validations,
            max_steps=ALL_STEPS,
            callbacks=[watch],
            default_root_dir=scratch,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, data)
    size = sum(parameter.numel() for parameter in module.network.parameters())
    for spent, found in watch.curve:
        recalls = [
            f"{label} {found[name]:.3f}" for name, label in RECALLS.items() if name in found
        ]
        print(
            f"{entrant.label} ({size} parameters), seed {seed}, after {spent:.0f} {UNIT}: "
            f"{', '.join(recalls)}, valid AUROC {found['valid_auroc']:.4f}",
            flush=True,
        )
    return watch


def print_table(watches: dict[str, list[Stopwatch]], batch: int) -> None:
    """Print the means of the last validations, with their standard errors."""
    found = next(iter(watches.values()))[0].curve[-1][1]
    measures = {name: label for name, label in RECALLS.items() if name in found}
    measures["valid_auroc"] = "valid AUROC"
    count = len(next(iter(watches.values())))
    print(
        f"\n{count} trainings of each, mean and standard error\n"
        f"{'':18s}{UNIT:>14s}{'kernels':>10s}"
        + "".join(f"{label:>20s}" for label in measures.values())
    )
    for label, seeds in watches.items():
        spent = statistics.mean(watch.spent for watch in seeds)
        kernels = statistics.mean(watch.steps for watch in seeds) * batch
        columns = [with_error([w.curve[-1][1][name] for w in seeds]) for name in measures]
        print(
            f"{label:18s}{spent:14.0f}{kernels:10.0f}"
            + "".join(f"{column:>20s}" for column in columns)
        )
    print(
        f"{found['valid_num_injections']:.0f} injections, {found['valid_livetime_s']:.0f} s of "
        "background in each\n",
        flush=True,
    )


def with_error(values: Sequence[float]) -> str:
    """Mean of some values and its standard error, where there are several."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.4f}"
    return f"{mean:.4f} +- {statistics.stdev(values) / len(values) ** 0.5:.4f}"


if __name__ == "__main__":
    main()
