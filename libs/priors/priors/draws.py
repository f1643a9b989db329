"""Draws with numbers: any of them can be made again from its number alone."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from priors.populations import Population

# Draws that share a generator; a change would change every draw.
CHUNK_SIZE = 4096


class NumberedDraws:
    """An endless numbered sequence of draws from a population.

    A draw depends on its number and on the generators, not on which others are taken or when. So a
    set of injections can keep the number of a rejected draw in place of its parameters.

    Args:
        population: What to draw from.
        generator_of: Gives a new generator for a chunk's number, the same for the same number.
    """

    def __init__(
        self, population: Population, generator_of: Callable[[int], np.random.Generator]
    ) -> None:
        self.population = population

        @functools.lru_cache(maxsize=4)
        def chunk(number: int) -> dict[str, np.ndarray]:
            return population.sample(CHUNK_SIZE, generator_of(number))

        self._chunk = chunk

    def take(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters of some draws.

        Args:
            numbers: Their numbers, from 0, in any order.

        Returns:
            Parameters by name, of shape (len(numbers),).
        """
        chunks, rows = np.divmod(np.asarray(numbers, dtype=np.int64), CHUNK_SIZE)
        taken = {
            name: np.empty(len(rows), dtype=values.dtype)
            for name, values in self._chunk(0).items()
        }
        for number in np.unique(chunks):
            here = chunks == number
            for name, values in self._chunk(int(number)).items():
                taken[name][here] = values[rows[here]]
        return taken
