"""The data as they are."""

from __future__ import annotations

import numpy as np
from ledger import EventSet

from infer.details import details
from infer.events import cluster
from infer.exclusion import LeftOut
from infer.found import event_set
from infer.prepared import NOTHING, Prepared
from infer.series import ScoreSeries


def find_zero_lag(
    prepared: Prepared, series: ScoreSeries | None = None, left_out: LeftOut = NOTHING
) -> EventSet:
    """All events of the zero lag, the loudest in detail.

    No time is left out. Events are marked whose score looks at a time that the background does not
    look at: there is no background like them.

    Args:
        prepared: The strain of the fold.
        series: Where to write the scores; nowhere if None.
        left_out: What the background does not look at.
    """
    experiment = prepared.session.experiment
    searcher = prepared.searcher()
    found = prepared.found()
    unslid = (0,) * len(experiment.ifos)
    scores = searcher.events(found, 0, unslid)
    found.rank()
    if series is not None:
        series.add(searcher, 0, unslid, scores)
    places = cluster(scores, searcher.counted(unslid)[: len(scores)], searcher.reach)
    begin = searcher.timeline.gps(places * searcher.scorer.stride)
    marks = left_out.marks(
        np.repeat(begin[:, None], len(unslid), axis=1),
        (searcher.window_frames - 1) / searcher.timeline.frame_rate + searcher.scorer.view_length,
    )
    loudest = details(found, scores, searcher, prepared.stretches, experiment)
    return event_set(
        found, "zero-lag", experiment, prepared.fold, **prepared.spans, **marks, **loudest
    )
