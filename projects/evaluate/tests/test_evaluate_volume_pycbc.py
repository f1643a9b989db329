"""Sensitive volume against PyCBC's estimator, on the same found and missed injections."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pycbc_volumes
import pytest
from evaluate.densities import SourceDensity
from evaluate.targets import population_target
from evaluate.volume import Draws, mean_weight, sensitive_volume
from priors import load_population
from priors.cosmology import redshift_at

# What PyCBC 2.11.0 gives; `pycbc_volumes.py` says how it was made
STORED = json.loads(Path(pycbc_volumes.__file__).with_suffix(".json").read_text())
MASSES = "mass_1: Uniform(10, 50)\n  mass_2: Uniform(10, 50)\n"
# Among 1 Mpc, space is Euclidean to a part in a thousand
EUCLIDEAN = 2e-3


@pytest.fixture(scope="module")
def expected():
    if importlib.util.find_spec("pycbc"):
        return pycbc_volumes.estimate()
    return STORED


@pytest.mark.parametrize("name", pycbc_volumes.POWERS)
def test_distributions_of_distance(name, expected, tmp_path):
    """PyCBC divides by the sum of all weights, which ours leaves to chance: its mean is 1."""
    prior = (
        f"PowerLaw(alpha={pycbc_volumes.POWERS[name]}, minimum={pycbc_volumes.NEAREST}, "
        f"maximum={pycbc_volumes.FARTHEST})"
    )
    top = float(redshift_at(np.array(pycbc_volumes.FARTHEST)))
    rate = f"bilby.gw.prior.UniformSourceFrame(minimum=1e-9, maximum={top!r}, name='redshift')"
    densities = []
    for file, distance in (("source", prior), ("target", rate)):
        key = "luminosity_distance" if file == "source" else "redshift"
        path = tmp_path / f"{file}.yaml"
        path.write_text(f"frame: source\npriors:\n  {MASSES}  {key}: {distance}\n")
        densities.append(SourceDensity(load_population(str(path))))
    source, target = densities
    distance, mass_1, mass_2, _, found = pycbc_volumes.by_distance(name)
    parameters = {
        "mass_1_source": mass_1,
        "mass_2_source": mass_2,
        "redshift": redshift_at(distance),
    }
    weights = population_target(target, source, np.random.default_rng(1)).weigh(parameters)
    mean, error = mean_weight(weights * source.volume / target.volume)
    assert abs(mean - 1) < 4 * error + EUCLIDEAN
    ours = sensitive_volume([Draws(weights, len(weights), source.volume, 1.0)], [found])
    volume, std = expected[name]
    assert ours.volume * 1e9 / mean == pytest.approx(volume, rel=EUCLIDEAN)
    assert ours.std * 1e9 / mean == pytest.approx(std, rel=EUCLIDEAN)
    assert abs(ours.volume * 1e9 - volume) < 4 * error * volume + EUCLIDEAN * volume


def test_chirp_distance(expected):
    """Injections uniform in chirp volume, as in MLGWSC-1: the weights are chirp masses."""
    _, _, _, chirp_mass, found = pycbc_volumes.by_chirp_distance()
    farthest = 0.1 * (chirp_mass.max() / pycbc_volumes.STANDARD) ** (5 / 6)
    weights = (chirp_mass / chirp_mass.max()) ** 2.5
    sphere = 4 / 3 * np.pi * farthest**3
    ours = sensitive_volume([Draws(weights, len(weights), sphere, 1.0)], [found])
    volume, std = expected["chirp_distance"]
    assert ours.volume == pytest.approx(volume, rel=1e-9)
    # PyCBC's error counts the draws that would have to be added to fill the sphere
    assert ours.std == pytest.approx(std, rel=0.05)
