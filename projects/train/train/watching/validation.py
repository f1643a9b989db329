"""What the network does, validation by validation: a page in the run's folder, a table in W&B."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from ledger import staged
from lightning.pytorch.loggers import WandbLogger

from train.watching.examples import (
    Example,
    choose_injections,
    injection_examples,
    kernel_examples,
)
from train.watching.figures import (
    EXAMPLES,
    NOISE,
    SCORES,
    draw_examples,
    draw_scores,
    embeddable,
)
from train.watching.history import History
from train.watching.page import render
from train.watching.record import make_record
from train.watching.scores import Scores
from train.watching.table import ValidationTable

log = logging.getLogger("train")

PAGE = "validation.html"
FOLDER = "validation"


class WatchValidation(L.Callback):
    """Draws each validation: ROC, scores, recall against SNR, and the kernels to learn from.

    Writes `validation.html`, which needs nothing but itself, and the data behind it to the folder
    `validation` beside it; a resumed training goes on with them. Where the training is logged to
    W&B, its table `validation` grows by the same drawings.

    Args:
        folder: Folder of the run.
        num_examples: How many kernels of each kind to show: injections that are missed though
            their SNR is large, injections with the largest scores, background with the largest
            scores.
        num_kept: How many of the last validations the page shows, besides the best.
        monitor: Measure by which the best is told.
        mode: Whether more or less of it is better.
    """

    def __init__(
        self,
        folder: Path,
        num_examples: int = 4,
        num_kept: int = 20,
        monitor: str = "valid_auroc",
        mode: Literal["max", "min"] = "max",
    ) -> None:
        self.folder = Path(folder)
        self.num_examples = num_examples
        self.history = History(self.folder / FOLDER, num_kept, monitor, mode)
        self.table = ValidationTable()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over what an interrupted run has seen."""
        if trainer.is_global_zero:
            self.history.read(trainer.global_step)

    def on_validation_score(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outcome: Any
    ) -> None:
        """Draw a validation of a training.

        Args:
            trainer: The trainer.
            pl_module: The module that was validated.
            outcome: What the validation found.
        """
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        scores = scores_of(outcome)
        if not (np.isfinite(scores.background).all() and np.isfinite(scores.foreground).all()):
            log.warning(
                "the validation after step %d is not drawn: some of its scores are not finite",
                trainer.global_step,
            )
            return
        ifos = tuple(outcome.validation.injections.ifos)
        drawings = empty_drawings(self.num_examples, ifos)
        examples = find_examples(pl_module.network, outcome, scores, self.num_examples)
        epoch, step = trainer.current_epoch, trainer.global_step
        record = make_record(epoch, step, outcome.measures, scores, examples, ifos)
        self.history.add(record)
        page = render(drawings, self.history.records, "Validation", self.history.best)
        with staged(self.folder / PAGE) as partial:
            partial.write_text(page)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                self.table.log(logger.experiment, drawings, self.history.records)


@functools.cache
def empty_drawings(num_examples: int, ifos: tuple[str, ...]) -> dict[str, str]:
    """Drawings without data, by group: making them is slow, and all validations share them.

    Args:
        num_examples: How many kernels of each kind.
        ifos: Detectors.
    """
    return {SCORES: embeddable(draw_scores())} | {
        group: embeddable(draw_examples(group, num_examples, ifos)) for group in EXAMPLES
    }


def scores_of(outcome: Any) -> Scores:
    """Scores of a validation as they are drawn.

    Args:
        outcome: What the validation found.
    """
    background = outcome.background.detach().double().cpu().numpy()
    return Scores(
        background=-np.sort(-background),
        foreground=outcome.foreground.detach().double().cpu().numpy(),
        snr=np.asarray(outcome.validation.injections.snr)[np.asarray(outcome.rows)],
        livetime=outcome.measures["valid_livetime_s"],
    )


def find_examples(
    network: Any, outcome: Any, scores: Scores, num_examples: int
) -> dict[str, list[Example]]:
    """Kernels to look at, by group of drawings.

    Args:
        network: The network, in evaluation mode.
        outcome: What the validation found.
        scores: Its scores.
        num_examples: How many of each kind.
    """
    # the numbers of full precision, whatever the training's
    with torch.autocast(outcome.validation.stretches.device.type, enabled=False):
        examples = {
            group: injection_examples(network, outcome, positions)
            for group, positions in choose_injections(scores, num_examples).items()
        }
        # a family of one's own need not say what its loudest background looks like
        loudest = getattr(outcome, "loudest", None)
        if loudest is not None:
            first = slice(num_examples)
            taps = loudest.taps[first] if network.needs_taps else None
            examples[NOISE] = kernel_examples(network, loudest.kernels[first], taps)
    return examples
