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
    sources = {key: values[:500] for key, values in sources.items()}
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


EVERY = [f"{name}(35, 20, 0.5)" if "masses" in name else name for name in priors.NAMES]


@pytest.mark.parametrize("name", EVERY)
def test_same_generator_same_numbers(name):
    population = priors.population(name)
    first = population.sample(50, np.random.default_rng(8))
    np.random.seed(0)  # ambient randomness must not matter
    bilby.core.utils.random.seed(5)
    generator = np.random.default_rng(8)
    parts = [population.sample(n, generator) for n in (0, 7, 42, 1)]
    other = population.sample(50, np.random.default_rng(9))
    for key, values in first.items():
        np.testing.assert_array_equal(np.concatenate([part[key] for part in parts]), values)
        assert values.dtype == np.float64
        assert np.isfinite(values).all()
    assert not (first["dec"] == other["dec"]).any()


def uniform_cdf(low, high):
    return lambda x: (x - low) / (high - low)


def redshift_cdf(redshift_max, power):
    """Of sources with density dVc/dz (1 + z)^power."""
    grid = np.linspace(0, redshift_max, 4001)
    density = Planck15.differential_comoving_volume(grid).value * (1 + grid) ** power
    cdf = integrate.cumulative_simpson(density, x=grid, initial=0)
    return lambda z: np.interp(z, grid, cdf / cdf[-1])


def distance_cdf(distance):
    grid = np.linspace(0, 0.3, 3001)
    distances = Planck15.luminosity_distance(grid).to_value("Mpc")
    cdf = redshift_cdf(0.3, -1)
    limits = cdf(np.interp([100, 1000], distances, grid))
    return uniform_cdf(*limits)(cdf(np.interp(distance, distances, grid)))


GALACTIC = stats.truncnorm(-5, 5, loc=1.33, scale=0.09)
TILT = {key: lambda x: (1 - np.cos(x)) / 2 for key in ("tilt_1", "tilt_2")}
MARGINALS = {
    "end_o3_ratesandpops": {"redshift": redshift_cdf(2, -1)},
    "end_o3_ratesandpops_bns": {
        "mass_1_source": stats.triang(1, loc=1, scale=1.5).cdf,
        "mass_2_source": lambda x: 1 - (1 - uniform_cdf(1, 2.5)(x)) ** 2,
        "redshift": redshift_cdf(0.15, -1),
        "a_1": uniform_cdf(0, 0.4),
        "a_2": uniform_cdf(0, 0.4),
        **TILT,
    },
    "nsbh": {
        "mass_1_source": lambda x: power_law_cdf(x, -2.35, 2.5, 60),
        "mass_2_source": uniform_cdf(1, 2.5),
        "redshift": redshift_cdf(0.25, -1),
        "a_1": uniform_cdf(0, 0.998),
        "a_2": uniform_cdf(0, 0.4),
        **TILT,
    },
    "bns": {
        "mass_1_source": lambda x: GALACTIC.cdf(x) ** 2,
        "mass_2_source": lambda x: 1 - GALACTIC.sf(x) ** 2,
        "redshift": redshift_cdf(0.15, -1),
        "a_1": uniform_cdf(0, 0.05),
        **TILT,
    },
    "nonspin_bbh": {
        "mass_1_detector": lambda x: uniform_cdf(5, 100)(x) ** 2,
        "mass_2_detector": lambda x: 1 - (1 - uniform_cdf(5, 100)(x)) ** 2,
        "redshift": redshift_cdf(0.5, -1),
        "psi": uniform_cdf(0, np.pi),
    },
    "spin_bbh": {
        "mass_1_detector": lambda x: uniform_cdf(5, 100)(x) ** 2,
        "a_1": uniform_cdf(0, 0.998),
        **TILT,
    },
    "gaussian_masses(35,20,2)": {
        "mass_1_source": stats.norm(35, 2).cdf,
        "mass_2_source": stats.norm(20, 2).cdf,
        "redshift": redshift_cdf(2, -1),
    },
    "log_normal_masses(60, 20, sigma=0.1)": {
        "mass_1_source": stats.lognorm(0.1, scale=60).cdf,
        "mass_2_source": stats.lognorm(0.1, scale=20).cdf,
    },
    "training": {
        "chirp_mass": uniform_cdf(5, 250),
        "mass_ratio": uniform_cdf(0.05, 0.999),
        "redshift": redshift_cdf(2, 0),
        "a_1": uniform_cdf(0, 0.999),
        "tilt_1": uniform_cdf(0, np.pi),
        "phi_12": uniform_cdf(0, 2 * np.pi),
    },
    "ringdown": {
        "frequency": lambda x: np.log10(x) - 2,
        "quality": uniform_cdf(8, 20),
        "luminosity_distance": distance_cdf,
        "theta_jn": lambda x: (1 - np.cos(x)) / 2,
    },
    "sine_gaussian": {
        "frequency": lambda x: np.log(x / 32) / np.log(1000 / 32),
        "hrss": lambda x: power_law_cdf(x * 1e22, -4, 0.1, 100),
        "eccentricity": uniform_cdf(0, 1),
    },
}


