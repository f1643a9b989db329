"""Time slides: the background."""

from __future__ import annotations

import math

from ledger import EventSet
from preprocessing.slides import slide_shifts
from runtime import progress

from infer.branches import share
from infer.exclusion import LeftOut
from infer.found import event_set, number_kept
from infer.prepared import Prepared
from infer.series import ScoreSeries


def find_background(
    prepared: Prepared,
    left_out: LeftOut,
    branch: int = 0,
    branches: int = 1,
    series: ScoreSeries | None = None,
) -> EventSet:
    """Events of the slides of a branch, as many of the loudest as can matter.

    How many matter follows from the livetime of all slides, so that the loudest of all are among
    those of the branches.

    Args:
        prepared: The strain of the fold.
        left_out: Times that no score may look at.
        branch: Which part of the slides, from 0.
        branches: Of how many parts, alike in livetime.
        series: Where to write the scores of the slides it asks for; nowhere if None.

    Raises:
        ValueError: The strain is too short for a slide.
    """
    experiment = prepared.session.experiment
    search = experiment.search
    searcher = prepared.searcher(left_out)
    timeline = searcher.timeline
    ifos = len(experiment.ifos)
    slides = slide_shifts(
        timeline, ifos, search.slide_step, search.background_livetime, searcher.scorer.stride
    )
    if not slides and ifos > 1:
        raise ValueError(
            f"{timeline.size / timeline.frame_rate:.0f} s of searched strain allow no time slide "
            f"of {search.slide_step} s: search more strain or lower search.slide_step"
        )
    livetimes = [searcher.livetime(shifts) for shifts in slides]
    zero_lag = prepared.searcher().livetime((0,) * ifos)
    number = number_kept(experiment, math.fsum(livetimes), zero_lag)
    mine = share(livetimes, branch, branches)
    found = prepared.found()
    numbers = progress(range(mine.start, mine.stop), "slides", unit="slide")
    scored = searcher.events_of_slides(found, mine.start + 1, slides[mine])
    for i, scores in zip(numbers, scored, strict=True):
        if series is not None:
            series.add(searcher, i + 1, slides[i], scores)
        # now and then, for the memory
        if found.size > 2 * number:
            found.keep_loudest(number)
    found.keep_loudest(number)
    return event_set(found, "background", experiment, prepared.fold, **prepared.spans)
