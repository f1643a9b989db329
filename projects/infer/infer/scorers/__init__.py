"""Whitened strain of a whole search to scores, for any time slide."""

from infer.repository import Repository
from infer.scorers.base import Scorer
from infer.scorers.fused import FusedScorer
from infer.scorers.streaming import StreamingScorer
from infer.scorers.windowed import WindowedScorer

__all__ = ["FusedScorer", "Scorer", "StreamingScorer", "WindowedScorer", "make_scorer"]


def make_scorer(repository: Repository, scores_per_second: int) -> Scorer:
    """The scorer for the kind of network in a repository."""
    if repository.network["streaming"]:
        return StreamingScorer(repository, scores_per_second)
    if "evidence" in repository.models:
        return FusedScorer(repository, scores_per_second)
    return WindowedScorer(repository, scores_per_second)
