"""Intervals of false-alarm rates where one glitch makes many background events."""

from types import SimpleNamespace

import numpy as np
import pytest
from evaluate.candidates import Candidate
from evaluate.dispersion import NUM_EXACT, Dispersion
from evaluate.rates import YEAR, poisson_interval
from evaluate.repeats import find_repeats
from evaluate.widening import with_dispersion
from scipy.stats import norm

SEARCHED, WINDOW = 1e6, 2.0
NUM_SLIDES = 20


def background(statistic, times):
    return SimpleNamespace(
        ifos=("H1", "L1"),
        statistic=np.asarray(statistic, dtype=float),
        time=np.asarray(times, dtype=float).reshape(-1, 2),
        analysed=np.array([[0.0, SEARCHED]]),
    )


def with_glitches(rng, alone, glitches, loud=1.0):
    """Events that stand alone, and glitches of H1 that are in all slides.

    Statistics are exponential above 0, and those of a glitch about a loudness of its own.
    """
    number = rng.poisson(alone)
    statistic, times = [rng.exponential(size=number)], [rng.uniform(0, SEARCHED, (number, 2))]
    for _ in range(rng.poisson(glitches)):
        at = rng.uniform(0, SEARCHED, (NUM_SLIDES, 2))
        at[:, 0] = at[0, 0] + rng.normal(0, 0.05, NUM_SLIDES)
        statistic.append(rng.normal(loud, 0.5, NUM_SLIDES))
        times.append(at)
    return background(np.concatenate(statistic), np.concatenate(times))


def test_without_repeats_it_is_the_interval_of_garwood():
    rng = np.random.default_rng(1)
    times = np.stack([rng.permutation(300), rng.permutation(300)], axis=1) * 1000.0
    dispersion = Dispersion(background(rng.random(300), times), WINDOW)
    count = np.array([0, 1, 2, 10, 100, 128, 250, 300])
    np.testing.assert_allclose(dispersion.interval(count, 0.9), poisson_interval(count, 0.9))
    np.testing.assert_allclose(dispersion.effective(count), count)
    assert (
        Dispersion(background([], []), WINDOW).interval(np.array([0]), 0.9)[1]
        == (poisson_interval(np.array([0]), 0.9)[1])
    )


@pytest.mark.parametrize("size", [3, 40])
def test_a_background_of_equal_groups_is_that_of_its_groups(size):
    """Each disturbance makes so many events: the number of disturbances is a Poisson number."""
    rng = np.random.default_rng(2)
    groups = 30
    times = rng.uniform(0, SEARCHED, (groups * size, 2))
    times[:, 0] = np.repeat(1000.0 * (1 + rng.permutation(groups)), size)
    statistic = np.repeat(np.arange(groups), size) + 0.5 * rng.random(groups * size)
    dispersion = Dispersion(background(statistic, times), WINDOW)
    count = size * np.array([5, 10, 30])
    low, high = poisson_interval(count / size, 0.9)
    # interpolated where there are more than are looked at one by one, and less by chance pairs
    expected = np.array([low * size, high * size])
    np.testing.assert_allclose(dispersion.interval(count, 0.9), expected, rtol=0.06)
    assert dispersion.largest_group(count) == pytest.approx(size)
    assert dispersion.interval(np.array([0]), 0.9)[1] > 3 * min(size, 10) * 0.99


@pytest.mark.parametrize(("alone", "glitches", "at"), [(4, 4, 0.5), (10, 5, 1.0), (60, 6, 1.5)])
def test_ten_thousand_experiments_with_repeats_are_covered(alone, glitches, at):
    """The interval holds the true rate as stated, which that of Poisson does not."""
    rng = np.random.default_rng(3)
    content, experiments = 0.9, 10_000
    truth = alone * np.exp(-at) + glitches * NUM_SLIDES * norm.sf(at, 1.0, 0.5)
    covered, plain = np.zeros(experiments, dtype=bool), np.zeros(experiments, dtype=bool)
    for i in range(experiments):
        events = with_glitches(rng, alone, glitches)
        count = np.array([np.count_nonzero(events.statistic >= at)])
        low, high = Dispersion(events, WINDOW).interval(count, content)
        covered[i] = low[0] <= truth <= high[0]
        low, high = poisson_interval(count, content)
        plain[i] = low[0] <= truth <= high[0]
    error = 4 * np.sqrt(content * (1 - content) / experiments)
    assert covered.mean() > content - error
    assert plain.mean() < content - 0.1


def test_deep_in_the_background_pairs_are_counted_as_at_its_top():
    """By sorted times, against all pairs one by one."""
    rng = np.random.default_rng(4)
    events = with_glitches(rng, 700, 20)
    number = len(events.statistic)
    assert number > 4 * NUM_EXACT
    common = np.abs(events.time[:, None] - events.time) < WINDOW
    chance = 2 * number * (number - 1) * 2 * WINDOW / SEARCHED
    expected = number + common.sum() - 2 * number - chance
    dispersion = Dispersion(events, WINDOW)
    assert dispersion.variance(np.array([number]))[0] == pytest.approx(expected)
    assert dispersion.variance(np.array([10 * number]))[0] == pytest.approx(10 * expected)
    assert dispersion.largest_group(np.array([number]))[0] == common.sum(axis=1).max()
    # and with none left out at the top
    top = find_repeats(events, WINDOW, number)
    assert dispersion.effective(np.array([number]))[0] == pytest.approx(top.num_effective)


def test_events_get_the_interval_of_their_own_fold():
    rng = np.random.default_rng(5)
    quiet = background(rng.random(30), 1000.0 * np.arange(60).reshape(30, 2))
    loud = with_glitches(rng, 1, 30)
    dispersions = [Dispersion(quiet, WINDOW), Dispersion(loud, WINDOW)]

    def event(fold, far):
        interval = None if far is None else (1.0, 2.0)
        return Candidate(0.0, 1.0, fold, 0, 200, far, interval, False, 1.0, 0.5, None)

    events = [event(1, 4.0), event(0, 4.0), event(0, None)]
    wide, plain, none = with_dispersion(events, dispersions, [2 * YEAR, 2 * YEAR], 0.9)
    low, high = poisson_interval(np.array(200), 0.9)
    assert plain.far_interval == pytest.approx((low / 2, high / 2))
    assert wide.far_interval[0] < 0.9 * low / 2
    assert wide.far_interval[1] > 1.1 * high / 2
    assert wide.far == 4.0
    assert none.far_interval is None
