"""Rejected draws that were kept by number are drawn again."""

import dataclasses

import numpy as np
from evaluate.rejected import rejected_parameters
from ledger import RecoveredInjections
from priors import population
from priors.draws import NumberedDraws
from runtime import generator_for

SEED = 11
POPULATION = population("end_o3_ratesandpops", 0.5)


def drawn(file, numbers):
    """Parameters as the injections' own stage draws them."""
    draws = NumberedDraws(
        POPULATION, lambda chunk: generator_for(SEED, "injections/2", file, chunk)
    )
    return draws.take(numbers)


def test_parameters_of_the_rejected_come_back():
    numbers = {0: np.array([3, 5000, 7]), 4: np.array([3, 4095])}
    parts = {file: drawn(file, n) for file, n in numbers.items()}
    # rows of the two files take turns
    order = np.array([3, 0, 4, 1, 2])
    kept = {
        name: np.concatenate([part[name] for part in parts.values()])[order] for name in parts[0]
    }
    nothing = np.zeros(0)
    bare = RecoveredInjections(
        ifos=("H1", "L1"),
        snr_threshold=4.0,
        volume=1.0,
        stream="injections/2",
        statistic=nothing,
        time=nothing,
        injection_time=nothing,
        snr=nothing,
        ifo_snr=np.zeros((0, 2)),
        fold=nothing,
        parameters={},
        rejected={},
        rejected_snr=np.ones(5),
        rejected_file=np.repeat([0, 4], [3, 2])[order],
        rejected_draw=np.concatenate(list(numbers.values()))[order],
    )
    found = rejected_parameters(bare, POPULATION, SEED)
    assert found.keys() == kept.keys()
    for name, values in found.items():
        np.testing.assert_array_equal(values, kept[name])
    # what the file has is not drawn again
    stored = dataclasses.replace(bare, rejected={"redshift": np.arange(5.0)})
    assert rejected_parameters(stored, POPULATION, SEED) is stored.rejected


def test_nothing_rejected_is_nothing():
    nothing = np.zeros(0)
    bare = RecoveredInjections(
        ifos=("H1",), snr_threshold=4.0, volume=1.0, stream="injections/0", statistic=nothing,
        time=nothing, injection_time=nothing, snr=nothing, ifo_snr=np.zeros((0, 1)), fold=nothing,
        parameters={}, rejected={}, rejected_snr=nothing, rejected_file=nothing,
        rejected_draw=nothing,
    )  # fmt: skip
    assert rejected_parameters(bare, POPULATION, SEED) == {}