@pytest.mark.parametrize("name", MARGINALS)
def test_marginals(name):
    sources = priors.population(name).sample(NUM, np.random.default_rng(6))
    if name == "training":
        theirs = bilby.gw.conversion.generate_mass_parameters(
            {"mass_1": sources["mass_1_detector"], "mass_2": sources["mass_2_detector"]}
        )
        sources |= {key: theirs[key] for key in ("chirp_mass", "mass_ratio")}
    for key, cdf in MARGINALS[name].items():
        assert stats.kstest(cdf(sources[key]), "uniform").pvalue > LEAST_P, key


def test_every_population_is_tested():
    assert {name.partition("(")[0] for name in MARGINALS} == set(priors.NAMES)


@pytest.mark.parametrize(("alpha", "power"), [(-2.2, 0), (-2.5, -2)])
def test_wrong_exponents_would_be_seen(sources, alpha, power):
    wrong = power_law_cdf(sources["mass_1_source"], alpha, 5, 100)
    assert stats.kstest(wrong, "uniform").pvalue < LEAST_P
    wrong = redshift_cdf(1.5, power)(sources["redshift"])
    assert stats.kstest(wrong, "uniform").pvalue < LEAST_P


@pytest.mark.parametrize("name", EVERY)
def test_both_frames_and_fixed_values(name):
    population = priors.population(name)
    sources = population.sample(500, np.random.default_rng(2))
    if "redshift" in sources:
        np.testing.assert_allclose(
            sources["luminosity_distance"],
            Planck15.luminosity_distance(sources["redshift"]).to_value("Mpc"),
            rtol=1e-10,
        )
        assert population.redshift_min < sources["redshift"].min()
        assert sources["redshift"].max() < population.redshift_max
    if population.kind == "burst":
        assert not [key for key in sources if key.startswith(("mass", "a_", "tilt"))]
        return
    assert (sources["mass_1_source"] >= sources["mass_2_source"]).all()
    for number in "12":
        np.testing.assert_allclose(
            sources[f"mass_{number}_detector"],
            sources[f"mass_{number}_source"] * (1 + sources["redshift"]),
            rtol=1e-14,
        )
    zero = {
        "nonspin_bbh": ("a_1", "a_2", "tilt_1", "tilt_2", "phi_12", "phi_jl"),
        "spin_bbh": ("phi_jl",),
    }
    for key in zero.get(name, ()):
        assert not sources[key].any()


TARGETS = {
    "end_o3_ratesandpops": ((30, 20), 1.0),
    "nonspin_bbh": ((40, 30), 0.5),
    "training": ((60, 40), 1.5),
    "log_normal_masses(30, 20, 0.5)": ((30, 22), 0.5),
    "gaussian_masses(30, 28, 4)": ((30, 29), 0.5),
    "nsbh": ((5, 1.8), 0.2),
}


