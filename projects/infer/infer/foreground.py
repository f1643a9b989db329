"""Injections: the foreground."""

from __future__ import annotations

import math

import numpy as np
from ledger import InjectionSet, RecoveredInjections
from waveforms import injection_responses

from infer.branches import share
from infer.prepared import Prepared
from infer.recovery import GROUP_SIZE, recover


def find_foreground(
    prepared: Prepared, injections: InjectionSet, branch: int = 0, branches: int = 1
) -> RecoveredInjections:
    """What the search gives for the injections of a branch.

    Injections go through the networks in groups that do not depend on the branches, whose parts
    are whole groups. The rejected ones are with the first branch.

    Args:
        prepared: The strain of the fold.
        injections: All injections into it.
        branch: Which part of them, from 0.
        branches: Of how many parts.

    Raises:
        ValueError: An injection lies outside the strain.
    """
    total = len(injections.time)
    groups = share([1.0] * math.ceil(total / GROUP_SIZE), branch, branches)
    rows = slice(groups.start * GROUP_SIZE, min(groups.stop * GROUP_SIZE, total))
    responses = injection_responses(injections, prepared.session.experiment.waveforms)
    statistic, time = recover(injections, responses, prepared, rows)
    rejected = slice(None) if branch == 0 else slice(0)
    return RecoveredInjections(
        ifos=prepared.session.experiment.ifos,
        snr_threshold=injections.snr_threshold,
        volume=injections.volume,
        statistic=statistic,
        time=time,
        injection_time=injections.time[rows],
        snr=injections.snr[rows],
        ifo_snr=injections.ifo_snr[rows],
        fold=np.full(len(time), prepared.fold, dtype=np.int16),
        parameters={name: values[rows] for name, values in injections.parameters.items()},
        stream=injections.stream,
        rejected={name: values[rejected] for name, values in injections.rejected.items()},
        rejected_snr=injections.rejected_snr[rejected],
        rejected_file=injections.rejected_file[rejected],
        rejected_draw=injections.rejected_draw[rejected],
    )


def joined_foreground(parts: list[RecoveredInjections]) -> RecoveredInjections:
    """The injections of all branches, in the order of the branches.

    Args:
        parts: What `find_foreground` gave for each.
    """

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    def group(name: str) -> dict[str, np.ndarray]:
        keys = getattr(parts[0], name)
        return {key: np.concatenate([getattr(part, name)[key] for part in parts]) for key in keys}

    first = parts[0]
    names = ("statistic", "time", "injection_time", "snr", "ifo_snr", "fold")
    rejected = ("rejected_snr", "rejected_file", "rejected_draw")
    return RecoveredInjections(
        ifos=first.ifos,
        snr_threshold=first.snr_threshold,
        volume=first.volume,
        stream=first.stream,
        parameters=group("parameters"),
        rejected=group("rejected"),
        **{name: column(name) for name in (*names, *rejected)},
    )
