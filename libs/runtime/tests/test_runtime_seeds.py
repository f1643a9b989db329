"""Random numbers depend on the seed and the purpose alone."""

import itertools

import numpy as np
from runtime import generator_for, seed_for


def test_seeds_differ_by_seed_purpose_and_branch():
    seeds = {
        seed_for(seed, purpose, branch)
        for seed, purpose, branch in itertools.product(range(5), ("a", "b"), range(50))
    }
    assert len(seeds) == 500
    assert all(0 <= seed < 2**63 for seed in seeds)
    # the parts are kept apart: 1 and 23 is not 12 and 3
    assert seed_for(1, "23") != seed_for(12, "3")


def test_the_same_purpose_gives_the_same_numbers_in_any_order():
    first = generator_for(7, "simulate", "H1", 0).normal(size=5)
    generator_for(7, "simulate", "L1", 0).normal(size=100)
    np.testing.assert_array_equal(generator_for(7, "simulate", "H1", 0).normal(size=5), first)


def test_streams_of_two_branches_are_independent():
    a, b = (generator_for(7, "simulate", branch).normal(size=100_000) for branch in (0, 1))
    # the correlation of independent streams has a standard deviation of 1/316
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / 316
