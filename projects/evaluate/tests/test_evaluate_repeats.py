"""Glitches that come back in time slides."""

from types import SimpleNamespace

import numpy as np
import pytest
from evaluate.rates import YEAR, false_alarm_rate
from evaluate.repeats import find_repeats, repeat_notes

SEARCHED, STEP, WINDOW = 1e5, 6.0, 2.0
START = 1_126_000_000.0


def slides(rng, num_slides, rate, glitches=(), step=STEP):
    """Background of time slides: noise, and glitches of one detector that are in every slide.

    A glitch is a detector, a time, and a mean statistic; in each slide it meets other noise.
    """
    statistic, times = [], []
    for slide in range(1, num_slides + 1):
        size = rng.poisson(rate * SEARCHED)
        statistic.append(rng.exponential(size=size))
        first = rng.uniform(0, SEARCHED, size)
        for ifo, when, loud in glitches:
            statistic.append([loud + rng.normal()])
            # where the other detector's data then are
            at = when if ifo == 0 else (when - slide * step) % SEARCHED
            first = np.append(first, at + rng.normal(0, 0.05))
        times.append(np.stack([first, (first + slide * step) % SEARCHED], axis=1))
    return SimpleNamespace(
        ifos=("H1", "L1"),
        statistic=np.concatenate(statistic),
        time=START + np.concatenate(times),
        analysed=np.array([[START, START + SEARCHED]]),
    )


def test_noise_repeats_itself_only_by_chance():
    rng = np.random.default_rng(1)
    effective = []
    for _ in range(30):
        repeats = find_repeats(slides(rng, 50, 1e-3), WINDOW)
        assert repeats.num_events == 100
        assert repeats.num_seen_twice == 0
        assert repeat_notes(repeats, STEP, WINDOW) == []
        effective.append(repeats.num_effective)
    assert np.mean(effective) == pytest.approx(100, abs=1.5)


def test_a_planted_glitch_is_found_in_its_detector():
    rng = np.random.default_rng(2)
    background = slides(rng, 40, 1e-3, [(0, 5e4, 12.0), (1, 7e4, 11.0)])
    repeats = find_repeats(background, WINDOW)
    first, second = repeats.times[:2]
    assert {first.ifo, second.ifo} == {"H1", "L1"}
    for time in (first, second):
        assert time.num_events == 40
        assert time.gps == pytest.approx(START + (5e4 if time.ifo == "H1" else 7e4), abs=1)
        assert time.by_chance < 1e-10
        assert time.loudest > 11
    # 40 * 39 pairs of each of the two, besides the 100, and less what chance makes
    assert repeats.num_effective == pytest.approx(1e4 / (100 + 2 * 40 * 39), rel=0.02)
    [note] = repeat_notes(repeats, STEP, WINDOW)
    assert "40 of the 100 loudest background events come from one disturbance at GPS" in note


def test_a_glitch_in_both_detectors_is_no_pair_in_any_slide():
    """Loud in both at once, it is one event of the zero lag; in a slide each half is alone."""
    rng = np.random.default_rng(3)
    background = slides(rng, 40, 1e-3, [(0, 5e4, 12.0), (1, 5e4, 12.0)])
    repeats = find_repeats(background, WINDOW)
    assert [time.num_events for time in repeats.times[:2]] == [40, 40]
    assert repeats.num_seen_twice == 0
    both = np.abs(background.time - START - 5e4) < WINDOW
    assert not both.all(axis=1).any()


def test_slides_too_close_look_at_the_same_data_twice():
    rng = np.random.default_rng(4)
    background = slides(rng, 40, 1e-3, [(0, 5e4, 30.0)], step=1.0)
    repeats = find_repeats(background, WINDOW)
    assert repeats.num_seen_twice >= 39
    notes = repeat_notes(repeats, 1.0, WINDOW)
    assert any("same data in two slides: search.slide_step is 1 s, and 4 s" in n for n in notes)


def test_a_glitch_leaves_the_rate_unbiased_but_widens_it():
    """Why its events stay in the background: on average over searches they give the truth."""
    rng = np.random.default_rng(5)
    num_slides, searches, loud = 20, 400, 9.0
    rates, truths, variances = [], [], []
    for _ in range(searches):
        # glitches of one detector, of a Poisson process: each may be in the zero lag too
        num = rng.poisson(3)
        glitches = [(0, when, 8.0) for when in rng.uniform(0, SEARCHED, num)]
        background = slides(rng, num_slides, 1e-5, glitches)
        livetime = num_slides * SEARCHED
        count = false_alarm_rate(np.array([loud]), background.statistic, livetime).count[0]
        rates.append(count * YEAR / livetime)
        repeats = find_repeats(background, WINDOW, int(count))
        variances.append(count**2 / repeats.num_effective if count else 0)
        # what noise and those glitches do in the search itself
        truths.append(np.sum(8.0 + rng.normal(size=num) >= loud) * YEAR / SEARCHED)
    rates, truths = np.array(rates), np.array(truths)
    error = np.hypot(rates.std(), truths.std()) / np.sqrt(searches)
    assert abs(rates.mean() - truths.mean()) < 4 * error
    counts = rates * livetime / YEAR
    assert counts.var() > 2 * counts.mean()
    # the effective number is the one of which the counts have the spread
    assert np.mean(variances) == pytest.approx(counts.var(), rel=0.2)
