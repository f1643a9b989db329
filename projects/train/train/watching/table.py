"""The table in Weights & Biases that grows by some rows with each validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import wandb

from train.watching.figures import EXAMPLES, SCORES
from train.watching.page import render
from train.watching.record import Record

KEY = "validation"
COLUMNS = ("epoch", "step", "drawing", "says", "plots")


class ValidationTable:
    """One row for each group of drawings of each validation, with the measures and the plots.

    The table is logged in increments: a validation sends its own rows alone.
    """

    def __init__(self) -> None:
        self.table: wandb.Table | None = None
        self.measures: list[str] = []

    def log(self, run: wandb.Run, drawings: Mapping[str, str], records: Sequence[Record]) -> None:
        """Add the rows of a validation.

        A new run begins with the rows of all validations that are kept. So does one that goes on
        offline: it cannot know what was logged before it was interrupted.

        Args:
            run: Run of W&B.
            drawings: Drawings by group.
            records: The validations that are kept, this one the last.
        """
        added = records[-1:]
        if self.table is None:
            self.measures = list(records[-1].measures)
            self.table = wandb.Table(
                columns=[*COLUMNS, *self.measures], log_mode="INCREMENTAL", optional=True
            )
            added = added if run.resumed else records
        for record in added:
            self._add(self.table, drawings, record)
        run.log({KEY: self.table, "trainer/global_step": records[-1].step})

    def _add(self, table: wandb.Table, drawings: Mapping[str, str], record: Record) -> None:
        assert self.table is not None
        for group, says in record.says.items():
            page = render({group: drawings[group]}, [part(record, group)], group, library="cdn")
            plots = wandb.Html(page, inject=False, data_is_not_path=True)
            measures = [record.measures.get(name) for name in self.measures]
            table.add_data(record.epoch, record.step, group, says, plots, *measures)


def part(record: Record, group: str) -> Record:
    """What of a record one group of drawings shows."""

    def belongs(name: str) -> bool:
        owner = next((g for g in EXAMPLES if name.startswith(f"{g} ")), SCORES)
        return owner == group

    return replace(
        record,
        says={group: record.says[group]},
        titles={n: t for n, t in record.titles.items() if belongs(n)},
        data={n: c for n, c in record.data.items() if belongs(n)},
    )