@pytest.mark.parametrize("name", TARGETS)
def test_weights_make_sources_of_constant_rate(name):
    """Weights by log_prior give the volume below any redshift, whatever was drawn from."""
    pair, redshift_max = TARGETS[name]
    population = priors.population(name, redshift_max)
    sources = population.sample(200_000, np.random.default_rng(1))
    masses = np.stack([sources["mass_1_source"], sources["mass_2_source"]], -1)
    target = stats.multivariate_normal(pair, np.diag(np.square(pair)) / 15**2)
    # folded to mass_2 <= mass_1 by counting both orders
    density = target.pdf(masses) + target.pdf(masses[:, ::-1])
    weights = density / np.exp(sources["log_prior"])
    for part in (0.4, 0.8, 1):
        inside = np.where(sources["redshift"] < part * redshift_max, weights, 0)
        expected = priors.comoving_time_volume(part * redshift_max) / population.volume
        assert abs(inside.mean() - expected) < 4 * inside.std() / np.sqrt(len(inside))
        assert inside.std() / np.sqrt(len(inside)) < 0.15 * expected


@pytest.mark.parametrize(
    ("name", "masses"),
    [
        ("end_o3_ratesandpops", priors.PowerLawMasses(-2.35, 1, 5, 100)),
        ("end_o3_ratesandpops_bns", priors.UniformMasses(1, 2.5)),
    ],
)
def test_densities_agree_with_closed_forms(name, masses):
    population = priors.population(name)
    m1, m2 = np.random.default_rng(1).uniform(0.5, 1.1 * masses.maximum, (2, 3000))
    expected = masses.log_prob(m1, m2)
    assert 500 < np.isfinite(expected).sum() < 2500
    np.testing.assert_allclose(population.log_prob_source_masses(m1, m2), expected, atol=1e-12)


def test_detector_frame_density_needs_a_redshift():
    population = priors.population("nonspin_bbh", 0.5)
    assert population.frame == "detector"
    with pytest.raises(ValueError, match=r"nonspin_bbh is of detector-frame masses.*give it"):
        population.log_prob_source_masses(30.0, 20.0)
    given = population.log_prob_source_masses(30.0, 20.0, redshift=np.array([0.1, 3.0]))
    np.testing.assert_allclose(given, [np.log(2 / 95**2 * 1.1**2), -np.inf])


def test_bursts_have_no_mass_density():
    population = priors.population("ringdown")
    assert (population.kind, population.frame) == ("burst", "detector")
    with pytest.raises(ValueError, match=r"ringdown has no known density.*no masses"):
        population.log_prob_source_masses(30.0, 20.0)
    with pytest.raises(ValueError, match="sine_gaussian has no range of distances"):
        assert priors.population("sine_gaussian").volume
    assert "log_prior" not in priors.population("sine_gaussian").sample(
        3, np.random.default_rng(1)
    )


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


@pytest.mark.parametrize("name", ["bnss", "bnss(3)", "gaussian masses", "os.system('ls')", "12"])
def test_unknown_name_lists_what_exists(name):
    with pytest.raises(ValueError, match=r"no population .*end_o3_ratesandpops.*nonspin_bbh"):
        priors.population(name, 1.0)


@pytest.mark.parametrize(
    "name",
    [
        "gaussian_masses",
        "gaussian_masses(35)",
        "gaussian_masses(35,30,2,1)",
        "gaussian_masses(35,30,width=2)",
        "gaussian_masses('a',30)",
        "bns(3)",
    ],
)
def test_arguments_must_fit(name):
    with pytest.raises(ValueError, match=r"needs (numbers for|no arguments)"):
        priors.population(name)


def test_arguments_must_be_positive():
    with pytest.raises(ValueError, match="not positive"):
        priors.population("log_normal_masses(35,-30)")


def test_redshift_must_be_positive():
    with pytest.raises(ValueError, match="redshift_max is 0"):
        priors.population("nonspin_bbh", 0)


def test_every_parameter_has_a_unit_in_the_ledger(sources):
    ledger = pytest.importorskip("ledger.product", reason="ledger is not installed here")
    assert set(sources) <= set(ledger.PARAMETER_UNITS)
