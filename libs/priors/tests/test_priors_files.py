import re
from pathlib import Path

import numpy as np
import priors
import pytest
from astropy.cosmology import Planck18
from scipy import integrate, stats

LEAST_P = 1e-5
README = Path(__file__).parents[1] / "README.md"
REDSHIFT = (
    "bilby.gw.prior.UniformSourceFrame(minimum=0, maximum=0.5, name='redshift', "
    "cosmology='Planck15')"
)
UNIFORM = """\
mass_1 = Uniform(minimum=5, maximum=100)
mass_2 = Uniform(minimum=5, maximum=100)
"""


def load(folder, text, redshift_max=None, name="mine.prior"):
    (folder / name).write_text(text)
    return priors.load_population(name, redshift_max, folder)


def load_prior(folder, text, redshift_max=None):
    return load(folder, f"{text}redshift = {REDSHIFT}\n", redshift_max)


def sample(population, n=20_000):
    return population.sample(n, np.random.default_rng(4))


@pytest.mark.parametrize("language", ["yaml", "ini"])
def test_examples_of_the_readme(tmp_path, language):
    (example,) = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    name = {"yaml": "mine.yaml", "ini": "mine.prior"}[language]
    population = load(tmp_path, example, 0.3, name)
    sources = sample(population, 2000)
    assert population.frame == {"yaml": "source", "ini": "detector"}[language]
    assert (sources["mass_1_source"] >= sources["mass_2_source"]).all()
    assert sources["redshift"].max() < 0.3
    assert np.isfinite(sources["log_prior"]).all()
    assert 0.29 < population.redshift_max <= 0.3


def test_every_name_has_a_row_in_the_readme():
    assert all(f"| `{name}" in README.read_text() for name in priors.NAMES)


def test_uniform_components_by_chirp_mass_and_ratio(tmp_path):
    """bilby's chirp-mass and ratio priors for uniform masses, cut to a square, are uniform."""
    text = """\
chirp_mass = bilby.gw.prior.UniformInComponentsChirpMass(minimum=5, maximum=100)
mass_ratio = bilby.gw.prior.UniformInComponentsMassRatio(minimum=0.05, maximum=1)
mass_1 = Constraint(minimum=20, maximum=60)
mass_2 = Constraint(minimum=20, maximum=60)
"""
    population = load_prior(tmp_path, text)
    sources = sample(population)
    m1, m2 = sources["mass_1_detector"], sources["mass_2_detector"]
    assert 20 < m2.min() < m1.max() < 60
    larger = ((m1 - 20) / 40) ** 2
    smaller = 1 - (1 - (m2 - 20) / 40) ** 2
    assert stats.kstest(larger, "uniform").pvalue > LEAST_P
    assert stats.kstest(smaller, "uniform").pvalue > LEAST_P
    given = population.log_prob_source_masses(30.0, 25.0, redshift=np.array([0.0, 0.5, 2.0]))
    expected = np.log(2 / 40**2 * np.array([1, 1.5**2, 0]) + 1e-300)
    np.testing.assert_allclose(given[:2], expected[:2], rtol=1e-5)
    assert given[2] == -np.inf


