"""Signals of products, stored or made again."""

import dataclasses

import numpy as np
import priors
import pytest
import torch
from ledger import InjectionSet, WaveformSet
from runtime.experiment import Waveforms
from waveforms import (
    detector_responses,
    injection_responses,
    signal_model,
    training_polarizations,
)

RATE = 512.0
IFOS = ("H1", "L1")
SETTINGS = Waveforms(
    approximant="IMRPhenomPv2",
    prior="end_o3_ratesandpops",
    duration=2,
    right_pad=0.5,
    minimum_frequency=20,
    reference_frequency=50,
    num_training=1,
)


@pytest.fixture(scope="module")
def sources():
    population = priors.population("end_o3_ratesandpops", 0.5)
    return population.sample(150, np.random.default_rng(1))


@pytest.fixture(scope="module")
def injections(sources):
    """Two strain files, of 90 and 60 injections: neither is whole blocks."""
    model = signal_model(SETTINGS, RATE)
    time = 1e9 + 40.0 * np.arange(150)
    file = np.repeat([0, 3], [90, 60])
    response = np.concatenate(
        [
            detector_responses(
                model, {k: v[file == i] for k, v in sources.items()}, time[file == i], IFOS
            )
            for i in (0, 3)
        ]
    )
    nothing = np.zeros(0)
    return InjectionSet(
        ifos=IFOS,
        sample_rate=RATE,
        coalescence=model.coalescence,
        snr_threshold=4.0,
        volume=1.0,
        stream="injections/0",
        time=time,
        shift=np.zeros((150, 2)),
        snr=np.ones(150),
        ifo_snr=np.ones((150, 2)),
        file=file,
        draw=np.arange(150),
        parameters=sources,
        response=response,
        rejected={},
        rejected_snr=nothing,
        rejected_by=nothing,
        rejected_file=nothing,
        rejected_draw=nothing,
        failed_file=nothing,
        failed_draw=nothing,
        failed_reason=[],
    )


def test_stored_responses_are_given_as_they_are(injections):
    assert injection_responses(injections, SETTINGS) is injections.response


def test_remade_responses_are_the_stored_ones(injections):
    bare = dataclasses.replace(injections, response=injections.response[:0])
    remade = injection_responses(bare, SETTINGS)
    assert len(remade) == 150
    for row in np.random.default_rng(2).permutation(150)[:40]:
        np.testing.assert_array_equal(remade[row], injections.response[row])


def test_a_training_set_may_hold_parameters_alone(sources):
    model = signal_model(SETTINGS, RATE)
    plus, cross, good = model.polarizations(sources)
    assert good.all()
    stored = WaveformSet(
        sample_rate=RATE,
        coalescence=model.coalescence,
        num_failed=0,
        parameters=sources,
        plus=plus.float().numpy(),
        cross=cross.float().numpy(),
    )
    bare = dataclasses.replace(stored, plus=stored.plus[:0], cross=stored.cross[:0])
    rows = torch.tensor([3, 149, 3, 70])
    device = torch.device("cpu")
    kept = training_polarizations(stored, SETTINGS, device)
    made = training_polarizations(bare, SETTINGS, device)
    assert len(kept) == len(made) == 150
    for left, right in zip(kept[rows], made[rows], strict=True):
        assert left.dtype == right.dtype == torch.float32
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-28)
