"""What `validate`, `test` and `predict` write."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import lightning as L
import torch
import yaml
from ledger import InjectionSet, StrainIndex, staged
from ledger.strain import Role

from train.background import load_stretches
from train.data import Data
from train.validation import ValidationOutcome, ValidationSet

MEASURED: dict[str, Role] = {"validate": "validation", "test": "search", "predict": "validation"}
"""Role of the strain that each verb looks at."""

COLUMNS = ("kind", "row", "time", "snr", "score")


class WriteOutcome(L.Callback):
    """Writes the figures of a checkpoint, or the scores behind them.

    Args:
        folder: Folder of the run. `validate` writes `measures.yaml`, `test` `measures-test.yaml`,
            `predict` `scores.csv`; `fit` nothing.
        checkpoint: The checkpoint that is measured, for the record.
    """

    def __init__(self, folder: Path, checkpoint: str) -> None:
        self.folder = folder
        self.checkpoint = checkpoint
        self.written: Path | None = None

    def on_validation_score(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outcome: ValidationOutcome
    ) -> None:
        """Write what the verb asks for."""
        verb = str(trainer.state.fn.value)
        if verb == "predict":
            name, text = "scores.csv", scores_table(outcome)
        elif verb in ("validate", "test"):
            name = "measures.yaml" if verb == "validate" else "measures-test.yaml"
            content = {"checkpoint": self.checkpoint, "measures": outcome.measures}
            text = yaml.safe_dump(content, sort_keys=False)
        else:
            return
        self.written = self.folder / name
        with staged(self.written) as partial:
            partial.write_text(text)


def scores_table(outcome: ValidationOutcome) -> str:
    """Scores as CSV: a row for each block of background and for each injection.

    Columns are `kind` (background or injection), and for injections `row` in the set of
    injections, GPS `time` of coalescence [s] and network `snr`; `score` for both.
    """
    injections = outcome.validation.injections
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for score in outcome.background.tolist():
        table.writerow(("background", "", "", "", repr(score)))
    for row, score in zip(outcome.rows.tolist(), outcome.foreground.tolist(), strict=True):
        time, snr = float(injections.time[row]), float(injections.snr[row])
        table.writerow(("injection", row, repr(time), repr(snr), repr(score)))
    return text.getvalue()


def measured_set(data: Data, role: Role, device: torch.device) -> ValidationSet:
    """What a checkpoint is measured on: strain of a role, and the injections into it.

    Args:
        data: The inputs.
        role: Role of the strain: that for validation, or that of the search, by which nothing was
            chosen.
        device: Where to work.
    """
    data.prepare_data()
    path = data.paths["strain"]
    index = StrainIndex.read(path)
    return ValidationSet(
        load_stretches(path, data.experiment, role, data.fold, device),
        InjectionSet.read(data.paths["validation"]),
        data.experiment,
        [(float(start), float(stop)) for start, stop in index.known_window],
        data.validation_livetime,
    )
