import bilby
import numpy as np
import priors
import pytest
from astropy import cosmology as astropy_cosmology
from priors import conversions, cosmology
from scipy import integrate

REDSHIFTS = np.array([1e-6, 1e-3, 0.05, 0.3, 0.99, 1.0, 1.01, 2.0, 7.5, 19.0])


@pytest.mark.parametrize("name", ["Planck15", "Planck18", "WMAP9"])
def test_distances_agree_with_astropy(name):
    theirs = getattr(astropy_cosmology, name)
    distance = priors.luminosity_distance(REDSHIFTS, theirs)
    expected = theirs.luminosity_distance(REDSHIFTS).to_value("Mpc")
    np.testing.assert_allclose(distance, expected, rtol=1e-11)
    # one by one as all together
    alone = [float(priors.luminosity_distance(z, theirs)) for z in REDSHIFTS]
    np.testing.assert_array_equal(alone, distance)
    np.testing.assert_allclose(cosmology.redshift_at(distance, theirs), REDSHIFTS, rtol=1e-10)
    assert priors.luminosity_distance(np.zeros(2), theirs).tolist() == [0, 0]
    assert cosmology.redshift_at(np.zeros(1), theirs).tolist() == [0]


@pytest.mark.parametrize("name", ["Planck15", "Planck18"])
def test_volume_elements_agree_with_astropy(name):
    theirs = getattr(astropy_cosmology, name)
    element = theirs.differential_comoving_volume(REDSHIFTS).to_value("Gpc3 / sr")
    np.testing.assert_allclose(
        cosmology.time_volume_density(REDSHIFTS, theirs),
        4 * np.pi * element / (1 + REDSHIFTS),
        rtol=1e-10,
    )
    step = 1e-4
    near = [theirs.luminosity_distance(z).to_value("Mpc") for z in (0.7 - step, 0.7 + step)]
    slope = (near[1] - near[0]) / (2 * step)
    assert float(cosmology.distance_slope(0.7, theirs)) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("redshifts", [(0, 0.3), (0, 2.0), (0.2, 1.0)])
def test_volume_is_the_integral(redshifts):
    def shell(z):
        element = astropy_cosmology.Planck15.differential_comoving_volume(z)
        return element.to_value("Gpc3 / sr") / (1 + z)

    expected = 4 * np.pi * integrate.quad(shell, *redshifts)[0]
    volume = priors.comoving_time_volume(redshifts[1], redshifts[0])
    assert volume == pytest.approx(expected, rel=1e-9)


def test_volume_nearby_is_the_euclidean_sphere():
    radius = 299792.458 / 67.74 * 1e-6
    near = priors.comoving_time_volume(1e-3)
    assert near == pytest.approx(4 / 3 * np.pi * radius**3, rel=3e-3)


def test_beyond_the_table():
    with pytest.raises(ValueError, match=r"redshifts are on \[1, 101\], expected \[0, 100\]"):
        priors.luminosity_distance(np.array([1.0, 101.0]))
    with pytest.raises(ValueError, match="distances are on"):
        cosmology.redshift_at(np.array([1e9]))


def test_unknown_cosmology():
    with pytest.raises(ValueError, match=r"no cosmology 'Planck99'.*Planck15"):
        cosmology.named_cosmology("Planck99")


@pytest.mark.parametrize("pair", conversions.PAIRS, ids=lambda pair: "-".join(pair.names))
def test_masses_agree_with_bilby(pair):
    rng = np.random.default_rng(1)
    mass_1 = rng.uniform(1, 100, 200)
    mass_2 = mass_1 * rng.uniform(0.02, 1, 200)
    theirs = bilby.gw.conversion.generate_mass_parameters({"mass_1": mass_1, "mass_2": mass_2})
    values = pair.parameters(mass_1, mass_2)
    for name, value in zip(pair.names, values, strict=True):
        np.testing.assert_allclose(value, theirs[name], rtol=1e-12)
    np.testing.assert_allclose(pair.masses(*values), [mass_1, mass_2], rtol=1e-12)
    # and the jacobian is that of their conversion
    step = 1e-6
    columns = []
    for shifted in ((mass_1 * (1 + step), mass_2), (mass_1, mass_2 * (1 + step))):
        back = bilby.gw.conversion.generate_mass_parameters(
            {"mass_1": shifted[0], "mass_2": shifted[1]}
        )
        columns.append([back[name] - theirs[name] for name in pair.names])
    (a, c), (b, d) = columns
    jacobian = np.abs(a * d - b * c) / (mass_1 * mass_2 * step**2)
    np.testing.assert_allclose(np.exp(pair.log_jacobian(mass_1, mass_2)), jacobian, rtol=1e-3)


@pytest.mark.parametrize("name", ["symmetric_mass_ratio", "chirp_mass", "total_mass"])
def test_quantities_agree_with_bilby(name):
    theirs = bilby.gw.conversion.generate_mass_parameters({"mass_1": 30.0, "mass_2": 12.0})
    assert conversions.QUANTITIES[name](30.0, 12.0) == pytest.approx(theirs[name])


def test_relabelled_binaries_are_the_same_sources():
    rng = np.random.default_rng(2)
    drawn = {"mass_1_source": rng.uniform(5, 50, 300), "mass_2_source": rng.uniform(5, 50, 300)}
    for name in ("a_1", "a_2", "tilt_1", "tilt_2", "phi_12", "phi_jl", "phase", "redshift"):
        drawn[name] = rng.random(300)
    ordered = conversions.order_components(drawn)
    swapped = drawn["mass_2_source"] > drawn["mass_1_source"]
    assert 0 < swapped.sum() < 300
    assert (ordered["mass_1_source"] >= ordered["mass_2_source"]).all()

    def spins(sources):
        """Spins of the two bodies, the azimuth of the first being 0, of shape (body, xyz, n)."""
        azimuths = (0 * sources["phi_12"], sources["phi_12"])
        bodies = []
        for number, azimuth in zip("12", azimuths, strict=True):
            size, tilt = sources[f"a_{number}"], sources[f"tilt_{number}"]
            x, y = np.sin(tilt) * np.cos(azimuth), np.sin(tilt) * np.sin(azimuth)
            bodies.append(size * np.stack([x, y, np.cos(tilt)]))
        return np.stack(bodies)

    before, after = spins(drawn), spins(ordered)
    # what a rotation about the orbit's axis leaves: both z, the product of both, and their turn
    np.testing.assert_allclose(after[0, 2][swapped], before[1, 2][swapped])
    np.testing.assert_allclose(after[1, 2][swapped], before[0, 2][swapped])
    np.testing.assert_allclose((after[0] * after[1]).sum(0), (before[0] * before[1]).sum(0))
    turn = [np.cross(b[0], b[1], axis=0)[2] for b in (before, after)]
    np.testing.assert_allclose(turn[1], np.where(swapped, -turn[0], turn[0]), atol=1e-12)
    np.testing.assert_array_equal(ordered["redshift"], drawn["redshift"])
    moved = (ordered["phase"] - drawn["phase"])[swapped] % (2 * np.pi)
    np.testing.assert_allclose(moved, np.pi)
