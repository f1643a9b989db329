"""Where a detector's glitches are: times that come back among the loudest background events.

A time slide pairs each moment of a detector with another moment of the others. A loud glitch in
one detector therefore makes an event in slide after slide, every time with other data of the other
detectors. All of these count: in the zero lag the glitch has but one chance, and its events in the
slides over their number are the mean of what it does there, so that the false-alarm rate is
unbiased. But they are not independent, and a Poisson interval takes them as if they were. Leaving
events out would make the rate too small.

How many independent events would tell as much, and how wide the interval of the rate has to be,
says `evaluate.dispersion`.

What must not be is that the same data of all detectors are looked at in two slides. Events for
which this is so are counted here; there are none if slides are further apart than twice the data
that a statistic looks at.
"""

from dataclasses import dataclass

import numpy as np
from ledger import EventSet
from scipy.stats import poisson

from evaluate.dispersion import Dispersion

# Background events that are looked at
NUM_LOUDEST = 100
# A time that comes back so often would do so by chance in less than one of a hundred backgrounds
CHANCE = 0.01


@dataclass(frozen=True)
class RepeatedTime:
    """A time in one detector that has several of the loudest background events.

    Attributes:
        ifo: The detector.
        gps: GPS time in the detector of the loudest of the events [s].
        num_events: Number of them.
        loudest: Statistic of the loudest.
        by_chance: Expected number of times in a background without glitches, all detectors
            together, that have as many events.
    """

    ifo: str
    gps: float
    num_events: int
    loudest: float
    by_chance: float


@dataclass(frozen=True)
class Repeats:
    """What the loudest background events have in common.

    Attributes:
        num_events: Number of events looked at.
        num_effective: Number of independent events that would tell as much of the rate.
        num_seen_twice: Number of pairs of them that have data in common in every detector: the
            same data in two slides.
        times: Times that come back, the one with the most events first.
    """

    num_events: int
    num_effective: float
    num_seen_twice: int
    times: list[RepeatedTime]


def find_repeats(background: EventSet, window: float, num_loudest: int = NUM_LOUDEST) -> Repeats:
    """Find times that come back among the loudest background events of a fold.

    Args:
        background: Background events.
        window: Length of the data that a statistic looks at [s]: events less than this apart in a
            detector have data in common there.
        num_loudest: Number of events to look at.
    """
    loud_first = np.argsort(-np.asarray(background.statistic), kind="stable")[:num_loudest]
    statistic = np.asarray(background.statistic)[loud_first]
    times = np.asarray(background.time)[loud_first]
    num = len(loud_first)
    analysed = float(np.diff(np.asarray(background.analysed), axis=1).sum())
    common = np.abs(times[:, None] - times[None]) < window
    effective = Dispersion(background, window, num_loudest).effective(np.array([num]))
    repeated = []
    for column, ifo in enumerate(background.ifos):
        group = _groups(times[:, column], window)
        for number in range(group.max(initial=-1) + 1):
            members = np.flatnonzero(group == number)
            if len(members) < 2:
                continue
            others = poisson.sf(len(members) - 2, num * window / analysed)
            repeated.append(
                RepeatedTime(
                    ifo=ifo,
                    gps=float(times[members[0], column]),
                    num_events=len(members),
                    loudest=float(statistic[members[0]]),
                    by_chance=float(len(background.ifos) * num * others),
                )
            )
    return Repeats(
        num_events=num,
        num_effective=float(effective[0]),
        num_seen_twice=int(np.count_nonzero(common.all(axis=2)) - num) // 2,
        times=sorted(repeated, key=lambda time: (-time.num_events, -time.loudest, time.gps)),
    )


def repeat_notes(repeats: Repeats, slide_step: float, window: float) -> list[str]:
    """Sentences on what the reader of a false-alarm rate must know of repeated times.

    Args:
        repeats: What was found.
        slide_step: Least time between two slides [s].
        window: Length of the data that a statistic looks at [s].
    """
    notes = []
    worst = next((time for time in repeats.times if time.by_chance < CHANCE), None)
    if worst is not None:
        notes.append(
            f"{worst.num_events} of the {repeats.num_events} loudest background events come from "
            f"one disturbance at GPS {worst.gps:.2f} in {worst.ifo}. All {repeats.num_events} "
            f"tell as much as {repeats.num_effective:.0f} independent ones: intervals of "
            "false-alarm rates are as wide as these make them."
        )
    if repeats.num_seen_twice:
        notes.append(
            f"{repeats.num_seen_twice} pairs of the {repeats.num_events} loudest background "
            f"events are of the same data in two slides: search.slide_step is {slide_step:g} s, "
            f"and {2 * window:g} s between slides keep them apart."
        )
    return notes


def _groups(times: np.ndarray, window: float) -> np.ndarray:
    """Number of the group of each time; in a group each is less than `window` after another."""
    order = np.argsort(times, kind="stable")
    new = np.diff(times[order], prepend=times[order][:1]) >= window
    group = np.empty(len(times), dtype=np.int64)
    group[order] = np.cumsum(new)
    return group
