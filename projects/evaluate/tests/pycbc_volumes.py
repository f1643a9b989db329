"""Found and missed injections, and what PyCBC's volume estimator makes of them.

    python -m venv DIR && DIR/bin/pip install pycbc==2.11.0
    DIR/bin/python tests/pycbc_volumes.py > tests/pycbc_volumes.json

PyCBC is not among the test dependencies: it brings some thirty packages and older numpy and scipy,
which the lock would put into the stage's environment and image.
"""

import json
import sys

import numpy as np

# Exponent of the density of distance of each of PyCBC's distributions
POWERS = {"volume": 2.0, "distancesquared": 1.0, "uniform": 0.0, "log": -1.0}
NEAREST, FARTHEST = 0.01, 1.0  # Mpc
# Chirp mass of two bodies of 1.4 Msun, to which chirp distances are scaled [Msun]
STANDARD = 1.4 * 2**-0.2
SIZE = 40_000


def is_found(distance, chirp_mass, rng):
    """A detector whose reach goes with the chirp mass, and with the direction."""
    reach = 0.5 * (chirp_mass / 30) ** (5 / 6) * rng.random(len(distance)) ** 0.3
    return distance < reach


def by_distance(distribution):
    """Distances [Mpc], masses [Msun], and whether found, for a distribution of distance."""
    rng = np.random.default_rng(1)
    power = POWERS[distribution] + 1
    ends = np.array([NEAREST, FARTHEST])
    uniform = rng.random(SIZE)
    if power:
        low, high = ends**power
        distance = (low + uniform * (high - low)) ** (1 / power)
    else:
        distance = ends[0] * (ends[1] / ends[0]) ** uniform
    mass = 10 + 40 * rng.random((2, SIZE))
    mass_1, mass_2 = mass.max(axis=0), mass.min(axis=0)
    chirp_mass = (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2
    return distance, mass_1, mass_2, chirp_mass, is_found(distance, chirp_mass, rng)


def by_chirp_distance(top=0.1):
    """The same, uniform in volume of the chirp distance up to `top` [Mpc]."""
    rng = np.random.default_rng(2)
    _, mass_1, mass_2, chirp_mass, _ = by_distance("volume")
    distance = top * rng.random(SIZE) ** (1 / 3) * (chirp_mass / STANDARD) ** (5 / 6)
    return distance, mass_1, mass_2, chirp_mass, is_found(distance, chirp_mass, rng)


def estimate():
    """Volume and standard error of every table, by PyCBC [Mpc^3]."""
    from pycbc.sensitivity import volume_montecarlo

    results = {}
    for name in POWERS:
        distance, _, _, chirp_mass, found = by_distance(name)
        results[name] = volume_montecarlo(
            *(distance[found], distance[~found], chirp_mass[found], chirp_mass[~found]),
            *("distance", name, "distance", NEAREST, FARTHEST),
        )
    distance, _, _, chirp_mass, found = by_chirp_distance()
    results["chirp_distance"] = volume_montecarlo(
        *(distance[found], distance[~found], chirp_mass[found], chirp_mass[~found]),
        *("chirp_distance", "volume", "chirp_distance", None, 0.1),
    )
    return {name: [float(value) for value in pair] for name, pair in results.items()}


if __name__ == "__main__":
    json.dump(estimate(), sys.stdout, indent=1)
    sys.stdout.write("\n")
