"""Probability of being a signal, by simulated searches of which the truth is known."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from evaluate.counts import CountPosterior
from evaluate.efficiency import binomial_interval
from evaluate.foreground import Foreground
from evaluate.loudness import Loudness
from evaluate.origin import (
    CLASSES,
    NOISE_EVENTS,
    find_origins,
    fit_mixture,
    source_classes,
    weigh,
)
from evaluate.rates import threshold_at_far
from evaluate.volume import Draws

SEARCHED, LIVETIME = 1e5, 2e7  # s
NOISE_RATE = 0.01  # above a statistic of 0 [Hz]
# Scale and offset of the statistic in each of two folds
SCALES = ((1.0, 0.0), (0.2, 5.0))


def signal_statistic(rng, num):
    """Statistic of signals as loud as those of a Euclidean universe, in units of the noise's."""
    snr = 4 * rng.power(3, num) ** -1.0
    return 0.35 * np.square(snr) - 4 + rng.normal(0, 1, num)


def noise_statistic(rng, livetime):
    return rng.exponential(size=rng.poisson(NOISE_RATE * livetime))


@dataclass
class Event:
    statistic: float
    fold: int
    is_signal: bool


class SimulatedSearch:
    """Two folds of a search, of which the second has fewer signals for its time."""

    def __init__(self, rng, num_signals, num_injections=4000, livetime=LIVETIME):
        self.folds, self.draws, self.events = [], [], []
        for fold, (scale, offset) in enumerate(SCALES):
            searched = SEARCHED * (0.7, 0.3)[fold]
            signals = rng.poisson(num_signals * (0.9, 0.1)[fold])
            parts = noise_statistic(rng, searched), signal_statistic(rng, signals)
            for is_signal, part in enumerate(parts):
                self.events += [
                    Event(float(offset + scale * x), fold, bool(is_signal)) for x in part
                ]
            injected = signal_statistic(rng, num_injections)
            masses = {f"mass_{i}_source": np.full(num_injections, 30.0) for i in "12"}
            self.folds.append(
                SimpleNamespace(
                    fold=fold,
                    background=SimpleNamespace(
                        statistic=offset
                        + scale * noise_statistic(rng, livetime * (0.7, 0.3)[fold]),
                        livetime=livetime * (0.7, 0.3)[fold],
                    ),
                    zero_lag=SimpleNamespace(livetime=searched),
                    injections=SimpleNamespace(
                        statistic=offset + scale * injected,
                        time=np.zeros(num_injections),
                        injection_time=np.zeros(num_injections),
                        parameters=masses,
                    ),
                )
            )
            # signals per time in the folds are as 9 / 7 to 1 / 3
            num_drawn = round(10 * num_injections * (7 / 9, 3)[fold])
            self.draws.append(Draws(np.ones(num_injections), num_drawn, 10.0, livetime=searched))

    def origins(self):
        return find_origins(self.folds, self.events, self.draws, "any", 1.0, 0.9)


@pytest.fixture(scope="module")
def searches():
    rng = np.random.default_rng(1)
    return [(s := SimulatedSearch(rng, 30), s.origins()) for _ in range(60)]


def test_reliability(searches):
    """Of the events with a p_astro about p, the part p are signals."""
    p_astro, truth = [], []
    for search, origins in searches:
        for event, origin in zip(search.events, origins.by_candidate, strict=True):
            if origin is not None:
                p_astro.append(origin.p_astro)
                truth.append(event.is_signal)
    p_astro, truth = np.array(p_astro), np.array(truth)
    edges = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 0.995, 1.0001])
    number = np.digitize(p_astro, edges) - 1
    for i in range(len(edges) - 1):
        here = number == i
        assert here.sum() > 20
        low, high = binomial_interval(truth[here].sum(), here.sum(), 0.999)
        # densities of signals are known to a few percent of themselves
        assert low - 0.02 <= p_astro[here].mean() <= high + 0.02
    # 12,000 events of noise and 1,600 signals, all told
    assert p_astro.sum() == pytest.approx(truth.sum(), rel=0.05)


