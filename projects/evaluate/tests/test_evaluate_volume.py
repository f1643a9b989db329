"""Sensitive volume against closed forms in Euclidean space."""

from types import SimpleNamespace

import numpy as np
import pytest
from evaluate.rates import YEAR
from evaluate.sensitivity import found_at
from evaluate.targets import MassTarget
from evaluate.volume import Draws, bootstrap_std, mean_weight, sensitive_volume
from priors import PowerLawMasses, UniformMasses

RADIUS = 10.0
V0 = 4 / 3 * np.pi * RADIUS**3
PAIR, WIDTH = (35.0, 20.0), 0.1
POPULATION = PowerLawMasses(alpha=-2.35, beta=1, minimum=5, maximum=100)


def draw(rng, num, target, population=POPULATION):
    """Masses, distances uniform in volume, and weights of one set of draws."""
    mass_1, mass_2 = population.rescale(rng.random((2, num)))
    distance = RADIUS * rng.random(num) ** (1 / 3)
    weights = np.exp(target.log_prob(mass_1, mass_2) - population.log_prob(mass_1, mass_2))
    return mass_1, mass_2, distance, weights


def test_volume_of_a_sphere_is_unbiased_and_its_error_is_right():
    rng = np.random.default_rng(1)
    target = MassTarget(PAIR, WIDTH, POPULATION.log_prob)
    reach = 7.0
    results = []
    for _ in range(400):
        _, _, distance, weights = draw(rng, 5000, target)
        draws = Draws(weights, 5000, V0, livetime=1.0)
        results.append(sensitive_volume([draws], [distance < reach]))
    volumes = np.array([result.volume for result in results])
    truth = 4 / 3 * np.pi * reach**3
    assert abs(volumes.mean() - truth) < 4 * volumes.std() / 20
    stds = np.array([result.std for result in results])
    np.testing.assert_allclose(np.sqrt(np.mean(stds**2)), volumes.std(), rtol=0.15)


@pytest.mark.parametrize("reach", [3.0, 7.0])
def test_bootstrap_error_is_the_analytic_one_and_that_of_many_searches(reach):
    rng = np.random.default_rng(6)
    target = MassTarget((30, 30), 0.3, POPULATION.log_prob)
    volumes, analytic, resampled = [], [], []
    for _ in range(200):
        folds, found = [], []
        for num, livetime in ((2000, 3.0), (3000, 5.0)):
            _, _, distance, weights = draw(rng, num, target)
            # as in a search: most of those that cannot be found are only counted
            accepted = distance < 8
            folds.append(Draws(weights[accepted], num, V0, livetime))
            found.append(distance[accepted] < reach)
        result = sensitive_volume(folds, found)
        volumes.append(result.volume)
        analytic.append(result.std)
        resampled.append(bootstrap_std(folds, found, rng, 100))
    np.testing.assert_allclose(np.mean(resampled), np.mean(analytic), rtol=0.03)
    np.testing.assert_allclose(np.mean(resampled), np.std(volumes), rtol=0.2)
    # one by one, within what a hundred resamples can tell
    np.testing.assert_allclose(resampled, analytic, rtol=0.4)


def test_time_volume_is_the_volume_times_the_years_searched():
    draws = [Draws(np.ones(5), 9, V0, 31_557_600.0), Draws(np.ones(2), 4, 3 * V0, 15_778_800.0)]
    result = sensitive_volume(draws, [np.array([1, 1, 0, 0, 0], bool), np.array([1, 0], bool)])
    assert result.time_volume == pytest.approx(V0 * 2 / 9 + 0.5 * 3 * V0 / 4)
    assert result.time_volume_std == pytest.approx(1.5 * result.std)


