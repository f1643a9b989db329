"""What is kept of injections to be looked at, against what the search itself gave for them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import RATE, Setup
from infer.foreground import find_foreground
from infer.injection_details import NUM_EACH, choose_injections, find_injection_details
from infer.prepared import read_prepared, write_prepared
from infer.session import opened
from ledger import InjectionSet
from ledger.injections import InjectionDetails
from runtime import make_provenance

YEAR = 365.25 * 86400.0


@pytest.mark.parametrize("kind", ["streaming", "windowed"])
def test_scores_and_strain_are_those_of_the_search(
    setup: Setup, tmp_path: Path, kind: str
) -> None:
    inputs = setup.inputs
    injections = InjectionSet.read(inputs["injections"])
    with opened(inputs["experiment"], getattr(setup, kind), "inprocess", None) as session:
        write_prepared(session, inputs["strain"], tmp_path / "frames", 0)
        prepared = read_prepared(session, inputs["strain"], tmp_path / "frames", 0)
        found = find_foreground(prepared, injections)
        background = SimpleNamespace(statistic=np.arange(9.0), livetime=YEAR)
        made = find_injection_details(prepared, injections, found, background)
        # none lies near an end of its file
        assert made.injection.tolist() == [0, 1, 2, 3]
        reach = round((1.5 + 0.5) * RATE)
        starts = [stretch.gps_start for stretch in prepared.stretches]
        for i, time in enumerate(injections.time):
            owner = prepared.stretches[int(np.searchsorted(starts, time, "right")) - 1]
            centre = round((time - owner.gps_start) * RATE)
            strain = owner.whitened[:, centre - reach : centre + reach]
            np.testing.assert_allclose(made.whitened[i] - made.signal[i], strain, atol=2e-4)
            # a sine-Gaussian at the injected time, as loud as it says by a PSD of a few seconds
            assert abs(np.abs(made.signal[i]).argmax(axis=1) - reach).max() <= 0.01 * RATE
            power = np.square(made.signal[i], dtype=np.float64).sum()
            assert np.sqrt(power) == pytest.approx((8, 60, 80, 120)[i], rel=0.25)
    # the search looks at scores of which the first ends at the injected time
    at = made.score_start + np.arange(made.score.shape[1]) / made.score_rate
    after = at > -0.5 / made.score_rate
    np.testing.assert_allclose(made.score[:, after].max(axis=1), found.statistic, atol=2e-3)
    assert at[0] == pytest.approx(-2, abs=0.1)
    assert at[-1] == pytest.approx(2, abs=0.1)
    made.write(tmp_path / "details.hdf5", make_provenance("test", session.experiment))
    read = InjectionDetails.read(tmp_path / "details.hdf5")
    np.testing.assert_array_equal(read.score, made.score)


def recovered(statistic: np.ndarray, snr: np.ndarray, late: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(
        statistic=statistic, snr=snr, injection_time=np.zeros(len(snr)), time=late
    )


def test_choice_by_loudness() -> None:
    rng = np.random.default_rng(1)
    number = 200
    statistic = rng.permutation(number).astype(float)
    snr = rng.permutation(number).astype(float)
    late = np.zeros(number)
    # loud, but at another time
    late[statistic == 199] = 100.0
    background = SimpleNamespace(statistic=np.arange(50.0, 150.0), livetime=YEAR)
    experiment = SimpleNamespace(
        evaluation=SimpleNamespace(false_alarm_rates=[1.0, 10.0]),
        search=SimpleNamespace(cluster_length=4.0),
    )
    rows = choose_injections(recovered(statistic, snr, late), background, experiment)
    # the tenth loudest background event is 140
    found = set(np.flatnonzero((statistic >= 140) & (statistic < 199)))
    loudest = {np.flatnonzero(statistic == s)[0] for s in range(189, 199)}
    quietest = {np.flatnonzero(statistic == s)[0] for s in range(140, 150)}
    missed = sorted(set(range(number)) - found, key=lambda i: -snr[i])[:NUM_EACH]
    assert rows.tolist() == sorted(loudest | quietest | set(missed))
    # without a rate that is supported: above all background
    experiment.evaluation.false_alarm_rates = [0.1]
    rows = choose_injections(recovered(statistic, snr, late), background, experiment)
    assert statistic[rows[np.isin(rows, list(found))]].min() <= 149
    empty = np.zeros(0)
    assert not len(choose_injections(recovered(empty, empty, empty), background, experiment))