def test_number_of_signals_and_their_rate(searches):
    """The interval of the expected number covers the truth as it says."""
    covered, expected, rates = [], [], []
    for search, origins in searches:
        above = 0.0
        for fold, result in enumerate(search.folds):
            threshold = threshold_at_far(
                NOISE_EVENTS / SEARCHED * 31_557_600,
                result.background.statistic,
                result.background.livetime,
            )
            share = np.mean(result.injections.statistic >= threshold)
            above += 30 * (0.9, 0.1)[fold] * share
        covered.append(origins.signals[0] <= above <= origins.signals[2])
        expected.append(origins.signals[1] / above)
        rates.append(origins.rate[1])
        assert origins.noise_events == pytest.approx(NOISE_EVENTS, rel=0.02)
    # 90% of 60, within what 60 can tell
    assert 45 < np.sum(covered) <= 60
    assert np.mean(expected) == pytest.approx(1, abs=4 * np.std(expected) / np.sqrt(60) + 0.02)
    # 30 signals in 0.9e5 + 0.1e5 Gpc^3 s
    truth = 30 * 31_557_600 / 1e5
    assert np.mean(rates) == pytest.approx(truth, rel=4 * np.std(expected) / np.sqrt(60) + 0.03)


def test_without_signals_nothing_is_sure():
    rng = np.random.default_rng(2)
    sums = []
    for _ in range(15):
        search = SimulatedSearch(rng, 0, num_injections=1000)
        origins = search.origins()
        sums.append(sum(origin.p_astro for origin in origins.by_candidate if origin is not None))
        assert origins.signals[0] < 4
    assert np.mean(sums) < 3


def test_wrong_background_is_told_by_reliability():
    """The test can fail: half of the background taken away makes signals of noise."""
    rng = np.random.default_rng(3)
    p_astro, truth = [], []
    for _ in range(15):
        search = SimulatedSearch(rng, 30)
        for result in search.folds:
            result.background.statistic = result.background.statistic * 0.8
        for event, origin in zip(search.events, search.origins().by_candidate, strict=True):
            if origin is not None and 0.35 < origin.p_astro < 0.8:
                p_astro.append(origin.p_astro)
                truth.append(event.is_signal)
    low, high = binomial_interval(np.sum(truth), len(truth), 0.999)
    assert not low - 0.02 <= np.mean(p_astro) <= high + 0.02


def test_events_above_all_background():
    rng = np.random.default_rng(4)
    search = SimulatedSearch(rng, 20, livetime=1e6)
    loudest = search.folds[0].background.statistic.max()
    for height in (0.01, 30.0, 300.0):
        search.events.append(Event(loudest + height, 0, True))
    search.events.append(Event(loudest - 0.01, 0, True))
    near, far, farthest, below = search.origins().by_candidate[-4:]
    assert near.is_extrapolated
    assert not below.is_extrapolated
    assert below.p_astro_unextrapolated == below.p_astro
    assert near.p_astro < far.p_astro < farthest.p_astro <= 1
    assert farthest.p_astro > 1 - 1e-9
    # without a belief in the tail, how far above does not matter
    assert farthest.p_astro_unextrapolated == pytest.approx(far.p_astro_unextrapolated)
    assert farthest.p_astro_unextrapolated < 0.9999


def test_too_little_background_or_no_injection_is_none():
    rng = np.random.default_rng(5)
    search = SimulatedSearch(rng, 5, livetime=SEARCHED / NOISE_EVENTS / 2)
    assert search.origins() is None
    search = SimulatedSearch(rng, 5)
    search.draws[1] = Draws(np.zeros(4000), 4000, 1.0, 1.0)
    assert search.origins() is None


def mixtures_of(search):
    searched = sum(result.zero_lag.livetime for result in search.folds)
    return [
        fit_mixture(
            result.background.statistic,
            result.background.livetime,
            result.injections,
            drawn,
            searched,
            1.0,
        )
        for result, drawn in zip(search.folds, search.draws, strict=True)
    ]