def test_reach_that_depends_on_mass():
    """The weights move the draws to the target: compare with draws from the target itself."""
    rng = np.random.default_rng(2)
    target = MassTarget((20, 10), WIDTH, POPULATION.log_prob)

    def reach(mass_1, mass_2):
        chirp_mass = (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2
        return 6 * (chirp_mass / 12) ** (5 / 6)

    mass_1, mass_2, distance, weights = draw(rng, 2_000_000, target)
    draws = Draws(weights, len(weights), V0, livetime=1.0)
    result = sensitive_volume([draws], [distance < reach(mass_1, mass_2)])
    masses = np.exp(rng.normal(np.log([[20], [10]]), WIDTH, size=(2, 400_000)))
    truth = np.mean(4 / 3 * np.pi * reach(masses.max(axis=0), masses.min(axis=0)) ** 3)
    assert abs(result.volume - truth) < 4 * result.std
    assert result.std < 0.03 * truth


def test_rejected_draws_count():
    """Leaving hopeless draws out of the weights but not out of their number changes nothing."""
    rng = np.random.default_rng(3)
    target = MassTarget(PAIR, WIDTH, POPULATION.log_prob)
    _, _, distance, weights = draw(rng, 20_000, target)
    found = distance < 4
    accepted = distance < 6
    whole = sensitive_volume([Draws(weights, 20_000, V0, 1.0)], [found])
    split = sensitive_volume([Draws(weights[accepted], 20_000, V0, 1.0)], [found[accepted]])
    assert split.volume == pytest.approx(whole.volume)
    assert split.std == pytest.approx(whole.std)
    assert split.effective_samples == pytest.approx(whole.effective_samples)


def test_folds_are_weighted_with_the_time_they_searched():
    """A network that reaches 3 for nine tenths of the time and 8 for the rest."""
    rng = np.random.default_rng(4)
    target = MassTarget((30, 30), 0.3, POPULATION.log_prob)
    volumes, stds = [], []
    for _ in range(300):
        folds, found = [], []
        # numbers of draws that are not in proportion to the times
        for num, reach, livetime in ((3000, 3.0, 90.0), (4000, 8.0, 10.0)):
            _, _, distance, weights = draw(rng, num, target)
            folds.append(Draws(weights, num, V0, livetime))
            found.append(distance < reach)
        result = sensitive_volume(folds, found)
        volumes.append(result.volume)
        stds.append(result.std)
    truth = 4 / 3 * np.pi * (0.9 * 27 + 0.1 * 512)
    assert abs(np.mean(volumes) - truth) < 4 * np.std(volumes) / np.sqrt(300)
    np.testing.assert_allclose(np.sqrt(np.mean(np.square(stds))), np.std(volumes), rtol=0.15)


def test_nothing_found_has_no_error():
    result = sensitive_volume([Draws(np.ones(5), 9, V0, 1.0)], [np.zeros(5, dtype=bool)])
    assert (result.volume, result.std, result.effective_samples) == (0, None, 0)


def test_effective_samples_of_equal_weights_is_their_number():
    mask = np.arange(8) < 5
    assert sensitive_volume([Draws(np.full(8, 0.3), 20, V0, 1.0)], [mask]).effective_samples == (
        pytest.approx(5)
    )


@pytest.mark.parametrize(
    ("pair", "population", "kept"),
    [
        # both masses are below their median with probability 1/2 each
        ((35.0, 35.0), UniformMasses(1, 35), 0.25),
        # only the larger is cut
        ((35.0, 10.0), UniformMasses(1, 35), 0.5),
        ((35.0, 35.0), UniformMasses(1, 1000), 1.0),
    ],
)
def test_cut_of_the_target(pair, population, kept):
    target = MassTarget(pair, WIDTH, population.log_prob)
    assert target.kept == pytest.approx(kept, abs=1e-3)


@pytest.mark.parametrize("pair", [(35.0, 35.0), (35.0, 30.0), (6.0, 5.5)])
def test_target_is_normalised_on_the_support(pair):
    """Integral by the midpoint rule over ordered masses that the population has."""
    target = MassTarget(pair, WIDTH, POPULATION.log_prob)
    edges = np.linspace(5, 80, 1501)
    middle = (edges[1:] + edges[:-1]) / 2
    mass_1, mass_2 = np.meshgrid(middle, middle, indexing="ij")
    cells = np.exp(target.log_prob(mass_1.ravel(), mass_2.ravel()))
    cells[~np.isfinite(POPULATION.log_prob(mass_1.ravel(), mass_2.ravel()))] = 0
    cells = cells.reshape(mass_1.shape)
    # cells on the diagonal are half outside
    integral = (np.sum(cells) - np.trace(cells) / 2) * (edges[1] - edges[0]) ** 2
    assert integral == pytest.approx(1, abs=4e-3)


def test_mean_weight_tells_a_wrong_population():
    rng = np.random.default_rng(5)
    target = MassTarget((20, 20), 0.3, POPULATION.log_prob)
    mass_1, mass_2, _, weights = draw(rng, 50_000, target)
    mean, error = mean_weight(weights)
    assert abs(mean - 1) < 4 * error
    assert error < 0.05
    other = PowerLawMasses(alpha=-1, beta=1, minimum=5, maximum=100)
    wrong = np.exp(target.log_prob(mass_1, mass_2) - other.log_prob(mass_1, mass_2))
    mean, error = mean_weight(wrong)
    assert abs(mean - 1) > 5 * error


@pytest.mark.parametrize(
    ("pair", "sentence"), [((20, 35), "larger mass comes first"), ((500, 400), "no such masses")]
)
def test_impossible_pairs(pair, sentence):
    with pytest.raises(ValueError, match=sentence):
        MassTarget(pair, WIDTH, POPULATION.log_prob)


def test_an_injection_is_found_at_its_own_time_and_above_the_background_of_its_fold():
    """Three background events in a year: at two per year the second is the threshold."""
    folds = [
        SimpleNamespace(
            background=SimpleNamespace(statistic=np.array([1.0, 2.0, 3.0]) + shift, livetime=YEAR),
            injections=SimpleNamespace(
                statistic=np.array([9.0, 9.0, 2.0, 1.9]) + shift,
                time=np.array([5.0, 9.1, 5.9, 5.0]),
                injection_time=np.full(4, 5.0),
            ),
        )
        for shift in (0.0, 100.0)
    ]
    loose, strict, none = found_at([2.0, 1.0, 0.5], folds, coincidence=1.0)
    for fold in (0, 1):
        assert loose[fold].tolist() == [True, False, True, False]
        assert strict[fold].tolist() == [True, False, False, False]
    assert none is None


def test_effective_samples_of_two_folds():
    """Found draws of unequal weight and of folds of unequal size, by hand."""
    weights = [np.array([1.0, 1.0, 2.0, 9.0]), np.array([1.0, 3.0])]
    draws = [Draws(weights[0], 10, 1.0, livetime=1.0), Draws(weights[1], 5, 1.0, livetime=3.0)]
    found = [np.array([True, True, True, False]), np.array([True, False])]
    # shares of time 1/4 and 3/4, over 10 and 5 draws: 1/40 and 3/20 for a weight of 1
    parts = np.array([1, 1, 2, 6]) / 40
    expected = parts.sum() ** 2 / np.square(parts).sum()
    assert sensitive_volume(draws, found).effective_samples == pytest.approx(expected)
