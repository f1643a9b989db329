"""The integrated score itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from runtime import Experiment

from infer.ranking.base import Ranking, register


@register("score")
@dataclass(frozen=True)
class Score(Ranking):
    """Ranks by the score."""

    def statistic(
        self, score: np.ndarray, strain: np.ndarray, taps: np.ndarray, experiment: Experiment
    ) -> np.ndarray:
        """The score."""
        return score
