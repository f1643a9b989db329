"""False-alarm rates against simulated Poisson processes of known rate."""

import numpy as np
import pytest
from astropy.stats import poisson_conf_interval
from evaluate.rates import (
    YEAR,
    expected_noise_events,
    false_alarm_probability,
    false_alarm_rate,
    poisson_interval,
    threshold_at_far,
    thresholds_at_far,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson


def test_year_is_julian():
    assert YEAR == 31_557_600


def test_count_includes_ties_and_order_does_not_matter():
    background = np.array([3.0, 1.0, 2.0, 2.0, 5.0])
    far = false_alarm_rate(np.array([2.0, 2.1, 5.0, 0.0]), background, livetime=2 * YEAR)
    np.testing.assert_array_equal(far.count, [4, 2, 1, 5])
    np.testing.assert_allclose(far.rate, [2, 1, 0.5, 2.5])


def test_rate_is_never_below_what_the_livetime_supports():
    far = false_alarm_rate(np.array([10.0]), np.array([1.0, 2.0]), livetime=YEAR / 4)
    assert far.is_upper_limit.all()
    assert far.rate[0] == 4
    assert far.lower[0] == 0
    # a mean of m gives no event with probability exp(-m) = 5% at the end of the 90% interval
    np.testing.assert_allclose(far.upper[0], -np.log(0.05) * 4)


def test_quieter_than_the_background_keeps_is_a_lower_limit():
    far = false_alarm_rate(np.array([0.5, 1.5]), np.array([1.0, 2.0]), YEAR, kept_above=1.0)
    np.testing.assert_array_equal(far.is_lower_limit, [True, False])


@pytest.mark.parametrize("livetime", [0.0, -1.0, np.nan])
def test_livetime_must_be_positive(livetime):
    with pytest.raises(ValueError, match="livetime"):
        false_alarm_rate(np.array([1.0]), np.array([1.0]), livetime)
    with pytest.raises(ValueError, match="livetime"):
        threshold_at_far(1.0, np.array([1.0]), livetime)


def test_interval_is_that_of_astropy():
    count = np.array([1, 2, 5, 40, 1000])
    low, high = poisson_interval(count, 0.6826894921370859)
    expected = poisson_conf_interval(count, interval="frequentist-confidence", sigma=1)
    np.testing.assert_allclose([low, high], expected, rtol=1e-6)


@pytest.mark.parametrize("mean", [0.3, 2.0, 7.5, 60.0])
@pytest.mark.parametrize("interval", [0.68, 0.9])
def test_interval_covers(mean, interval):
    count = np.random.default_rng(1).poisson(mean, size=4000)
    low, high = poisson_interval(count, interval)
    coverage = np.mean((low <= mean) & (mean <= high))
    error = np.sqrt(interval * (1 - interval) / 4000)
    assert coverage > interval - 4 * error
    if mean > 50:  # exact but for the discreteness of counts
        assert coverage < interval + 0.07


def simulate(rng, rate, livetime, scale=1.0):
    """Poisson process with exponential statistics: rate above x is rate * exp(-x / scale)."""
    return scale * rng.exponential(size=rng.poisson(rate * livetime))


def test_rate_is_unbiased():
    rng = np.random.default_rng(2)
    livetime, rate, x = YEAR / 10, 200 / YEAR, 1.5
    backgrounds = [simulate(rng, rate, livetime) for _ in range(2000)]
    counted = [false_alarm_rate(np.array([x]), b, livetime) for b in backgrounds]
    rates = np.array([c.count[0] * YEAR / livetime for c in counted])
    truth = 200 * np.exp(-x)
    assert abs(rates.mean() - truth) < 4 * rates.std() / np.sqrt(2000)
    # the floor acts only where nothing was counted
    for c in counted:
        assert c.rate[0] == max(c.count[0], 1) * YEAR / livetime
    covered = [c.lower[0] <= truth <= c.upper[0] for c in counted]
    assert np.mean(covered) > 0.88


@pytest.mark.parametrize("mean", [0.3, 3.0, 10.0])
def test_ten_thousand_experiments_are_covered_as_stated(mean):
    """Backgrounds from which an event's rate is read, with its interval, as in a report."""
    rng = np.random.default_rng(11)
    livetime, interval, experiments = YEAR / 7, 0.9, 10_000
    # of all events, one in fifty is at least as loud as the one asked for
    loudness, rate = np.log(50), 50 * mean / livetime
    covered = np.empty(experiments, dtype=bool)
    for i in range(experiments):
        background = simulate(rng, rate, livetime)
        far = false_alarm_rate(np.array([loudness]), background, livetime, interval)
        covered[i] = far.lower[0] <= 7 * mean <= far.upper[0]
    # of the interval of Garwood: counts of which the interval holds the mean
    counts = np.arange(200)
    low, high = poisson_interval(counts, interval)
    exact = poisson.pmf(counts, mean)[(low <= mean) & (mean <= high)].sum()
    assert exact >= interval
    assert abs(covered.mean() - exact) < 4 * np.sqrt(exact * (1 - exact) / experiments) + 1e-4


@pytest.mark.parametrize("count", [0, 1, 7])
def test_probability_of_a_false_alarm_anywhere_in_the_search(count):
    """Ten thousand searches of noise: how many hold an event that looks so significant."""
    rng = np.random.default_rng(12)
    livetime, searched, rate, experiments = 2e6, 3e5, 1e-4, 10_000
    happened = 0
    for _ in range(experiments):
        background = np.sort(rng.random(rng.poisson(rate * livetime)))
        events = rng.random(rng.poisson(rate * searched))
        louder = len(background) - np.searchsorted(background, events)
        happened += bool(np.any(louder <= count))
    expected = float(false_alarm_probability(count, livetime, searched))
    spread = 4 * np.sqrt(expected * (1 - expected) / experiments)
    assert happened / experiments == pytest.approx(expected, abs=spread)
    assert expected < expected_noise_events(count, livetime, searched)
    tiny = false_alarm_probability(np.array([0]), 1e12, 1.0)
    np.testing.assert_allclose(tiny, expected_noise_events(0, 1e12, 1.0))


def test_thresholds_of_several_rates_are_those_of_each():
    background = np.random.default_rng(13).integers(0, 30, 200).astype(float)
    rates = [0.1, 1.0, 17.3, 50.0, 1e4]
    assert thresholds_at_far(rates, background, YEAR) == [
        threshold_at_far(far, background, YEAR) for far in rates
    ]


@pytest.mark.parametrize("allowed", [1, 2, 10])
def test_threshold_is_unbiased(allowed):
    rng = np.random.default_rng(3)
    livetime, rate = YEAR / 5, 1000 / YEAR
    far = allowed * YEAR / livetime
    truths = []
    for _ in range(2000):
        threshold = threshold_at_far(far, simulate(rng, rate, livetime), livetime)
        truths.append(1000 * np.exp(-threshold))
    assert abs(np.mean(truths) - far) < 4 * np.std(truths) / np.sqrt(2000)


def test_threshold_below_one_event_is_not_supported():
    background = np.array([5.0, 4.0, 3.0])
    assert threshold_at_far(0.99, background, YEAR) is None
    assert threshold_at_far(1.0, background, YEAR) == 5.0
    assert threshold_at_far(2.5, background, YEAR) == 4.0
    assert threshold_at_far(1000, background, YEAR) == 3.0


def test_threshold_with_ties():
    background = np.array([5.0, 4.0, 4.0, 4.0, 3.0])
    assert threshold_at_far(1, background, YEAR) == 5.0
    # two or three events allowed, but the 4s come together and make four
    assert threshold_at_far(2, background, YEAR) == 5.0
    assert threshold_at_far(3, background, YEAR) == 5.0
    assert threshold_at_far(4, background, YEAR) == 4.0
    top = threshold_at_far(1, np.array([4.0, 4.0]), YEAR)
    assert top is not None
    assert 4.0 < top < 4.0 + 1e-12


@settings(deadline=None, derandomize=True)
@given(
    background=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    livetime=st.floats(0.3, 40),
    far=st.floats(0.01, 20),
)
def test_what_passes_a_threshold_has_at_most_this_rate(background, livetime, far):
    events = np.array(background, dtype=float)
    threshold = threshold_at_far(far, events, livetime * YEAR)
    grid = np.unique(np.concatenate([events, events + 0.5, [100.0]]))
    rates = false_alarm_rate(grid, events, livetime * YEAR).rate
    if threshold is None:
        assert (rates > far).all()
    else:
        assert (rates[grid >= threshold] <= far).all()
        # background events below the threshold exceed the rate
        quieter = grid[np.isin(grid, events) & (grid < threshold)]
        assert (false_alarm_rate(quieter, events, livetime * YEAR).rate > far).all()


@settings(deadline=None, derandomize=True)
@given(livetime=st.floats(1e-3, 1e3), count=st.integers(1, 50))
def test_threshold_at_the_rate_of_an_event_is_that_event(livetime, count):
    background = np.arange(60.0)
    far = false_alarm_rate(np.array([60.0 - count]), background, livetime * YEAR)
    assert threshold_at_far(far.rate[0], background, livetime * YEAR) == 60.0 - count


def test_rounding_does_not_move_a_threshold():
    """1 / 49 times 49 is less than 1 in floating point, for example."""
    background = np.arange(30.0)
    for years in range(1, 80):
        for count in range(1, 20):
            far = count / years
            assert threshold_at_far(far, background, years * YEAR) == 30 - count
            less = threshold_at_far(np.nextafter(far, 0), background, years * YEAR)
            assert less == (31 - count if count > 1 else None)


class TestFolds:
    """Rate of false alarms in a search made of two folds with different networks."""

    rates = (3e-3, 9e-3)  # events per second
    scales = (1.0, 7.0)
    searched = (3e5, 7e5)
    livetimes = (4e6, 9e6)
    far = 40 * YEAR / 4e6

    def count(self, rng, searched, far):
        """False alarms of one search with a rate of at most `far`."""
        total = 0
        for rate, scale, time, livetime in zip(
            self.rates, self.scales, searched, self.livetimes, strict=True
        ):
            background = simulate(rng, rate, livetime, scale)
            events = simulate(rng, rate, time, scale)
            total += np.sum(events >= threshold_at_far(far, background, livetime))
        return total

    def mean(self, searched, far):
        rng = np.random.default_rng(4)
        counts = [self.count(rng, searched, far) for _ in range(400)]
        return np.mean(counts), np.std(counts) / 20

    def test_disjoint_folds_need_no_trials_factor(self):
        mean, error = self.mean(self.searched, self.far)
        expected = self.far * sum(self.searched) / YEAR
        assert abs(mean - expected) < 4 * error

    def test_a_factor_for_the_number_of_folds_would_be_wrong(self):
        """Multiplying an event's rate by 2 is to ask for half the rate in its fold."""
        mean, error = self.mean(self.searched, self.far / 2)
        expected = self.far * sum(self.searched) / YEAR
        assert mean < 0.6 * expected
        assert abs(mean - expected / 2) < 4 * error

    def test_folds_that_search_the_same_time_would_need_it(self):
        mean, error = self.mean((1e6, 1e6), self.far)
        assert abs(mean - 2 * self.far * 1e6 / YEAR) < 4 * error

    def test_expected_noise_events(self):
        """Search events with no more than n louder background events, all folds together."""
        rng = np.random.default_rng(5)
        livetime, n = 4e6, 7
        numbers = []
        for _ in range(1500):
            for scale, time in zip(self.scales, self.searched, strict=True):
                background = simulate(rng, 2e-4, livetime, scale)
                events = simulate(rng, 2e-4, time, scale)
                far = false_alarm_rate(events, background, livetime)
                numbers.append(np.sum(far.count <= n))
        per_search = np.reshape(numbers, (-1, 2)).sum(axis=1)
        expected = expected_noise_events(n, livetime, sum(self.searched))
        error = per_search.std() / np.sqrt(len(per_search))
        assert abs(per_search.mean() - expected) < 4 * error