def test_a_fold_that_sees_less_of_the_population_has_fewer_signals():
    """Equally loud events of two folds, of which one sees a tenth: odds of one to ten."""
    rng = np.random.default_rng(11)
    search = SimulatedSearch(rng, 200)
    search.folds[1], search.draws[1] = search.folds[0], search.draws[0]
    first = search.draws[0]
    search.draws[1] = Draws(first.weights, 10 * first.num_drawn, 1.0, first.livetime)
    louder = [Event(event.statistic, 0, event.is_signal) for event in search.events]
    at = 7.5
    events = [*louder, Event(at, 0, True), Event(at, 1, True)]
    weighed = weigh(events, mixtures_of(search), np.full(2, SEARCHED))
    one, other = weighed.p_astro[-2:]
    assert 0.02 < one < 0.999
    assert one / (1 - one) / (other / (1 - other)) == pytest.approx(10, rel=0.1)


def test_number_of_noise_events_is_as_uncertain_as_the_background_is_short():
    rng = np.random.default_rng(12)
    for livetime in (1e6, LIVETIME):
        search = SimulatedSearch(rng, 5, num_injections=500, livetime=livetime)
        livetimes = np.array([result.zero_lag.livetime for result in search.folds])
        mixtures = mixtures_of(search)
        weighed = weigh(search.events, mixtures, livetimes)
        number = sum(mixture.scale.num_events for mixture in mixtures)
        spread = np.std(weighed.posterior.noise) / weighed.noise_events
        # folds have about as many background events as they have time
        assert spread == pytest.approx(number**-0.5, rel=0.1)
        # and more so where glitches make nine events each
        repeated = [SimpleNamespace(effective=lambda n: n / 9)] * 2
        weighed = weigh(search.events, mixtures, livetimes, repeated)
        spread = np.std(weighed.posterior.noise) / weighed.noise_events
        assert spread == pytest.approx(3 * number**-0.5, rel=0.1)


def test_injections_found_at_another_time_are_not_found():
    rng = np.random.default_rng(13)
    search = SimulatedSearch(rng, 5, num_injections=500)
    for result in search.folds:
        result.injections.time = result.injections.time + 1.5
    assert search.origins() is None
    for result in search.folds:
        result.injections.time = np.where(np.arange(500) < 250, 0.0, -1.5)
    assert not any(mixture.found[250:].any() for mixture in mixtures_of(search))
    assert all(mixture.found[:250].any() for mixture in mixtures_of(search))


class TestLoudness:
    def test_of_exponential_noise_is_that_of_the_truth(self):
        rng = np.random.default_rng(6)
        background = 3 + 2 * rng.exponential(size=100_000)
        scale = Loudness(background)
        at = np.array([5.0, 10.0, 15.0])
        np.testing.assert_allclose(scale.of(at), (at - 3) / 2, rtol=0.03)
        assert scale.scale == pytest.approx(2, rel=0.8)
        assert scale.of(np.array([0.0]))[0] == 0
        # beyond the loudest: its rank, and the fitted scale from there
        beyond = scale.of(np.array([scale.loudest + 2 * scale.scale]))[0]
        assert beyond == pytest.approx(np.log(100_000) + 2)

    def test_a_heavy_end_is_followed(self):
        """Thirty glitches far out: the scale is theirs, not that of the bulk."""
        rng = np.random.default_rng(7)
        bulk = rng.exponential(size=50_000)
        glitches = 20 + 10 * rng.exponential(size=30)
        assert Loudness(np.concatenate([bulk, glitches])).scale > 5
        assert Loudness(bulk).scale < 2.5

    def test_ties_and_few_events(self):
        scale = Loudness(np.array([1.0, 2.0, 2.0, 3.0]))
        np.testing.assert_allclose(scale.of(np.array([1, 2, 3])), np.log([1, 4 / 3, 4]))
        alone = Loudness(np.array([5.0]))
        np.testing.assert_array_equal(alone.of(np.array([5.0, 50.0])), 0)


