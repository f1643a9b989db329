"""Rankings by name, and what each must keep to."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from runtime import Experiment


@dataclass(frozen=True)
class Ranking(ABC):
    """Gives events the statistic that false alarms are counted by.

    Its fields are its options, `search.ranking_options` of the experiment. **A ranking never
    raises an event above its score.** By this rule events that are quieter than those kept can be
    left unranked, and the loudest are kept all the same (`Found.rank`).

    Attributes:
        least_ifos: Detectors that it needs.
        before: Strain that it looks at before an event's time [s].
        after: Strain that it looks at from the time on [s].
    """

    least_ifos: ClassVar[int] = 1
    before: float = 0.0
    after: float = 0.0

    @property
    def looks(self) -> bool:
        """Whether it looks at strain at all; if not, the statistic is the score."""
        return self.before + self.after > 0

    @abstractmethod
    def statistic(
        self, score: np.ndarray, strain: np.ndarray, taps: np.ndarray, experiment: Experiment
    ) -> np.ndarray:
        """Statistics of events, none above its score.

        Args:
            score: Integrated scores, of shape (event,).
            strain: Whitened strain from `before` to `after` of each event's own time in each
                detector, of shape (event, ifo, sample).
            taps: Filters that whitened it there, of shape (event, ifo, filter_size).
            experiment: The experiment.

        Returns:
            Array of shape (event,).
        """


RANKINGS: dict[str, type[Ranking]] = {}
"""The rankings by name."""

Class = TypeVar("Class", bound=type[Ranking])


def register(name: str) -> Callable[[Class], Class]:
    """Class decorator that makes a ranking known.

    Raises:
        ValueError: Another ranking has the name.
    """

    def add(ranking: Class) -> Class:
        if name in RANKINGS:
            raise ValueError(
                f"ranking {name!r} of {ranking.__module__} exists already in "
                f"{RANKINGS[name].__module__}: give it another name"
            )
        RANKINGS[name] = ranking
        return ranking

    return add


def make_ranking(experiment: Experiment) -> Ranking:
    """The ranking that an experiment asks for.

    Raises:
        ValueError: There is no such ranking or option, or the experiment has too few detectors.
    """
    name, given = experiment.search.ranking, experiment.search.ranking_options
    if name not in RANKINGS:
        raise ValueError(f"no search.ranking {name!r}: there are {', '.join(sorted(RANKINGS))}")
    ranking = RANKINGS[name]
    known = [field.name for field in dataclasses.fields(ranking)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(
            f"search.ranking_options has {', '.join(unknown)}: ranking {name} has "
            f"{', '.join(known)}"
        )
    if len(experiment.ifos) < ranking.least_ifos:
        raise ValueError(
            f"search.ranking {name} compares detectors: expected {ranking.least_ifos} or more, "
            f"found {', '.join(experiment.ifos)}"
        )
    made: Ranking = ranking(**given)
    return made
