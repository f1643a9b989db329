"""Parameters of the rejected draws, kept or drawn again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from ledger import RecoveredInjections
from priors import Population
from priors.draws import NumberedDraws
from runtime import generator_for

from evaluate.inputs import FoldResult


def rejected_parameters(
    injections: RecoveredInjections, population: Population, seed: int
) -> Mapping[str, np.ndarray]:
    """Parameters of the rejected draws.

    A set of injections that keeps parameters alone has only the numbers of its rejected draws:
    they are drawn again, the same to the last bit.

    Args:
        injections: Recovered injections with the rejected draws.
        population: What they were drawn from.
        seed: Seed of the experiment.

    Returns:
        Parameters by name, of shape (rejected,).
    """
    if injections.rejected:
        return injections.rejected
    stream, files = injections.stream, np.asarray(injections.rejected_file)
    numbers = np.asarray(injections.rejected_draw)
    parts = []
    for file in np.unique(files):
        draws = NumberedDraws(
            population,
            lambda chunk, file=int(file): generator_for(seed, stream, file, chunk),
        )
        here = np.flatnonzero(files == file)
        parts.append((here, draws.take(numbers[here])))
    found = {name: np.empty(len(files)) for _, part in parts[:1] for name in part}
    for here, part in parts:
        for name, values in part.items():
            found[name][here] = values
    return found


def with_rejected(result: FoldResult, population: Population, seed: int) -> FoldResult:
    """A fold's results with the parameters of its rejected draws; see `rejected_parameters`."""
    rejected = dict(rejected_parameters(result.injections, population, seed))
    return replace(result, injections=replace(result.injections, rejected=rejected))
