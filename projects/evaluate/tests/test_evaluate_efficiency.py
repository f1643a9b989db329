import numpy as np
import pytest
from evaluate.efficiency import binomial_interval, found_fraction, snr_edges
from scipy.stats import binomtest


@pytest.mark.parametrize(("found", "total"), [(0, 5), (5, 5), (3, 10), (70, 71)])
def test_interval_is_that_of_scipy(found, total):
    expected = binomtest(found, total).proportion_ci(0.9, method="exact")
    low, high = binomial_interval(np.array([found]), np.array([total]), 0.9)
    np.testing.assert_allclose([low[0], high[0]], [expected.low, expected.high], rtol=1e-6)


def test_interval_of_nothing_is_everything():
    low, high = binomial_interval(np.array([0]), np.array([0]), 0.9)
    assert (low[0], high[0]) == (0, 1)


def test_fraction_of_simulated_injections_is_covered():
    rng = np.random.default_rng(1)
    edges = np.array([4.0, 8.0, 12.0, 30.0])
    truth = np.array([0.1, 0.6, 0.97])
    covered = np.zeros(3)
    for _ in range(500):
        snr = rng.uniform(4, 30, size=300)
        place = np.digitize(snr, edges) - 1
        result = found_fraction(snr, rng.random(300) < truth[place], edges, 0.9)
        covered += (result.lower <= truth) & (truth <= result.upper)
    assert (covered / 500 > 0.87).all()


def test_every_injection_is_in_a_bin():
    snr = np.array([4.0, 5.0, 6.0, 90.0, 2000.0])
    found = np.array([False, False, True, True, True])
    result = found_fraction(snr, found, snr_edges(snr), 0.9)
    assert result.num_total.sum() == 5
    assert result.num_found.sum() == 3
    assert np.isnan(result.fraction[result.num_total == 0]).all()
    assert result.fraction[-1] == 1


def test_edges_of_equal_snr_ascend():
    assert (np.diff(snr_edges(np.full(3, 7.0))) > 0).all()
