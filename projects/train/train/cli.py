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

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from runtime.cli import configure_logging, run_or_explain

from train.data import Data
from train.families import Family
from train.families.detection import Detection
from train.families.prediction import PublishPrediction
from train.log import EpochLog
from train.measuring import MEASURED, WriteOutcome, measured_set
from train.options import (
    check_model,
    describe_families,
    family_class,
    given_names,
    refuse_shared,
)
from train.preemption import Preempted, SaveOnSigterm, is_out_of_memory
from train.publish import Publish
from train.resources import Resources
from train.watching import (
    TrainingProgress,
    WatchValidation,
    add_wandb_arguments,
    make_logger,
    wandb_options,
)

log = logging.getLogger("train")

INPUTS = ("strain", "waveforms", "validation", "fold")
SMALLER_IS_BETTER = (
    "valid_loss",
    "valid_residual",
    "valid_delay_s",
    "valid_asd_ratio",
    "train_loss",
)
DESCRIPTION = "Train a network to tell signals from noise, and measure how well it does."

OWN_DATA = (
    "Data are those of the search, or a LightningDataModule of your own: data.class_path and "
    "data.init_args (Regression needs one); it gets those of experiment, strain, waveforms, "
    "validation and fold that it has an argument for."
)


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
    """Takes the inputs once and hands them to the model, the data and the trainer.

    Where the data are those of the search (`Data`), their settings are plain ones; data of one's
    own are a class and its arguments (`subclass_mode_data`), which get those inputs that they have
    an argument for.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the inputs of the stage."""
        own = self.subclass_mode_data
        needed: dict[str, Any] = {"type": Path | None if own else Path, "required": not own}
        parser.add_argument("--experiment", type=Path, required=True, help="experiment.yaml")
        parser.add_argument("--strain", **needed, help="strain index")
        parser.add_argument("--waveforms", **needed, help="training waveforms")
        parser.add_argument(
            "--validation",
            **needed,
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
            type=str | None,
            help="measure by which the best checkpoint is chosen, such as valid_volume (default: "
            "valid_auroc, or valid_residual of a regression)",
        )
        add_wandb_arguments(parser)
        parser.link_arguments("experiment", "model.init_args.experiment")
        data = "data.init_args" if own else "data"
        for name in ("experiment", *INPUTS):
            parser.link_arguments(name, f"{data}.{name}")
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
        chosen.monitor = chosen.monitor or family_class(chosen.model["class_path"]).monitor

    def instantiate_classes(self) -> None:
        """Make model, data and trainer, with the seeds of this training.

        Raises:
            ValueError: One of them cannot be made; the sentence is its own.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            # jsonargparse lists all that it tried around what the class has to say
            wrapped = str(error).startswith("Does not validate against")
            if wrapped and isinstance(error.__cause__, ValueError | FileNotFoundError):
                raise error.__cause__ from None
            raise
        offset = self._get(self.config, "seed_offset")
        if offset:
            experiment = getattr(self.datamodule, "experiment", None)
            if experiment is not None:
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
            Resources(folder / "resources.yaml"),
            Publish(folder, best),
            PublishPrediction(folder, best, self._checkpoint().name),
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
        """Score the validation strain with a checkpoint.

        Raises:
            ValueError: The family gives no scores.
        """
        if not isinstance(self.model, Detection):
            raise ValueError(
                f"predict writes scores, and {type(self.model).__name__} has none: use validate "
                "or test for its measures"
            )
        self._measure(self.trainer.predict, kwargs | {"return_predictions": False})

    def _measure(self, verb: Any, kwargs: dict[str, Any]) -> None:
        path = self._checkpoint()
        if not path.is_file():
            raise FileNotFoundError(
                f"no checkpoint {path}: train first, or give one by --ckpt_path"
            )
        with self._explained():
            if isinstance(self.datamodule, Data):
                del kwargs["datamodule"]
                device = self.trainer.strategy.root_device
                measured = measured_set(self.datamodule, MEASURED[self.subcommand], device)
                kwargs["dataloaders"] = torch.utils.data.DataLoader([measured], batch_size=None)
            verb(**kwargs | {"ckpt_path": str(path)})
        for callback in self.trainer.callbacks:
            if isinstance(callback, WriteOutcome | PublishPrediction) and callback.written:
                log.info("wrote %s", callback.written)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say which setting to change where memory or a measure is missing."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = getattr(self.datamodule, "batch_size", None)
            raise ValueError(
                "out of memory"
                + ("" if size is None else f" with data.batch_size {size}")
                + ": lower data.batch_size, or choose a smaller network"
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
    description = f"{DESCRIPTION} {describe_families()} {OWN_DATA}"
    own_data = "data.class_path" in given_names(sys.argv[1:])
    try:
        TrainCLI(
            Family,
            L.LightningDataModule if own_data else Data,
            subclass_mode_model=True,
            subclass_mode_data=own_data,
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
