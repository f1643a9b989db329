"""Judge versions by what the cleaner measured with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cleaning import Ratios
from cleaning.cleaner import GATE_LENGTH, PAST

from deepclean.online.telemetry import Record

Decision = Literal["wait", "promote", "reject", "roll back"]


@dataclass(frozen=True)
class Rules:
    """How versions are judged.

    Attributes:
        trial: Time that a canary is judged over [s].
        margin: By how much a canary's mean in-band ratio may exceed that of production and still
            be promoted: versions are newer, and fit what comes better, than the one they follow.
        trouble: Part of the trial time in which the gate may be closed on production, with all
            witnesses there, before an earlier version takes over.
    """

    trial: int = 100
    margin: float = 0.0
    trouble: float = 0.5

    @property
    def stretches(self) -> int:
        """Independent stretches in the trial time."""
        return self.trial // GATE_LENGTH


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a version.

    Attributes:
        decision: What.
        reason: Why, in words.
    """

    decision: Decision
    reason: str = ""


def independent(records: Sequence[Record], usable: Callable[[Record], bool]) -> list[Record]:
    """Records whose measures have no second in common.

    A record measures the `GATE_LENGTH` seconds up to its own. Only stretches are taken all of
    whose seconds are there and usable.

    Args:
        records: In time order.
        usable: Whether a second may be part of a stretch.
    """
    found: list[Record] = []
    run = 0
    previous = None
    for record in records:
        follows = previous is not None and record.second == previous + 1
        run = (run if follows else 0) + 1 if usable(record) else 0
        previous = record.second
        if run == GATE_LENGTH:
            found.append(record)
            run = 0
    return found


def undisturbed(records: Sequence[Record], before: int) -> list[Record]:
    """Records of seconds beside which no witnesses are missing.

    Beside a missing second the noise estimate is tapered, whatever the version: what is measured
    there is no merit of it, and no fault. Of the newest second nothing is known yet of what
    follows it. A second without a record counts as missing.

    Args:
        records: In time order.
        before: How long before a second nothing may be missing [s].
    """
    whole = {record.second for record in records if not record.dropped}
    # nothing is known of what lies before the first
    known = range(records[0].second if records else 0, records[-1].second + 1 if records else 0)
    lost = set(known) - whole
    return [
        record
        for record in records[:-1]
        if lost.isdisjoint(range(record.second - before, record.second + 2))
    ]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def judge_canary(records: Sequence[Record], version: int, rules: Rules) -> Verdict:
    """Judge a canary by stretches that do not overlap.

    It is rejected at the first stretch in which it does harm, and at the first second: see
    `cleaning.Ratios.well`, which is false for what is not finite, too. It is promoted after
    `rules.stretches` without harm, if it cleans no worse than what is in production did in the
    same stretches.

    Args:
        records: In time order.
        version: The canary's number.
        rules: How to judge.
    """

    def counts(record: Record) -> bool:
        return record.canary == version and bool(record.canary_ratios)

    # the newest segment, of two seconds, is to be as undisturbed as the second itself
    clear = undisturbed(records, PAST + 1)
    for record in filter(counts, clear):
        # a second that went wrong may hide in the median of its stretch
        if not Ratios((), (), record.canary_newest).well():
            newest = ", ".join(f"{ratio:.4f}" for ratio in record.canary_newest)
            return Verdict(
                "reject", f"harm just before GPS {record.second + 1}: ratios {newest} at once"
            )
    stretches = independent(clear, counts)
    for record in stretches:
        if not Ratios(record.canary_ratios, record.canary_outside).well():
            inside = ", ".join(f"{ratio:.4f}" for ratio in record.canary_ratios)
            outside = ", ".join(f"{ratio:.4f}" for ratio in record.canary_outside)
            return Verdict(
                "reject",
                f"harm in the {GATE_LENGTH} s to GPS {record.second + 1}: ratios {inside} within "
                f"its bands, {outside} just outside",
            )
    if len(stretches) < rules.stretches:
        return Verdict("wait")
    judged = stretches[: rules.stretches]
    found = _mean([_mean(record.canary_ratios) for record in judged])
    compared = [r for r in judged if r.production and r.production != version and r.ratios]
    where = f"{len(judged)} stretches of {GATE_LENGTH} s to GPS {judged[-1].second + 1}"
    finite = [r for r in compared if all(math.isfinite(x) for x in r.ratios)]
    if finite:
        theirs = _mean([_mean(record.ratios) for record in finite])
        mine = _mean([_mean(record.canary_ratios) for record in finite])
        if mine > theirs + rules.margin:
            return Verdict(
                "reject", f"mean ratio {mine:.4f} against {theirs:.4f} in production, {where}"
            )
        return Verdict("promote", f"mean ratio {mine:.4f}, {theirs:.4f} in production, {where}")
    return Verdict("promote", f"mean ratio {found:.4f} with nothing in production, {where}")


def judge_production(records: Sequence[Record], version: int, rules: Rules) -> Verdict:
    """See whether the version in production still works.

    Args:
        records: In time order.
        version: Its number.
        rules: How to judge.
    """
    clear = undisturbed(records, GATE_LENGTH + PAST)
    mine = [record for record in clear if record.production == version and record.ratios]
    last = mine[-rules.trial :]
    if len(last) < rules.trial:
        return Verdict("wait")
    closed = sum(not record.good for record in last) / len(last)
    if closed <= rules.trouble:
        return Verdict("wait")
    return Verdict(
        "roll back",
        f"the gate was closed in {closed:.0%} of the {len(last)} s to GPS {last[-1].second + 1}",
    )