class TestForeground:
    def test_density_is_that_of_the_truth(self):
        """Loudness with the density 0.1 exp(-u / 10), against that of noise."""
        rng = np.random.default_rng(8)
        loudness = 10 * rng.exponential(size=50_000)
        foreground = Foreground(loudness, np.ones(50_000), {})
        at = np.array([0.5, 2.0, 5.0, 20.0, 40.0])
        np.testing.assert_allclose(foreground.log_ratio(at), np.log(0.1) + 0.9 * at, atol=0.1)
        assert foreground.louder(10.0) == pytest.approx(np.exp(-1), abs=0.01)

    def test_weights_move_the_injections(self):
        rng = np.random.default_rng(9)
        loudness = 20 * rng.exponential(size=100_000)
        weights = np.exp(-loudness / 20)  # mean 10 from mean 20
        foreground = Foreground(loudness, weights, {})
        at = np.array([1.0, 5.0, 20.0])
        np.testing.assert_allclose(foreground.log_ratio(at), np.log(0.1) + 0.9 * at, atol=0.15)

    def test_ratio_stops_where_injections_are_few_and_never_falls_there(self):
        foreground = Foreground(np.linspace(0, 30, 500), np.ones(500), {})
        ratio = foreground.log_ratio(np.array([28.5, 29.0, 40.0, 4000.0]))
        assert ratio[2] == ratio[3]
        assert (np.diff(ratio) >= -1e-9).all()

    def test_classes_by_loudness(self):
        loudness = np.concatenate([np.linspace(0, 3, 3000), np.linspace(20, 60, 1000)])
        light = np.arange(4000) < 3000
        foreground = Foreground(loudness, np.ones(4000), {"light": light, "heavy": ~light})
        shares = foreground.class_shares(np.array([1.0, 40.0]))
        np.testing.assert_allclose(shares["light"], [1, 0], atol=0.02)
        np.testing.assert_allclose(shares["light"] + shares["heavy"], 1)

    def test_no_weight(self):
        with pytest.raises(ValueError, match="no injection"):
            Foreground(np.ones(3), np.zeros(3), {})


class TestCounts:
    def test_certain_signals_count_as_poisson(self):
        """Five sure signals: the posterior is the gamma distribution of the prior's power."""
        from scipy.stats import gamma

        posterior = CountPosterior(np.full(5, 60.0), noise_mean=3.0, noise_std=0.01)
        levels = np.array([0.05, 0.5, 0.95])
        np.testing.assert_allclose(
            posterior.signal_quantiles(levels), gamma.ppf(levels, 5.5), rtol=0.01
        )
        np.testing.assert_allclose(posterior.p_astro(np.array([60.0])), 1)

    def test_one_event_against_an_integral(self):
        """With known noise, by quadrature over the number of signals."""
        from scipy.integrate import quad

        ratio, noise = 7.0, 0.4

        def posterior(signals, power):
            return (
                signals ** (power - 0.5)
                * np.exp(-signals)
                * (signals * ratio + noise) ** (1 - power)
            )

        whole = quad(posterior, 0, np.inf, args=(0,))[0]
        # of the likelihood signals * ratio + noise, the first term's part
        part = ratio * quad(posterior, 0, np.inf, args=(1,))[0]
        counts = CountPosterior(np.log([ratio]), noise, noise * 1e-3)
        assert counts.p_astro(np.log([ratio]))[0] == pytest.approx(part / whole, rel=0.01)

    def test_impossible_and_overwhelming_events(self):
        counts = CountPosterior(np.array([-np.inf, 0.0, 1e5]), 2.0, 0.1)
        p_astro = counts.p_astro(np.array([-np.inf, 0.0, 1e5]))
        assert p_astro[0] == 0
        assert 0 < p_astro[1] < 1
        assert p_astro[2] == pytest.approx(1)


def test_source_classes():
    classes = source_classes(np.array([30.0, 30.0, 1.4, 3.0]), np.array([20.0, 1.4, 1.4, 3.0]))
    assert tuple(classes) == CLASSES
    np.testing.assert_array_equal(classes["BBH"], [True, False, False, True])
    np.testing.assert_array_equal(classes["NSBH"], [False, True, False, False])
    np.testing.assert_array_equal(classes["BNS"], [False, False, True, False])


def test_no_events_and_sources_without_masses():
    rng = np.random.default_rng(10)
    search = SimulatedSearch(rng, 10, num_injections=500)
    for result in search.folds:
        result.injections.parameters = {"frequency": np.full(500, 100.0)}
    origins = search.origins()
    assert all(origin.classes == {} for origin in origins.by_candidate if origin is not None)
    search.events = []
    origins = search.origins()
    assert origins.by_candidate == []
    assert origins.signals[0] < origins.signals[1] < origins.signals[2] < 5
