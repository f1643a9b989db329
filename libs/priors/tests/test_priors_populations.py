import bilby
import numpy as np
import priors
import pytest
from astropy.cosmology import Planck15
from scipy import integrate, stats

NUM = 20_000
# of some twenty marginals the worst has p about 1/20: this fails once in 10^4 seeds
LEAST_P = 1e-5


@pytest.fixture(scope="module")
def sources() -> dict[str, np.ndarray]:
    population = priors.population("end_o3_ratesandpops", redshift_max=1.5)
    return population.sample(NUM, np.random.default_rng(3))


def power_law_cdf(x, alpha, low, high):
    return (x ** (alpha + 1) - low ** (alpha + 1)) / (high ** (alpha + 1) - low ** (alpha + 1))


def test_masses_follow_the_power_laws(sources):
    m1, m2 = sources["mass_1_source"], sources["mass_2_source"]
    assert stats.kstest(power_law_cdf(m1, -2.35, 5, 100), "uniform").pvalue > LEAST_P
    assert stats.kstest(power_law_cdf(m2, 1, 5, m1), "uniform").pvalue > LEAST_P
    # and the two are not tied otherwise
    rank = stats.spearmanr(power_law_cdf(m1, -2.35, 5, 100), power_law_cdf(m2, 1, 5, m1))
    assert rank.pvalue > LEAST_P
    assert (m2 <= m1).all()
    assert m2.min() >= 5
    assert m1.max() <= 100


def test_redshift_is_uniform_in_volume_and_source_time(sources):
    grid = np.linspace(0, 1.5, 4001)
    density = Planck15.differential_comoving_volume(grid).value / (1 + grid)
    cdf = integrate.cumulative_simpson(density, x=grid, initial=0)
    uniform = np.interp(sources["redshift"], grid, cdf / cdf[-1])
    assert stats.kstest(uniform, "uniform").pvalue > LEAST_P


@pytest.mark.parametrize(
    ("name", "cdf"),
    [
        ("a_1", lambda x: x / 0.998),
        ("a_2", lambda x: x / 0.998),
        ("tilt_1", lambda x: (1 - np.cos(x)) / 2),
        ("tilt_2", lambda x: (1 - np.cos(x)) / 2),
        ("phi_12", lambda x: x / (2 * np.pi)),
        ("phi_jl", lambda x: x / (2 * np.pi)),
        ("theta_jn", lambda x: (1 - np.cos(x)) / 2),
        ("phase", lambda x: x / (2 * np.pi)),
        ("psi", lambda x: x / np.pi),
        ("ra", lambda x: x / (2 * np.pi)),
        ("dec", lambda x: (1 + np.sin(x)) / 2),
    ],
)
def test_angles_and_spins(sources, name, cdf):
    assert stats.kstest(cdf(sources[name]), "uniform").pvalue > LEAST_P


def test_frames_agree_with_bilby(sources):
    distance = bilby.gw.conversion.redshift_to_luminosity_distance(
        sources["redshift"], cosmology="Planck15"
    )
    np.testing.assert_allclose(sources["luminosity_distance"], distance, rtol=1e-12)
    converted = bilby.gw.conversion.generate_source_frame_parameters(
        {
            "mass_1": sources["mass_1_detector"],
            "mass_2": sources["mass_2_detector"],
            "luminosity_distance": sources["luminosity_distance"],
        }
    )
    for key in ("mass_1_source", "mass_2_source"):
        # bilby turns the distance back into a redshift by interpolation
        np.testing.assert_allclose(converted[key], sources[key], rtol=1e-5)


@pytest.mark.parametrize("redshift_max", [0.3, 1.0, 2.0])
def test_volume_is_the_integral(redshift_max):
    def shell(z):
        return Planck15.differential_comoving_volume(z).to_value("Gpc3 / sr") / (1 + z)

    expected = 4 * np.pi * integrate.quad(shell, 0, redshift_max)[0]
    assert priors.population("nonspin_bbh", redshift_max).volume == pytest.approx(
        expected, rel=1e-9
    )
    # nearby, it is the Euclidean sphere
    near = priors.comoving_time_volume(1e-3)
    radius = 299792.458 / 67.74 * 1e-6
    assert near == pytest.approx(4 / 3 * np.pi * radius**3, rel=3e-3)