@pytest.mark.parametrize("refills", [1, 50])
def test_constraints_hold_after_refills(tmp_path, refills):
    """Few draws pass, so that there are many rounds; each source must agree with itself."""
    text = UNIFORM + "chirp_mass = Constraint(minimum=10, maximum=11)\n"
    population = load_prior(tmp_path, text + "mass_ratio = Constraint(minimum=0.5, maximum=1)\n")
    generator = np.random.default_rng(2)
    parts = [population.sample(4000 // refills, generator) for _ in range(refills)]
    sources = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    m1, m2 = sources["mass_1_detector"], sources["mass_2_detector"]
    chirp = (m1 * m2) ** 0.6 / (m1 + m2) ** 0.2
    assert 10 < chirp.min() < chirp.max() < 11
    assert (m2 > 0.5 * m1).all()
    np.testing.assert_allclose(sources["mass_1_source"], m1 / (1 + sources["redshift"]))
    # an independent rejection sampler
    trial = np.random.default_rng(3).uniform(5, 100, (2, 1_000_000))
    trial_chirp = (trial[0] * trial[1]) ** 0.6 / (trial[0] + trial[1]) ** 0.2
    kept = (trial_chirp > 10) & (trial_chirp < 11)
    kept &= trial.min(axis=0) > 0.5 * trial.max(axis=0)
    assert stats.ks_2samp(m1, trial.max(axis=0)[kept]).pvalue > LEAST_P
    assert stats.ks_2samp(chirp, trial_chirp[kept]).pvalue > LEAST_P
    # the redshift is not touched
    plain = load_prior(tmp_path, UNIFORM).sample(4000, generator)
    assert stats.ks_2samp(sources["redshift"], plain["redshift"]).pvalue > LEAST_P


@pytest.mark.parametrize(
    ("constraint", "lower", "upper"),
    [
        ("mass_ratio = Constraint(minimum=0.5, maximum=1)", lambda m: m / 2, lambda m: m),
        ("mass_ratio = Constraint(minimum=0.999, maximum=1.1)", lambda m: 0.999 * m, lambda m: m),
        (
            "total_mass = Constraint(minimum=40, maximum=90)",
            lambda m: 40 - m,
            lambda m: np.minimum(90 - m, m),
        ),
    ],
)
def test_density_is_normalised_with_constraints(tmp_path, constraint, lower, upper):
    population = load_prior(tmp_path, UNIFORM + constraint + "\n")
    # the lighter mass lies between two lines; trapezoids are exact but where lines meet
    mass_1 = np.linspace(5, 100, 1_000_001)
    length = np.maximum(upper(mass_1) - np.maximum(lower(mass_1), 5), 0)
    area = integrate.trapezoid(length, mass_1)
    density = np.exp(population.log_prob_source_masses(30.01, 30.0, redshift=0.0))
    assert density == pytest.approx(1 / area, rel=1e-5)


def test_source_frame_by_name_and_constraint_in_the_other_frame(tmp_path):
    text = """\
mass_1_source = Uniform(minimum=5, maximum=100)
mass_2_source = Uniform(minimum=5, maximum=100)
mass_1_detector = Constraint(minimum=0, maximum=60)
total_mass_source = Constraint(minimum=30, maximum=300)
"""
    population = load_prior(tmp_path, text)
    sources = sample(population)
    assert population.frame == "source"
    assert sources["mass_1_detector"].max() < 60 < 1.2 * sources["mass_1_detector"].max()
    assert (sources["mass_1_source"] + sources["mass_2_source"]).min() > 30
    # the redshift takes part, so densities are not known, and it says so
    assert "log_prior" not in sources
    with pytest.raises(ValueError, match="constrains mass_1_detector"):
        population.log_prob_source_masses(30.0, 20.0)
    with pytest.raises(ValueError, match="no known volume"):
        assert population.volume


def test_redshift_max_cuts_and_never_extends(tmp_path):
    whole = load_prior(tmp_path, UNIFORM, 2.0)
    assert whole.redshift_max == 0.5
    cut = load_prior(tmp_path, UNIFORM, 0.3)
    assert cut.redshift_max == 0.3
    below = sample(whole)["redshift"]
    redshift = sample(cut)["redshift"]
    assert redshift.max() < 0.3
    assert stats.ks_2samp(redshift, below[below < 0.3]).pvalue > LEAST_P
    assert cut.volume == pytest.approx(priors.comoving_time_volume(0.3))


@pytest.mark.parametrize(
    "prior",
    [
        "PowerLaw(alpha=2, minimum=50, maximum=3000)",
        "bilby.gw.prior.UniformComovingVolume(minimum=50, maximum=3000, "
        "name='luminosity_distance', cosmology='Planck18')",
        "bilby.gw.prior.UniformSourceFrame(minimum=50, maximum=3000, "
        "name='luminosity_distance', cosmology='Planck18')",
    ],
)
def test_weights_of_any_distance_prior(tmp_path, prior):
    text = f"""\
frame: detector
cosmology: Planck18
priors:
  total_mass: Uniform(minimum=20, maximum=200)
  mass_ratio: Uniform(minimum=0.1, maximum=1)
  luminosity_distance: {prior}
  chi_1: bilby.gw.prior.AlignedSpin(a_prior=Uniform(0, 0.9), z_prior=Uniform(-1, 1))
  cos_tilt_2: Uniform(minimum=-1, maximum=1)
  a_2: 0.3
"""
    population = load(tmp_path, text, 0.4, "mine.yml")
    assert population.cosmology is Planck18
    sources = population.sample(200_000, np.random.default_rng(1))
    expected = Planck18.luminosity_distance(sources["redshift"][:100]).to_value("Mpc")
    np.testing.assert_allclose(sources["luminosity_distance"][:100], expected, rtol=1e-9)
    masses = np.stack([sources["mass_1_source"], sources["mass_2_source"]], -1)
    target = stats.multivariate_normal([40, 25], np.diag([4, 2]))
    weights = target.pdf(masses) / np.exp(sources["log_prior"])
    bounds = [population.redshift_min, population.redshift_max]
    assert bounds[1] == pytest.approx(0.4, rel=1e-9)
    for top in (0.25, bounds[1]):
        inside = np.where(sources["redshift"] <= top, weights, 0)
        volume = priors.comoving_time_volume(top, bounds[0], Planck18)
        error = inside.std() / np.sqrt(len(inside))
        assert abs(inside.mean() - volume / population.volume) < 4 * error
    assert set(np.unique(sources["tilt_1"])) == {0, np.pi}
    assert (sources["a_2"] == 0.3).all()
    cosine = np.cos(sources["tilt_2"])
    assert stats.kstest((cosine + 1) / 2, "uniform").pvalue > LEAST_P


MASSES = "mass_1: Uniform(minimum=5, maximum=9)\n  mass_2: Uniform(minimum=5, maximum=9)\n"


@pytest.mark.parametrize(
    ("priors_text", "head", "message"),
    [
        (MASSES, "frame: source", "no distance"),
        (MASSES + f"  redshift: {REDSHIFT}", "", "frame None, expected `source`"),
        (MASSES + f"  redshift: {REDSHIFT}", "frame: lab", "frame 'lab'"),
        (MASSES + f"  redshift: {REDSHIFT}", "frame: source\nmasses: 3", "has masses: known are"),
        (
            MASSES + f"  redshift: {REDSHIFT}",
            "frame: source\ncosmology: Planck18",
            "cosmology Planck15, but the population Planck18",
        ),
        (MASSES + f"  luminosity_distance: {REDSHIFT}", "frame: source", "name='redshift'"),
        (
            MASSES + f"  redshift: {REDSHIFT}\n  chirpmass: 3",
            "frame: source",
            "no parameter c",
        ),
        (
            MASSES + f"  redshift: {REDSHIFT}\n  lambda_tilde: Constraint(minimum=0, maximum=1)",
            "frame: source",
            "constrains lambda_tilde, which its sources do not have",
        ),
        (MASSES + f"  redshift: {REDSHIFT}\n  a_1: Unform(0, 1)", "frame: source", "bilby cannot"),
        (MASSES + f"  redshift: {REDSHIFT}\n  a_1: foo", "frame: source", "a_1 is foo"),
        (
            MASSES + f"  redshift: {REDSHIFT}\n  a_1: 1\n  chi_1: 1",
            "frame: source",
            "which say",
        ),
        (MASSES + "  redshift: Uniform(minimum=0, maximum={top})", "frame: source", "uses {top}"),
        (MASSES + "  redshift: Gamma(k=1)", "frame: source", "there is no end"),
        (f"chirp_mass: 3\n  redshift: {REDSHIFT}", "frame: source", "expected one of mass_1, m"),
        ("frequency: 30\n  quality: 3", "", "no amplitude"),
        ("hrss: 1e-22", "", "neither masses"),
    ],
)
def test_unsound_files_are_refused_in_a_sentence(tmp_path, priors_text, head, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load(tmp_path, f"{head}\npriors:\n  {priors_text}\n", name="bad.yaml")


def test_masses_of_two_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="masses of both frames"):
        load_prior(tmp_path, UNIFORM.replace("mass_2", "mass_2_source"))


def test_constraints_that_leave_nothing(tmp_path):
    text = UNIFORM + "total_mass = Constraint(minimum=300, maximum=400)\n"
    with pytest.raises(ValueError, match=r"none of .* draws .* total_mass_detector: widen"):
        sample(load_prior(tmp_path, text), 10)


def test_missing_file_says_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/gone.yaml.*end_o3_ratesandpops"):
        priors.load_population("gone.yaml", 1.0, tmp_path)


def test_conditional_priors_are_drawn_in_order(tmp_path):
    text = """\
mass_2 = ConditionalUniform(condition_func=bilby.gw.prior.secondary_mass_condition_function, \
minimum=5, maximum=80)
mass_1 = Uniform(minimum=20, maximum=80)
"""
    sources = sample(load_prior(tmp_path, text))
    m1, m2 = sources["mass_1_detector"], sources["mass_2_detector"]
    assert stats.kstest((m1 - 20) / 60, "uniform").pvalue > LEAST_P
    assert stats.kstest((m2 - 5) / (m1 - 5), "uniform").pvalue > LEAST_P
