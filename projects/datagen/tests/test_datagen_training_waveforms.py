"""Sources to train on are drawn as they are seen."""

import numpy as np
import priors
import pytest
from datagen.training_waveforms import chirp_mass, seen_sources


@pytest.mark.parametrize("exponent", [0.0, 1.5, 2.5])
def test_sources_follow_the_weighted_population(exponent: float) -> None:
    """Compare with the population weighted by hand: same quantiles of mass and of redshift."""
    population = priors.population("end_o3_ratesandpops", 1.0)
    drawn = seen_sources(population, 4000, exponent, np.random.default_rng(1))
    plain = population.sample(200_000, np.random.default_rng(2))
    weight = chirp_mass(plain) ** exponent
    assert all(len(values) == 4000 for values in drawn.values())
    for name in ("mass_1_source", "mass_2_source", "redshift"):
        order = np.argsort(plain[name])
        cumulative = np.cumsum(weight[order]) / weight.sum()
        for quantile in (0.1, 0.5, 0.9):
            edge = plain[name][order][np.searchsorted(cumulative, quantile)]
            # five times the binomial standard deviation of 4000 draws
            assert np.mean(drawn[name] < edge) == pytest.approx(
                quantile, abs=5 * np.sqrt(quantile * (1 - quantile) / 4000)
            )


def test_same_generator_same_sources() -> None:
    population = priors.population("end_o3_ratesandpops", 1.0)
    one, two = (seen_sources(population, 50, 1.5, np.random.default_rng(3)) for _ in range(2))
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name])
