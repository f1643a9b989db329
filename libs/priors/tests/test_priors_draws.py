"""Numbered draws."""

import numpy as np
import pytest
from priors import population
from priors.draws import CHUNK_SIZE, NumberedDraws


@pytest.fixture
def draws() -> NumberedDraws:
    return NumberedDraws(
        population("end_o3_ratesandpops", 1.0), lambda chunk: np.random.default_rng([7, chunk])
    )


def test_a_draw_depends_on_its_number_alone(draws: NumberedDraws) -> None:
    many = draws.take(np.arange(3 * CHUNK_SIZE))
    some = np.random.default_rng(1).permutation(3 * CHUNK_SIZE)[:200]
    for name, values in draws.take(some).items():
        np.testing.assert_array_equal(values, many[name][some])
    # chunks are not one chunk over and over
    assert len(np.unique(many["redshift"])) == 3 * CHUNK_SIZE


def test_nothing_has_the_names_of_something(draws: NumberedDraws) -> None:
    assert draws.take(np.zeros(0, dtype=int)).keys() == draws.take(np.array([5])).keys()
