"""`python -m train`: LightningCLI with the experiment as the source of the physics."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from runtime.cli import configure_logging, run_or_explain

from train.data import Data
from train.log import EpochLog
from train.model import Detector
from train.publish import Publish

INPUTS = ("strain", "waveforms", "validation", "fold")


class TrainCLI(LightningCLI):
    """Takes the inputs once and hands them to the model, the data and the trainer."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the inputs of the stage."""
        parser.add_argument("--experiment", type=Path, required=True, help="experiment.yaml")
        parser.add_argument("--strain", type=Path, required=True, help="strain index")
        parser.add_argument("--waveforms", type=Path, required=True, help="training waveforms")
        parser.add_argument(
            "--validation", type=Path, required=True, help="injections into the validation strain"
        )
        parser.add_argument("--fold", type=int, default=0, help="fold of the experiment")
        parser.add_argument("--run_dir", type=Path, required=True, help="where to write")
        parser.link_arguments("experiment", "model.experiment")
        parser.link_arguments("experiment", "data.experiment")
        for name in INPUTS:
            parser.link_arguments(name, f"data.{name}")
        parser.link_arguments("run_dir", "trainer.default_root_dir", compute_fn=str)

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Add what every run has: checkpoints, the log, the published model."""
        folder = self._get(self.config, "run_dir")
        trainer = super().instantiate_trainer(**kwargs)
        options = {"dirpath": folder, "enable_version_counter": False}
        best = ModelCheckpoint(filename="best", monitor="valid_auroc", mode="max", **options)
        # its own callback, since `save_last` of the other saves only when the best improves
        last = ModelCheckpoint(filename="last", **options)
        kept = [c for c in trainer.callbacks if not isinstance(c, ModelCheckpoint)]
        log = EpochLog(folder / "metrics.csv")
        trainer.callbacks = [*kept, log, Publish(folder), best, last]
        return trainer

    def before_fit(self) -> None:
        """Go on from the last checkpoint of an interrupted run, if there is one."""
        last = Path(self._get(self.config, "run_dir")) / "last.ckpt"
        if last.exists() and not self.config_init.fit.ckpt_path:
            logging.getLogger("train").info("going on from %s", last.name)
            self.config_init.fit.ckpt_path = str(last)


def main() -> None:
    """Entry point of the stage."""
    configure_logging()
    for noisy in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")
    torch.set_float32_matmul_precision("high")
    threads = os.environ.get("AFRAME_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    run_or_explain(
        "train",
        lambda: TrainCLI(
            Detector,
            Data,
            seed_everything_default=False,
            auto_configure_optimizers=False,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"description": "Train a network to tell signals from noise."},
        ),
    )
