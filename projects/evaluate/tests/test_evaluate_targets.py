"""Weights over all parameters against draws from the target itself, and against bilby."""

import numpy as np
import pytest
from bilby.core.prior import PriorDict
from evaluate.densities import SourceDensity, differing, log_weights
from evaluate.targets import pair_target, population_target, require_drawn_from
from evaluate.volume import Draws, mean_weight, sensitive_volume
from priors import comoving_time_volume, load_population, luminosity_distance
from priors.cosmology import redshift_at

ISOTROPIC = {
    "tilt_1": "Sine(minimum=0, maximum=np.pi)",
    "tilt_2": "Sine(minimum=0, maximum=np.pi)",
    "phi_12": "Uniform(minimum=0, maximum=2*np.pi)",
    "phi_jl": "Uniform(minimum=0, maximum=2*np.pi)",
}
SPINS = {"a_1": "Uniform(minimum=0, maximum=0.9)", "a_2": "Uniform(minimum=0, maximum=0.9)"}
RATE = "bilby.gw.prior.UniformSourceFrame(minimum=0, maximum={redshift_max}, name='redshift')"
UNIFORM = {
    "mass_1": "Uniform(minimum=10, maximum=70)",
    "mass_2": "Uniform(minimum=10, maximum=70)",
}
# masses of either frame and parameters, distances and redshifts, spins of either description
SOURCE_FRAME = {**UNIFORM, "redshift": RATE, **SPINS, **ISOTROPIC}
DETECTOR_FRAME = {
    "chirp_mass": "Uniform(minimum=5, maximum=120)",
    "mass_ratio": "Uniform(minimum=0.1, maximum=1)",
    "luminosity_distance": "PowerLaw(alpha=1, minimum=1, maximum=7000)",
    **SPINS,
    **ISOTROPIC,
}
NARROW = {
    "mass_1": "PowerLaw(alpha=-2, minimum=15, maximum=60)",
    "mass_2": "PowerLaw(alpha=-1, minimum=15, maximum=60)",
    "redshift": "PowerLaw(alpha=1.5, minimum=0, maximum=0.7)",
    "a_1": "TruncatedGaussian(mu=0.6, sigma=0.2, minimum=0, maximum=0.9)",
    "a_2": "PowerLaw(alpha=1, minimum=0, maximum=0.8)",
    "cos_tilt_1": "TruncatedGaussian(mu=1, sigma=0.5, minimum=-1, maximum=1)",
    "cos_tilt_2": "Uniform(minimum=-1, maximum=1)",
    "phi_12": "Uniform(minimum=0, maximum=2*np.pi)",
    "phi_jl": "Uniform(minimum=0, maximum=2*np.pi)",
}


@pytest.fixture
def make(tmp_path):
    """A population from its priors."""

    def density(priors, frame="source", redshift_max=0.8, name="mine"):
        lines = [f"  {key}: {text}" for key, text in priors.items()]
        path = tmp_path / f"{name}.yaml"
        path.write_text("\n".join([f"frame: {frame}", "priors:", *lines]) + "\n")
        return SourceDensity(load_population(str(path), redshift_max))

    return density


def is_found(sources):
    """A detector that prefers heavy sources with the heavier body's spin along the orbit."""
    one, two = sources["mass_1_detector"], sources["mass_2_detector"]
    chirp_mass = (one * two) ** 0.6 / (one + two) ** 0.2
    spin = sources["a_1"] * np.cos(sources["tilt_1"])
    return sources["luminosity_distance"] < 1200 * (chirp_mass / 30) ** (5 / 6) * (1 + 0.6 * spin)


def volume(weights, found, source):
    return sensitive_volume([Draws(weights, len(weights), source.volume, 1.0)], [found])


@pytest.mark.parametrize("priors", [SOURCE_FRAME, DETECTOR_FRAME], ids=["source", "detector"])
def test_volume_of_a_population_is_that_of_its_own_draws(priors, make):
    rng = np.random.default_rng(1)
    source = make(priors, "source" if priors is SOURCE_FRAME else "detector", name="source")
    target = make(NARROW, name="target")
    draws = source.population.sample(300_000, rng)
    own = target.population.sample(200_000, rng)
    weighted = volume(population_target(target, source, rng).weigh(draws), is_found(draws), source)
    truth = volume(np.ones(200_000), is_found(own), target)
    assert weighted.std < 0.03 * truth.volume
    assert abs(weighted.volume - truth.volume) < 4 * np.hypot(weighted.std, truth.std)


