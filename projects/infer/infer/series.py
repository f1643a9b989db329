"""Score time series, kept on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from ledger import Provenance, staged

from infer.searcher import Searcher

# Scores of a chunk: 64 kB, half an hour at 8 scores per second.
CHUNK_SIZE = 16_384


class ScoreSeries:
    """Writes the integrated scores of slides, each in a group with a dataset for each stretch.

    Args:
        file: An open file.
        slides: Numbers of the slides to write, of which 0 is the zero lag; all if None.
    """

    def __init__(self, file: h5py.File, slides: Sequence[int] | None = None) -> None:
        self.file = file
        self.slides = slides

    def add(
        self, searcher: Searcher, number: int, shifts: tuple[int, ...], scores: np.ndarray
    ) -> None:
        """Write the scores of a slide, if they are wanted; NaN where none counts.

        Args:
            searcher: Made them.
            number: Of the slide.
            shifts: Shift of each detector, in frames.
            scores: Integrated scores of the whole row.
        """
        if self.slides is not None and number not in self.slides:
            return
        timeline, stride = searcher.timeline, searcher.scorer.stride
        counts = searcher.counted(shifts)[: len(scores)]
        values = np.where(counts, scores, np.float32(np.nan))
        group = self.file.create_group(f"slide-{number}")
        group.attrs["shift"] = np.array(shifts) / timeline.frame_rate
        for i, stretch in enumerate(timeline.stretches):
            first = -(-int(timeline.offsets[i]) // stride)
            last = min(-(-int(timeline.offsets[i + 1]) // stride), len(values))
            part = values[first:last]
            if not len(part):
                continue
            dataset = group.create_dataset(
                str(i),
                data=part,
                chunks=(min(CHUNK_SIZE, len(part)),),
                compression="gzip",
                shuffle=True,
            )
            begin = float(timeline.gps(np.array([first * stride]))[0])
            dataset.attrs["label"] = stretch.label
            # a score stands at the time at which what it looks at ends
            dataset.attrs["gps_start"] = begin + searcher.seen_length
            dataset.attrs["rate"] = timeline.frame_rate / stride


@contextmanager
def score_series(
    path: Path | None, provenance: Provenance, slides: Sequence[int] | None = None
) -> Iterator[ScoreSeries | None]:
    """Open a file for score series, put in place whole when the block ends.

    Args:
        path: The file; none is written if None.
        provenance: What makes it.
        slides: Numbers of the slides to write; all if None.

    Yields:
        What writes it, or None.

    Raises:
        ValueError: Slides are named, but no file.
    """
    if path is None:
        if slides is not None:
            raise ValueError(
                f"--scored_slides {list(slides)} has no effect without --scores FILE: give both"
            )
        yield None
        return
    with staged(path) as partial, h5py.File(partial, "w") as file:
        file.attrs["product"] = "score-series"
        file.attrs["schema"] = 1
        provenance.write(file.attrs)
        yield ScoreSeries(file, slides)
