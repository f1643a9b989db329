"""Largest amplitudes of compact binaries, relative to the Newtonian, and how they are found.

`python -m waveforms.envelope` writes the table `envelope.json` anew; docs/snr-bound.md tells what
it holds and what it is good for.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lal
import lalsimulation
import numpy as np

TABLE = Path(__file__).with_name("envelope.json")
# Spin magnitudes up to here are searched.
SPIN_MAX = 0.999
# Numbers between 0 and 1 that make a binary of a class, see `binary`.
NUM_COORDINATES = 8
# The first of these, those that the amplitude of a quadrupole depends on.
NUM_GRIDDED = 5
# Models with modes other than the quadrupole, whose orientation cannot be taken out.
HIGHER_MODES = ("IMRPhenomXPHM",)
# Approximants of the table: how many random binaries are looked at in a class, how many rounds.
SEARCHES = {"IMRPhenomD": (500, 40), "IMRPhenomPv2": (1500, 60), "IMRPhenomXPHM": (1000, 60)}
MASS_RATIO_EDGES = (0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
EFFECTIVE_SPIN_EDGES = (-1.0, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 0.8, 1.0)
# In thousandths: total mass times frequency.
FREQUENCY_EDGES = tuple(
    k / 1000
    for k in (0, 4, 8, 12, 16, *range(20, 150, 5), *range(150, 200, 10), *range(200, 301, 20))
)
# Classes of mass ratio and effective spin in which a model's amplitude is without limit:
# IMRPhenomXPHM's grows a thousandfold at points near equal masses and spins of 0.8.
UNBOUNDED = {"IMRPhenomXPHM": ((4, 6), (4, 7))}
# The lowest frequency looked at in the first bin, times the mass; below, amplitudes are Newtonian.
LOWEST = 1e-4
POINTS_IN_BIN = 5
TOTAL_MASS = 50.0
NEWTONIAN = np.sqrt(5 / 24) * np.pi ** (-2 / 3)


@dataclass(frozen=True)
class Envelope:
    """Upper bounds of an approximant's amplitude over the Newtonian one, by class and frequency.

    Attributes:
        mass_ratio: Edges of the classes of m2 / m1.
        effective_spin: Edges of the classes of (m1 chi1 + m2 chi2) / (m1 + m2), where chi is a
            spin's component along the orbital angular momentum.
        frequency: Edges of the bins of total mass times frequency, dimensionless.
        ratio: Bounds, of shape (mass ratio, effective spin, frequency); infinite where there is
            none.
    """

    mass_ratio: np.ndarray
    effective_spin: np.ndarray
    frequency: np.ndarray
    ratio: np.ndarray

    @classmethod
    def read(cls, approximant: str) -> Envelope | None:
        """The envelope of an approximant, None if there is none."""
        table = json.loads(TABLE.read_text())
        if approximant not in table["ratio"]:
            return None
        ratio = np.array(table["ratio"][approximant], dtype=np.float64)
        ratio[np.isnan(ratio)] = np.inf
        return cls(
            mass_ratio=np.array(table["mass_ratio"]),
            effective_spin=np.array(table["effective_spin"]),
            frequency=np.array(table["frequency"]),
            ratio=ratio,
        )


def newtonian_amplitude(
    frequency: np.ndarray, chirp_mass: np.ndarray | float, distance: np.ndarray | float
) -> np.ndarray:
    """Spectrum of a binary seen face-on, to lowest order.

    Cutler and Flanagan, Phys. Rev. D 49, 2658 (1994), equation 2.25, for the two polarizations'
    common modulus: sqrt(5/24) pi^(-2/3) (G Mc / c^3)^(5/6) f^(-7/6) c / D.

    Args:
        frequency: Frequencies [Hz].
        chirp_mass: Chirp mass in the detector frame [Msun].
        distance: Luminosity distance [Mpc].

    Returns:
        Modulus of the Fourier transform [1/Hz].
    """
    seconds = distance * (1e6 * lal.PC_SI / lal.C_SI)
    return NEWTONIAN * (chirp_mass * lal.MTSUN_SI) ** (5 / 6) * frequency ** (-7 / 6) / seconds


def chirp_mass(mass_1: Any, mass_2: Any) -> Any:
    """Chirp mass of binaries, numbers or arrays, in the units of the masses."""
    return (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2


def binary(
    coordinates: np.ndarray, mass_ratio: tuple[float, float], effective_spin: tuple[float, float]
) -> dict[str, float]:
    """A binary of a class: each point of the unit cube gives one, and every one has a point.

    Args:
        coordinates: `NUM_COORDINATES` numbers from 0 to 1.
        mass_ratio: Lower and upper edge of the class.
        effective_spin: Lower and upper edge of the class.

    Returns:
        `mass_1`, `mass_2` [Msun], the spins' components in the frame of the orbital angular
        momentum, `inclination` and `phase` [rad].
    """
    q = mass_ratio[0] + coordinates[0] * (mass_ratio[1] - mass_ratio[0])
    low, high = np.clip(effective_spin, -SPIN_MAX, SPIN_MAX)
    effective = low + coordinates[1] * (high - low)
    part_1, part_2 = 1 / (1 + q), q / (1 + q)
    least = max(-SPIN_MAX, (effective - part_2 * SPIN_MAX) / part_1)
    most = min(SPIN_MAX, (effective + part_2 * SPIN_MAX) / part_1)
    s1z = least + coordinates[2] * (most - least)
    s2z = np.clip((effective - part_1 * s1z) / part_2, -SPIN_MAX, SPIN_MAX)
    plane_1 = coordinates[3] * np.sqrt(max(0.0, SPIN_MAX**2 - s1z**2))
    plane_2 = coordinates[4] * np.sqrt(max(0.0, SPIN_MAX**2 - s2z**2))
    angle = 2 * np.pi * coordinates[5]
    return {
        "mass_1": TOTAL_MASS * part_1,
        "mass_2": TOTAL_MASS * part_2,
        "s1x": plane_1,
        "s1y": 0.0,
        "s1z": s1z,
        "s2x": plane_2 * np.cos(angle),
        "s2y": plane_2 * np.sin(angle),
        "s2z": s2z,
        "inclination": np.arccos(2 * coordinates[6] - 1),
        "phase": 2 * np.pi * coordinates[7],
    }


def amplitude_ratio(
    approximant: str, source: Mapping[str, float], scaled_frequency: np.ndarray
) -> np.ndarray:
    """Amplitude of lalsimulation's signal over the Newtonian one.

    A detector whose antenna factors are F at some polarization angle sees at most |F| times half
    the sum of |h+ + i hx| and |h+ - i hx|, whatever that angle is. For a quadrupole seen under an
    inclination with cosine c the two terms are (1 + c)^2 / 4 and (1 - c)^2 / 4 of its amplitude:
    their square roots add up to that of the amplitude itself, without knowing c. So of models with
    the quadrupole alone this gives the amplitude face-on, of others the largest response over the
    polarization angle at the source's orientation.

    Args:
        approximant: One of lalsimulation's with a frequency domain.
        source: Parameters as `binary` gives them.
        scaled_frequency: Total mass times frequency, dimensionless, increasing.
    """
    total = source["mass_1"] + source["mass_2"]
    frequency = lal.CreateREAL8Sequence(len(scaled_frequency))
    frequency.data = scaled_frequency / (total * lal.MTSUN_SI)
    aligned = approximant == "IMRPhenomD"
    spins = [0.0 if aligned and k[2] != "z" else source[k] for k in SPIN_NAMES]
    plus, cross = lalsimulation.SimInspiralChooseFDWaveformSequence(
        source["phase"],
        source["mass_1"] * lal.MSUN_SI,
        source["mass_2"] * lal.MSUN_SI,
        *spins,
        0.01 / (total * lal.MTSUN_SI),
        1e6 * lal.PC_SI,
        source["inclination"],
        None,
        lalsimulation.GetApproximantFromString(approximant),
        frequency,
    )
    right = np.abs(plus.data.data + 1j * cross.data.data) / 2
    left = np.abs(plus.data.data - 1j * cross.data.data) / 2
    if approximant in HIGHER_MODES:
        amplitude = right + left
    else:
        amplitude = np.square(np.sqrt(right) + np.sqrt(left))
    mass = chirp_mass(source["mass_1"], source["mass_2"])
    return amplitude / newtonian_amplitude(frequency.data, mass, 1.0)


SPIN_NAMES = ("s1x", "s1y", "s1z", "s2x", "s2y", "s2z")


def bin_points(edges: np.ndarray) -> np.ndarray:
    """Frequencies to look at in each bin, its edges among them; of shape (bin, point)."""
    low = np.maximum(edges[:-1], LOWEST)
    # just below the upper edge, since lalsimulation wants no frequency twice
    return np.linspace(low, edges[1:] * (1 - 1e-9), POINTS_IN_BIN, axis=1)


def largest_ratios(
    approximant: str,
    mass_ratio: tuple[float, float],
    effective_spin: tuple[float, float],
    generator: np.random.Generator,
    num_random: int,
    num_rounds: int,
) -> np.ndarray:
    """Search a class for the largest amplitude in each bin of frequency.

    A grid of the first coordinates with random others, and random binaries; then, round by round,
    changes of those that were best in some bin: some coordinates, by steps of all sizes, so that
    a search neither stays at a lesser maximum nor stops short of the top.

    Returns:
        Largest ratio found in each bin.
    """
    points = bin_points(np.array(FREQUENCY_EDGES))
    grid = np.array(list(itertools.product((0.0, 0.5, 1.0), repeat=NUM_GRIDDED)))
    cube = generator.random((len(grid) + num_random, NUM_COORDINATES))
    cube[: len(grid), :NUM_GRIDDED] = grid
    best = np.zeros(len(points))
    where = np.zeros((len(points), NUM_COORDINATES))
    for _ in range(num_rounds + 1):
        for coordinates in cube:
            source = binary(coordinates, mass_ratio, effective_spin)
            ratio = amplitude_ratio(approximant, source, points.ravel())
            ratio = ratio.reshape(points.shape).max(axis=1)
            better = ratio > best
            best[better], where[better] = ratio[better], coordinates
        step = 10 ** generator.uniform(-3, 0, size=(len(where), 1))
        step = step * (generator.random(where.shape) < 0.5)
        cube = np.clip(where + step * generator.normal(size=where.shape), 0, 1)
    return best


def make_envelope(approximant: str, seed: int) -> np.ndarray:
    """Largest ratios of all classes, of shape (mass ratio, effective spin, frequency)."""
    generator = np.random.default_rng(seed)
    return np.array(
        [
            [
                largest_ratios(approximant, ratios, spins, generator, *SEARCHES[approximant])
                for spins in itertools.pairwise(EFFECTIVE_SPIN_EDGES)
            ]
            for ratios in itertools.pairwise(MASS_RATIO_EDGES)
        ]
    )


def write_table() -> None:
    """Search all classes of all approximants twice and write the table; takes some minutes."""
    table: dict[str, Any] = {
        "mass_ratio": MASS_RATIO_EDGES,
        "effective_spin": EFFECTIVE_SPIN_EDGES,
        "frequency": FREQUENCY_EDGES,
        "ratio": {},
    }
    for name in SEARCHES:
        ratio = np.maximum(*(make_envelope(name, seed) for seed in (0, 1)))
        rounded = (np.ceil(1e4 * ratio) / 1e4).tolist()
        for row, column in UNBOUNDED.get(name, ()):
            rounded[row][column] = [None] * len(rounded[row][column])
        table["ratio"][name] = rounded
    # one class in a line
    TABLE.write_text(json.dumps(table).replace("[[", "[\n[").replace("], [", "],\n[") + "\n")


if __name__ == "__main__":
    write_table()