def test_mean_weight_is_the_covered_share_of_the_volumes(make):
    rng = np.random.default_rng(2)
    source = make(DETECTOR_FRAME, "detector", name="source")
    target = make({**NARROW, "mass_1": "Uniform(minimum=15, maximum=300)"}, name="target")
    aim = population_target(target, source, rng)
    # the heaviest redshifted masses, and those most unlike each other, are not there
    assert 0.5 < aim.covered < 0.999
    assert "count as never found" in aim.warning
    mean, error = mean_weight(aim.weigh(source.population.sample(300_000, rng)))
    assert abs(mean - aim.mean_weight) < 4 * error + 0.02 * aim.mean_weight


@pytest.mark.parametrize("priors", [SOURCE_FRAME, DETECTOR_FRAME], ids=["source", "detector"])
def test_volume_of_a_pair_is_that_of_its_own_draws(priors, make):
    rng = np.random.default_rng(3)
    source = make(priors, "source" if priors is SOURCE_FRAME else "detector", name="source")
    own = make(
        {
            **SOURCE_FRAME,
            "mass_1": f"LogNormal(mu={np.log(35)}, sigma=0.1)",
            "mass_2": f"LogNormal(mu={np.log(20)}, sigma=0.1)",
        },
        redshift_max=source.population.redshift_max,
        name="own",
    )
    aim = pair_target((35.0, 20.0), 0.1, source, rng)
    assert aim.covered == pytest.approx(1, abs=1e-3)
    assert aim.warning is None
    draws = source.population.sample(400_000, rng)
    weights = aim.weigh(draws)
    mean, error = mean_weight(weights)
    assert abs(mean - aim.mean_weight) < 4 * error
    weighted = volume(weights, is_found(draws), source)
    drawn = own.population.sample(200_000, rng)
    truth = volume(np.ones(200_000), is_found(drawn), own)
    assert weighted.std < 0.06 * truth.volume
    assert abs(weighted.volume - truth.volume) < 4 * np.hypot(weighted.std, truth.std)


def test_found_within_a_sphere_is_its_volume(make):
    """Closed forms: 4/3 pi r^3 where space is Euclidean, the cosmological integral where not."""
    rng = np.random.default_rng(4)
    for radius, redshift_max, tolerance in ((0.6, 2.3e-4, 1e-3), (1500.0, 0.5, None)):
        top = float(luminosity_distance(np.array(redshift_max)))
        priors = {
            **DETECTOR_FRAME,
            "luminosity_distance": f"PowerLaw(alpha=0, minimum=1e-6, maximum={top})",
        }
        source = make(priors, "detector", redshift_max, name="source")
        target = make({**NARROW, "redshift": RATE}, redshift_max=redshift_max, name="target")
        draws = source.population.sample(200_000, rng)
        weights = population_target(target, source, rng).weigh(draws)
        result = volume(weights, draws["luminosity_distance"] < radius, source)
        reach = float(redshift_at(np.array(radius)))
        truth = comoving_time_volume(reach)
        if tolerance:
            assert truth == pytest.approx(4 / 3 * np.pi * (radius / 1e3) ** 3, rel=tolerance)
        assert result.std < 0.03 * truth
        assert abs(result.volume - truth) < 4 * result.std


def test_joint_density_is_that_of_bilby():
    population = load_population("end_o3_ratesandpops", 1.0)
    sources = population.sample(500, np.random.default_rng(5))
    names = ("a_1", "a_2", "tilt_1", "tilt_2", "phi_12", "phi_jl")
    found = SourceDensity(population).log_prob(sources, names)
    priors = {
        key: prior
        for key, prior in population.definition.priors.items()
        if key in (*names, "mass_1", "mass_2")
    }
    values = {name: sources[name] for name in names}
    values |= {f"mass_{i}": sources[f"mass_{i}_source"] for i in "12"}
    each = [priors[key].ln_prob(values[key]) for key in priors if key != "mass_2"]
    each.append(priors["mass_2"].ln_prob(values["mass_2"], mass_1=values["mass_1"]))
    # the redshift's own density is 1, relative to that of a constant rate
    np.testing.assert_allclose(found, np.sum(each, axis=0), atol=1e-9)
    assert isinstance(PriorDict(priors), dict)


