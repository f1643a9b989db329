"""The strain of one fold, ready for any slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from preprocessing.slides import FrameTimeline, Stretch
from preprocessing.stretches import no_long_file, strain_files
from runtime import progress

from infer.exclusion import LeftOut
from infer.found import Found
from infer.ranking import Ranker
from infer.searcher import Searcher
from infer.session import Session
from infer.stretches import PreparedStretch, read_stretch, write_stretch

NOTHING = LeftOut()


@dataclass(frozen=True)
class Prepared:
    """Stretches of a search, their frames given to the scorer.

    Attributes:
        session: Experiment, models and scorer.
        stretches: In time order.
        frames: Frames of each.
        fold: Fold of the experiment.
    """

    session: Session
    stretches: list[PreparedStretch]
    frames: list[int]
    fold: int

    def searcher(self, left_out: LeftOut = NOTHING) -> Searcher:
        """A searcher of these stretches.

        Args:
            left_out: Times that no score may look at.
        """
        session = self.session
        common, vetoes = left_out.of_all(), left_out.of_each()
        runs = [
            Stretch(stretch.gps_start, frames, common, stretch.label, vetoes)
            for stretch, frames in zip(self.stretches, self.frames, strict=True)
        ]
        scorer = session.scorer
        timeline = FrameTimeline(runs, scorer.frame_rate, session.window, scorer.view_length)
        return Searcher(scorer, timeline, session.experiment, session.models.network["delay"])

    def found(self) -> Found:
        """Where a searcher adds events, which are ranked as the experiment wants it.

        Raises:
            ValueError: There is no such ranking.
        """
        ranker = Ranker(self.session.experiment, self.stretches)
        return Found(ranker=ranker if ranker.ranking.looks else None)

    @property
    def spans(self) -> dict[str, object]:
        """Columns of an `EventSet` that say what was analysed."""
        rate = self.session.recipe.sample_rate
        spans = [(s.gps_start, s.gps_start + s.size / rate) for s in self.stretches]
        return {
            "analysed": np.array(spans).reshape(-1, 2),
            "analysed_label": [s.label for s in self.stretches],
        }


def write_prepared(
    session: Session, strain: Path, folder: Path, fold: int, files: Sequence[int] | None = None
) -> None:
    """Whiten the strain of a fold and pass it through the towers, a folder for each file.

    Args:
        session: Experiment, models and scorer.
        strain: Strain index.
        folder: Where the folders lie, each called by the number of its file.
        fold: Fold of the experiment.
        files: Numbers of the files among those searched, in time order; all if None.

    Raises:
        ProductError: The index or a file was made with other settings or is broken.
        ValueError: There is no such fold or no such file.
    """
    found = strain_files(strain, session.experiment, "search", fold)
    wanted = range(len(found)) if files is None else files
    for number in progress(wanted, "frames", unit="file"):
        if not 0 <= number < len(found):
            raise ValueError(
                f"--files has {number}, but {strain} has the search files 0 to {len(found) - 1} "
                f"in fold {fold}"
            )
        write_stretch(folder / str(number), found[number], strain, session, session.shortest)


def read_prepared(session: Session, strain: Path, folder: Path, fold: int) -> Prepared:
    """Open what `write_prepared` wrote for all files of a fold.

    Raises:
        FileNotFoundError: A file has not been prepared.
        ProductError: One was prepared from other strain or with another network.
        ValueError: No file is long enough for a score.
    """
    files = strain_files(strain, session.experiment, "search", fold)
    read = [read_stretch(folder / str(i), strain, session) for i in range(len(files))]
    stretches = [stretch for stretch in read if stretch is not None]
    if not stretches:
        raise no_long_file(strain, session.recipe, "search", fold, session.shortest)
    return Prepared(session, stretches, [session.scorer.add(s) for s in stretches], fold)
