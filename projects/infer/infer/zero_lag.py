"""The data as they are."""

from __future__ import annotations

from ledger import EventSet

from infer.details import details
from infer.found import Found, event_set
from infer.prepared import Prepared
from infer.series import ScoreSeries


def find_zero_lag(prepared: Prepared, series: ScoreSeries | None = None) -> EventSet:
    """All events of the zero lag, the loudest in detail. No window is left out.

    Args:
        prepared: The strain of the fold.
        series: Where to write the scores; nowhere if None.
    """
    experiment = prepared.session.experiment
    searcher = prepared.searcher()
    found = Found()
    unslid = (0,) * len(experiment.ifos)
    scores = searcher.events(found, 0, unslid)
    if series is not None:
        series.add(searcher, 0, unslid, scores)
    loudest = details(found, scores, searcher, prepared.stretches, experiment)
    return event_set(found, "zero-lag", experiment, prepared.fold, **prepared.spans, **loudest)
