"""A disturbance that is in both detectors meets itself in no slide, another at most in one."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from conftest import FILES, RATE, Setup, burst
from infer.search import search
from ledger import EventSet, StrainIndex, StrainSegment
from runtime import load_experiment, make_provenance

# GPS times of disturbances, the same in both detectors
PLANTED = (1020.0, 1037.3, 2022.1)


@pytest.fixture
def disturbed(setup: Setup, tmp_path: Path) -> Path:
    """The strain with very loud disturbances, none of which is known."""
    provenance = make_provenance("test", load_experiment(setup.experiment))
    for name, (start, seconds) in FILES.items():
        segment = StrainSegment.read(setup.folder / f"{name}.hdf5")
        strain = {ifo: values.astype(np.float64) for ifo, values in segment.strain.items()}
        for time in PLANTED:
            if start <= time < start + seconds:
                burst(strain, start, time, 200)
        StrainSegment(strain=strain, gps_start=start, sample_rate=RATE).write(
            tmp_path / f"{name}.hdf5", provenance
        )
    index = StrainIndex.read(setup.folder / "index.hdf5")
    index.write(tmp_path / "index.hdf5", provenance)
    return tmp_path / "index.hdf5"


def test_a_correlated_disturbance_does_not_appear_twice(
    setup: Setup, disturbed: Path, tmp_path: Path
) -> None:
    experiment = load_experiment(setup.experiment)
    inputs = {**setup.inputs, "strain": disturbed, "injections": None}
    search(repository=setup.streaming, output=tmp_path / "events", **inputs)
    zero_lag = EventSet.read(tmp_path / "events/zero-lag.hdf5")
    background = EventSet.read(tmp_path / "events/background.hdf5")
    for time in PLANTED:
        near = (np.abs(zero_lag.time - time) < 0.5).all(axis=1)
        assert near.sum() == 1
    # what an event looks at, kernel plus integration, holds the disturbance in a detector
    reach = experiment.kernel_length + experiment.search.integration_length
    met = 0
    for first, second in itertools.product(PLANTED, PLANTED):
        pair = (np.abs(background.time - [first, second]) < reach).all(axis=1)
        assert pair.sum() <= (first != second)
        met += int(pair.sum())
    # alone it appears in slide after slide
    alone = np.abs(background.time - PLANTED[0]) < 0.5
    assert alone.sum() > 3
    assert len(background.slide_livetime) > 4
    assert met < len(background.slide_livetime)
