"""`python -m train`: LightningCLI with the experiment as the source of the physics."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from runtime.cli import configure_logging, run_or_explain

from train.data import Data
from train.families import Family
from train.log import EpochLog
from train.measuring import MEASURED, WriteOutcome, measured_set
from train.options import check_model, describe_families, given_names, refuse_shared
from train.preemption import Preempted, SaveOnSigterm, is_out_of_memory
from train.publish import Publish
from train.watching import (
    TrainingProgress,
    WatchValidation,
    add_wandb_arguments,
    make_logger,
    wandb_options,
)

log = logging.getLogger("train")

INPUTS = ("strain", "waveforms", "validation", "fold")
SMALLER_IS_BETTER = ("valid_loss", "valid_residual", "valid_delay_s", "train_loss")
DESCRIPTION = "Train a network to tell signals from noise, and measure how well it does."


class SaveConfig(SaveConfigCallback):
    """Keeps everything that was set in `config.yaml` of the run, when training."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Save once, at the beginning of a training."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Write the file."""
        path = Path(trainer.default_root_dir) / self.config_filename
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parser.save(
            self.config, path, skip_unset=False, overwrite=True, multifile=self.multifile
        )


class TrainCLI(LightningCLI):
    """Takes the inputs once and hands them to the model, the data and the trainer."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the inputs of the stage."""
        parser.add_argument("--experiment", type=Path, required=True, help="experiment.yaml")
        parser.add_argument("--strain", type=Path, required=True, help="strain index")
        parser.add_argument("--waveforms", type=Path, required=True, help="training waveforms")
        parser.add_argument(
            "--validation",
            type=Path,
            required=True,
            help="injections into the validation strain; for `test`, into that of the search",
        )
        parser.add_argument("--fold", type=int, default=0, help="fold of the experiment")
        parser.add_argument("--run_dir", type=Path, required=True, help="where to write")
        parser.add_argument(
            "--seed_offset",
            type=int,
            default=0,
            help="added to the experiment's seed: other weights and batches, same physics",
        )
        parser.add_argument(
            "--monitor",
            default="valid_auroc",
            help="measure by which the best checkpoint is chosen, such as valid_volume",
        )
        add_wandb_arguments(parser)
        parser.link_arguments("experiment", "model.init_args.experiment")
        parser.link_arguments("experiment", "data.experiment")
        for name in INPUTS:
            parser.link_arguments(name, f"data.{name}")
        parser.link_arguments("run_dir", "trainer.default_root_dir", compute_fn=str)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read the command line, and stop where what it asks for does not exist."""
        refuse_shared(given_names(sys.argv[1:] if args is None else args))
        super().parse_arguments(parser, args)
        chosen = self.config[self.config.subcommand]
        if chosen.seed_everything is not False:
            raise ValueError(
                "--seed_everything is given, but seed is set by experiment.yaml for all stages: "
                "give --seed_offset for another training of the same experiment"
            )
        check_model(chosen.model)

    def instantiate_classes(self) -> None:
        """Make model, data and trainer, with the seeds of this training."""
        super().instantiate_classes()
        offset = self._get(self.config, "seed_offset")
        if offset:
            experiment = self.datamodule.experiment
            self.datamodule.experiment = experiment.model_copy(
                update={"seed": experiment.seed + offset}
            )
            self.model.reseed(offset)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add what every run has: checkpoints, the log, the published model."""
        folder = self._get(self.config, "run_dir")
        monitor = self._get(self.config, "monitor")
        options = {"dirpath": folder, "enable_version_counter": False}
        mode = "min" if monitor in SMALLER_IS_BETTER else "max"
        best = ModelCheckpoint(filename="best", monitor=monitor, mode=mode, **options)
        # its own callback, since `save_last` of the other saves only when the best improves
        last = ModelCheckpoint(filename="last", **options)
        given = self._get(self.config_init, "trainer").callbacks or []
        callbacks = [
            *(given if isinstance(given, list) else [given]),
            EpochLog(folder / "metrics.csv"),
            SaveOnSigterm(folder / "last.ckpt"),
            WriteOutcome(folder, self._checkpoint().name),
            TrainingProgress(),
            Publish(folder, best),
            best,
            last,
        ]
        if self.subcommand == "fit":
            callbacks.append(WatchValidation(folder, monitor=monitor, mode=mode))
            logger = make_logger(wandb_options(self.config[self.subcommand]), folder)
            kwargs |= {"logger": logger} if logger else {}
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)

    def _checkpoint(self) -> Path:
        """Checkpoint that is measured."""
        given = self._get(self.config, "ckpt_path")
        return Path(given or self._get(self.config, "run_dir") / "best.ckpt")

    def fit(self, **kwargs: Any) -> None:
        """Train; go on from the last checkpoint of an interrupted run, if there is one."""
        last = Path(self._get(self.config, "run_dir")) / "last.ckpt"
        if last.exists() and not kwargs["ckpt_path"]:
            log.info("going on from %s", last.name)
            kwargs["ckpt_path"] = str(last)
        with self._explained():
            self.trainer.fit(**kwargs)

    def validate(self, **kwargs: Any) -> None:
        """Measure a checkpoint on the validation strain."""
        self._measure(self.trainer.validate, kwargs | {"verbose": False})

    def test(self, **kwargs: Any) -> None:
        """Measure a checkpoint on the strain of the search."""
        self._measure(self.trainer.test, kwargs | {"verbose": False})

    def predict(self, **kwargs: Any) -> None:
        """Score the validation strain with a checkpoint."""
        self._measure(self.trainer.predict, kwargs | {"return_predictions": False})

    def _measure(self, verb: Any, kwargs: dict[str, Any]) -> None:
        path = self._checkpoint()
        if not path.is_file():
            raise FileNotFoundError(
                f"no checkpoint {path}: train first, or give one by --ckpt_path"
            )
        del kwargs["datamodule"]
        with self._explained():
            device = self.trainer.strategy.root_device
            measured = measured_set(self.datamodule, MEASURED[self.subcommand], device)
            loader = torch.utils.data.DataLoader([measured], batch_size=None)
            verb(**kwargs | {"ckpt_path": str(path), "dataloaders": loader})
        for callback in self.trainer.callbacks:
            if isinstance(callback, WriteOutcome) and callback.written:
                log.info("wrote %s", callback.written)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which setting to change where memory or a measure is missing."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise ValueError(
                f"out of memory with data.batch_size {self.datamodule.batch_size}: lower "
                "data.batch_size, or choose a smaller network"
            ) from error
        except MisconfigurationException as error:
            raise ValueError(" ".join(str(error).split())) from error


def main() -> None:
    """Entry point of the stage."""
    configure_logging()
    for noisy in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        log.setLevel(logging.WARNING)  # the first process speaks for all
    warnings.filterwarnings("ignore", module="lightning")
    torch.set_float32_matmul_precision("high")
    threads = os.environ.get("AFRAME_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    run_or_explain("train", _run)


def _run() -> None:
    description = f"{DESCRIPTION} {describe_families()}"
    try:
        TrainCLI(
            Family,
            Data,
            subclass_mode_model=True,
            trainer_defaults={
                "use_distributed_sampler": False,  # the processes share batches themselves
                "num_sanity_val_steps": 0,  # a validation is one step, and long
                "logger": False,
            },
            seed_everything_default=False,
            auto_configure_optimizers=False,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            parser_kwargs={
                name: {"description": description} for name in LightningCLI.subcommands()
            }
            | {"description": description},
        )
    except Preempted as ended:
        sys.stderr.write(f"train: {ended}\n")
        raise
