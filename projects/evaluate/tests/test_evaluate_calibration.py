"""Whether the report's own check of p_astro tells a good one from a bad one."""

from types import SimpleNamespace

import numpy as np
import pytest
from evaluate.calibration import EDGES, Calibration, calibrate, reliability
from evaluate.origin import fit_mixture, weigh
from evaluate.volume import Draws

SEARCHED, NUM_SLIDES, NOISE_RATE = 1e5, 60, 0.01


def search(rng, num_injections=3000, others=1.0, num_slides=NUM_SLIDES):
    """Results of two folds; statistics of every second slide are stretched by `others`."""
    folds, draws = [], []
    for fold, (scale, offset) in enumerate(((1.0, 0.0), (0.2, 5.0))):
        slide = np.repeat(np.arange(num_slides), rng.poisson(NOISE_RATE * SEARCHED, num_slides))
        noise = rng.exponential(size=len(slide)) * np.where(slide % 2, others, 1.0)
        signal = 3 * rng.power(3, num_injections) ** -2.0 + rng.normal(0, 1, num_injections)
        folds.append(
            SimpleNamespace(
                fold=fold,
                background=SimpleNamespace(
                    statistic=offset + scale * noise,
                    slide=slide + 1,
                    slide_livetime=np.full(num_slides, SEARCHED),
                    livetime=num_slides * SEARCHED,
                ),
                zero_lag=SimpleNamespace(livetime=SEARCHED),
                injections=SimpleNamespace(
                    statistic=offset + scale * signal,
                    time=np.zeros(num_injections),
                    injection_time=np.zeros(num_injections),
                    parameters={},
                ),
            )
        )
        draws.append(Draws(np.ones(num_injections), 2 * num_injections, 1.0, SEARCHED))
    return folds, draws


def check(rng, **options):
    folds, draws = search(rng, **options)
    return calibrate(folds, draws, 1.0, 0.9, np.random.default_rng(7))


def test_a_right_search_is_seldom_warned_of():
    rng = np.random.default_rng(1)
    found = [check(rng) for _ in range(8)]
    assert sum(one.warning is not None for one in found) <= 1
    for one in found:
        assert one.num_searches == 30
        # 200 noise events in each search, and 20 signals
        assert one.num_events.sum() == pytest.approx(30 * 220, rel=0.05)
        assert one.num_signals.sum() == pytest.approx(600, rel=0.2)
    expected = sum(np.sum(one.expected * one.num_events) for one in found)
    assert expected == pytest.approx(sum(one.num_signals.sum() for one in found), rel=0.05)
    # the error bars hold the diagonal about as often as they say
    inside = [np.mean((one.lower <= one.expected) & (one.expected <= one.upper)) for one in found]
    assert np.mean(inside) > 0.75


def test_noise_that_is_louder_than_the_densities_know_is_told():
    rng = np.random.default_rng(2)
    for others in (0.75, 1.4):
        wrong = check(rng, others=others)
        assert wrong.warning.startswith("p_astro is not calibrated: in searches of which the")
        assert "No bin is off" not in wrong.sentence


def test_it_is_the_same_again_and_for_weights_that_leave_half_out():
    folds, draws = search(np.random.default_rng(3))
    first, again = (calibrate(folds, draws, 1.0, 0.9, np.random.default_rng(5)) for _ in "12")
    np.testing.assert_array_equal(first.num_signals, again.num_signals)
    np.testing.assert_array_equal(first.expected, again.expected)
    # injections without weight, as loud as nothing of the population, take no part
    for i, result in enumerate(folds):
        loud = np.full(3000, 1e4)
        result.injections.statistic = np.concatenate([result.injections.statistic, loud])
        result.injections.time = result.injections.injection_time = np.zeros(6000)
        draws[i] = Draws(np.repeat([1.0, 0.0], 3000), 12000, 1.0, SEARCHED)
    weighted = calibrate(folds, draws, 1.0, 0.9, np.random.default_rng(5))
    assert weighted.warning is None
    assert weighted.num_signals.sum() == pytest.approx(600, rel=0.2)