@pytest.mark.parametrize("name", priors.NAMES)
def test_same_generator_same_numbers(name):
    population = priors.population(name, 1.0)
    first = population.sample(50, np.random.default_rng(8))
    np.random.seed(0)  # ambient randomness must not matter
    bilby.core.utils.random.seed(5)
    second = population.sample(50, np.random.default_rng(8))
    other = population.sample(50, np.random.default_rng(9))
    assert all((first[key] == second[key]).all() for key in first)
    assert not (first["mass_1_source"] == other["mass_1_source"]).any()


@pytest.mark.parametrize("name", priors.NAMES)
def test_log_prior_is_the_density_of_the_samples(name):
    population = priors.population(name, 1.0)
    sources = population.sample(NUM, np.random.default_rng(1))
    m1, m2 = sources["mass_1_source"], sources["mass_2_source"]
    assert (m1 >= m2).all()
    np.testing.assert_array_equal(sources["log_prior"], population.log_prob_source_masses(m1, m2))
    # the mean of target over proposal density is 1 if both are normalised and have the support
    target = stats.multivariate_normal([20, 12], [[9, 0], [0, 4]])
    # folded to mass_2 <= mass_1 by counting both orders
    weights = target.pdf(np.stack([m1, m2], -1)) + target.pdf(np.stack([m2, m1], -1))
    estimate = np.mean(weights / np.exp(sources["log_prior"]))
    error = np.std(weights / np.exp(sources["log_prior"])) / np.sqrt(NUM)
    lost = stats.norm(12, 2).cdf(5) + stats.norm(20, 3).cdf(5)
    assert abs(estimate - (1 - lost)) < 5 * error


def test_power_law_density_agrees_with_bilby():
    conditional = bilby.core.prior.ConditionalPriorDict(
        {
            "mass_1": bilby.core.prior.PowerLaw(-2.35, 5, 100),
            "mass_2": bilby.core.prior.ConditionalPowerLaw(
                condition_func=lambda reference_params, mass_1: {
                    "alpha": 1,
                    "minimum": 5,
                    "maximum": mass_1,
                },
                alpha=1,
                minimum=5,
                maximum=100,
            ),
        }
    )
    population = priors.population("end_o3_ratesandpops", 1.0)
    for m1, m2 in [(30.0, 20.0), (6.0, 5.5), (99.0, 5.1)]:
        expected = conditional.ln_prob({"mass_1": m1, "mass_2": m2})
        assert population.log_prob_source_masses(m1, m2) == pytest.approx(expected)


@pytest.mark.parametrize("pair", [(4, 4), (101, 20), (20, 30), (5, 5), (30, 4.9)])
def test_no_density_outside(pair):
    population = priors.population("end_o3_ratesandpops", 1.0)
    m1, m2 = np.array([pair[0], 30.0]), np.array([pair[1], 20.0])
    log_prob = population.log_prob_source_masses(m1, m2)
    assert log_prob[0] == -np.inf
    assert np.isfinite(log_prob[1])


@pytest.mark.parametrize(("first", "second"), [(35, 35), (35, 20), (10, 20)])
def test_log_normal_target_is_normalised(first, second):
    density = priors.LogNormalMasses(first, second, width=0.1)
    # in the logarithms of the masses the density is smooth but for the edge mass_1 = mass_2
    grid = np.exp(np.linspace(np.log(4), np.log(80), 1201))
    m1, m2 = np.meshgrid(grid, grid, indexing="ij")
    edge = np.where(m1 == m2, 0.5, 1.0)
    total = np.sum(edge * np.exp(density.log_prob(m1, m2)) * m1 * m2) * np.log(20) ** 2 / 1200**2
    assert total == pytest.approx(1, abs=1e-4)
    unordered = stats.lognorm(0.1, scale=first).logpdf(31) + stats.lognorm(
        0.1, scale=second
    ).logpdf(22)
    swapped = stats.lognorm(0.1, scale=first).logpdf(22) + stats.lognorm(0.1, scale=second).logpdf(
        31
    )
    assert density.log_prob(31.0, 22.0) == pytest.approx(np.logaddexp(unordered, swapped))
    assert density.log_prob(22.0, 31.0) == -np.inf


def test_unknown_name_lists_what_exists():
    with pytest.raises(ValueError, match=r"no population 'bns'.*end_o3_ratesandpops.*nonspin_bbh"):
        priors.population("bns", 1.0)


def test_redshift_must_be_positive():
    with pytest.raises(ValueError, match="redshift_max is 0"):
        priors.population("nonspin_bbh", 0)


def test_every_parameter_has_a_unit_in_the_ledger(sources):
    ledger = pytest.importorskip("ledger.product", reason="ledger is not installed here")
    assert set(sources) == set(ledger.PARAMETER_UNITS)