def test_bodies_keep_their_spins_when_they_change_names(make):
    """Masses that overlap and bodies with other spins: the heavier one may be either."""
    rng = np.random.default_rng(6)
    unlike = {**SOURCE_FRAME, "a_1": "PowerLaw(alpha=3, minimum=0, maximum=0.9)"}
    source, target = make(SOURCE_FRAME, name="source"), make(unlike, name="target")
    assert set(differing(target, source)) == {*SPINS, *ISOTROPIC}
    draws = source.population.sample(200_000, rng)
    weights = np.exp(log_weights(target, source, draws))
    own = target.population.sample(200_000, rng)
    for name in SPINS:
        mean, error = mean_weight(weights * draws[name])
        assert abs(mean - own[name].mean()) < 4 * np.hypot(error, own[name].std() / 447)
    # half the time the fast one is the lighter
    assert own["a_2"].mean() == pytest.approx(own["a_1"].mean(), abs=0.01)


def test_the_same_population_has_weights_of_one(make):
    for frame, priors in (("source", SOURCE_FRAME), ("detector", DETECTOR_FRAME)):
        density = make(priors, frame)
        sources = density.population.sample(1000, np.random.default_rng(7))
        assert differing(density, density) == ()
        np.testing.assert_allclose(log_weights(density, density, sources), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"a_1": "0"}, "a_1 is drawn in the first and 0 in the second"),
        ({"phi_jl": "1.5"}, "phi_jl is drawn in the first and 1.5 in the second"),
        ({"lambda_1": "Uniform(minimum=0, maximum=9)"}, "lambda_1 is 0 in the first and drawn"),
    ],
)
def test_what_no_weights_can_do(changes, sentence, make):
    source = make(SOURCE_FRAME, name="source")
    target = make({**SOURCE_FRAME, **changes}, name="target")
    with pytest.raises(ValueError, match=sentence):
        population_target(target, source, np.random.default_rng(8))


def test_spins_along_the_orbit_are_no_part_of_spins_in_all_directions(make):
    others = {key: text for key, text in SOURCE_FRAME.items() if key not in (*SPINS, *ISOTROPIC)}
    chi = {"chi_1": "Uniform(minimum=-0.9, maximum=0.9)", "chi_2": "0.1"}
    along = make({**others, **chi}, name="along")
    with pytest.raises(ValueError, match="a_1 is drawn in the first and along the orbit in"):
        differing(along, make(SOURCE_FRAME, name="all"))
    # but two such can be told apart
    steep = {**chi, "chi_1": "TruncatedGaussian(mu=0.3, sigma=0.3, minimum=-0.9, maximum=0.9)"}
    target = make({**others, **steep}, name="steep")
    rng = np.random.default_rng(9)
    draws, own = along.population.sample(100_000, rng), target.population.sample(100_000, rng)
    weights = np.exp(log_weights(target, along, draws))
    mean, error = mean_weight(weights * draws["a_1"] * np.cos(draws["tilt_1"]))
    expected = np.mean(own["a_1"] * np.cos(own["tilt_1"]))
    assert abs(mean - expected) < 4 * np.hypot(error, 0.3 / 316)


def test_draws_of_another_population_are_refused(make):
    source = make(SOURCE_FRAME)
    sources = source.population.sample(10, np.random.default_rng(10))
    require_drawn_from(source, sources, "here")
    far = {**sources, "redshift": sources["redshift"] + 1}
    with pytest.raises(ValueError, match=r"here: .*does not have.*another population"):
        require_drawn_from(source, far, "here")
    with pytest.raises(ValueError, match="has at another density"):
        require_drawn_from(source, {**sources, "log_prior": sources["log_prior"] + 0.1}, "here")
    del sources["redshift"]
    with pytest.raises(ValueError, match="has no redshift"):
        require_drawn_from(source, sources, "here")


def test_populations_without_a_density(make, tmp_path):
    with pytest.raises(ValueError, match="no density to weight by: its sources have no masses"):
        SourceDensity(load_population("ringdown"))
    constrained = {**SOURCE_FRAME, "a_1": "Uniform(minimum=0, maximum=1)"}
    with pytest.raises(ValueError, match="it constrains mass_1_detector"):
        make({**constrained, "mass_1_detector": "Constraint(minimum=0, maximum=80)"})