@pytest.mark.parametrize("options", [{"num_injections": 40}, {"num_slides": 1}])
def test_too_little_to_divide(options):
    assert check(np.random.default_rng(4), **options) is None


def test_fewer_signals_where_injections_are_few():
    few = check(np.random.default_rng(5), num_injections=300)
    # half of what the other half has above the threshold
    assert 40 < few.num_signals.sum() < 160


def test_bins_and_sentences():
    p_astro = np.array([0.0, 0.01, 0.5, 0.5, 0.5, 1.0])
    made = reliability(p_astro, np.array([0, 0, 1, 0, 0, 1], dtype=bool), 3, 0.9)
    assert isinstance(made, Calibration)
    np.testing.assert_allclose(made.expected, [0.005, 0.5, 1])
    np.testing.assert_allclose(made.fraction, [0, 1 / 3, 1])
    assert made.num_events.tolist() == [2, 3, 1]
    assert len(EDGES) > 5
    assert not made.off.any()
    many = reliability(np.full(1000, 0.5), np.arange(1000) < 700, 3, 0.9)
    assert many.off.tolist() == [True]
    assert "0.70 of the 1000 events with a p_astro about 0.50 are signals (0.68 to 0.72)" in (
        many.warning
    )
    # as far off as a reader would not notice
    assert reliability(np.full(100_000, 0.5), np.arange(100_000) < 54_000, 3, 0.9).warning is None


def test_what_is_weighed_is_not_what_was_fitted_and_comes_by_its_weight(monkeypatch):
    """Signals and noise of the other halves; as many in each fold as the population gives it."""
    folds, draws = search(np.random.default_rng(6), num_injections=20_000)
    loud = [
        result.injections.statistic > np.median(result.injections.statistic) for result in folds
    ]
    # the loud ones weigh nine times as much, and the second fold sees a fourth of the first
    draws = [
        Draws(np.where(some, 9.0, 1.0), number, 1.0, SEARCHED)
        for some, number in zip(loud, (40_000, 160_000), strict=True)
    ]
    fitted, weighed = [], []

    def fit(background, livetime, injections, drawn, searched, near, used):
        fitted.append((background, livetime, injections.statistic[used]))
        return fit_mixture(background, livetime, injections, drawn, searched, near, used)

    def look(events, mixtures, livetimes):
        weighed.append(events)
        return weigh(events, mixtures, livetimes)

    monkeypatch.setattr("evaluate.calibration.fit_mixture", fit)
    monkeypatch.setattr("evaluate.calibration.weigh", look)
    made = calibrate(folds, draws, 1.0, 0.9, np.random.default_rng(8))
    placed = [event for events in weighed for event in events]
    numbers = []
    for fold, result in enumerate(folds):
        background, livetime, injections = fitted[fold]
        assert livetime == NUM_SLIDES / 2 * SEARCHED
        assert len(injections) == 10_000
        noise = [e.statistic for e in placed if e.fold == fold and not e.is_signal]
        signals = [e.statistic for e in placed if e.fold == fold and e.is_signal]
        assert not np.isin(noise, background).any()
        assert np.isin(noise, result.background.statistic).all()
        assert not np.isin(signals, injections).any()
        assert np.isin(signals, result.injections.statistic).all()
        limit = np.median(result.injections.statistic)
        above = np.sort(result.injections.statistic)[-10_000:]
        seen = result.injections.statistic[result.injections.statistic >= min(signals)]
        expected = 9 * len(above) / (9 * len(above) + len(seen) - len(above))
        assert np.mean(np.array(signals) > limit) == pytest.approx(expected, abs=0.06)
        numbers.append(len(signals))
    assert numbers[1] / sum(numbers) == pytest.approx(0.2, abs=0.07)
    assert made.num_signals.sum() == sum(numbers)
