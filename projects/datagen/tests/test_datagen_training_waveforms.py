"""Sources to train on are drawn as they are seen."""

import json

import numpy as np
import priors
import pytest
from datagen.cli import main
from datagen.training_waveforms import SeenSources, chirp_mass
from ledger import WaveformSet


@pytest.mark.parametrize("exponent", [0.0, 1.5, 2.5])
def test_sources_follow_the_weighted_population(exponent: float) -> None:
    """Compare with the population weighted by hand: same quantiles of mass and of redshift."""
    population = priors.population("end_o3_ratesandpops", 1.0)
    generator = np.random.default_rng(1)
    drawn = SeenSources(population, exponent, generator).draw(4000, generator)
    plain = population.sample(200_000, np.random.default_rng(2))
    weight = chirp_mass(plain) ** exponent
    assert all(len(values) == 4000 for values in drawn.values())
    for name in ("mass_1_source", "mass_2_source", "redshift"):
        order = np.argsort(plain[name])
        cumulative = np.cumsum(weight[order]) / weight.sum()
        for quantile in (0.1, 0.5, 0.9):
            edge = plain[name][order][np.searchsorted(cumulative, quantile)]
            # five times the binomial standard deviation of 4000 draws
            assert np.mean(drawn[name] < edge) == pytest.approx(
                quantile, abs=5 * np.sqrt(quantile * (1 - quantile) / 4000)
            )


def make(folder, output, *more):
    with pytest.raises(SystemExit) as stopped:
        main(
            [
                *("training-waveforms", "--experiment", str(folder), "--output", str(output)),
                *(str(a) for a in more),
            ]
        )
    assert stopped.value.code == 0
    return output


def test_any_number_of_branches_gives_the_same_bytes(edited, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("datagen.training_waveforms.BLOCK_SIZE", 16)
    folder = edited(waveforms__num_training=75)
    whole = make(folder, tmp_path / "whole.hdf5")
    for branches in (2, 5):
        parts = [
            str(make(folder, tmp_path / f"{b}.hdf5", "--branch", b, "--branches", branches))
            for b in range(branches)
        ]
        merged = tmp_path / "merged.hdf5"
        with pytest.raises(SystemExit) as stopped:
            main(
                [
                    *("merge-training-waveforms", "--experiment", str(folder)),
                    *("--parts", json.dumps(parts), "--output", str(merged)),
                ]
            )
        assert stopped.value.code == 0
        assert merged.read_bytes() == whole.read_bytes()


def test_parameters_alone_are_the_same_sources(edited, tmp_path) -> None:
    stored = WaveformSet.read(
        make(edited(waveforms__num_training=40), tmp_path / "waveforms.hdf5")
    )
    bare = WaveformSet.read(
        make(
            edited(waveforms__num_training=40, waveforms__storage="parameters"),
            tmp_path / "parameters.hdf5",
        )
    )
    assert len(stored.plus) == 40
    assert len(bare.plus) == len(bare.cross) == 0
    for name, values in stored.parameters.items():
        np.testing.assert_array_equal(values, bare.parameters[name])


def test_a_missing_part_and_a_wrong_branch_are_sentences(edited, fails, tmp_path) -> None:
    folder = edited(waveforms__num_training=40)
    part = make(folder, tmp_path / "0.hdf5")
    common = ("--experiment", folder, "--output", tmp_path / "x.hdf5")
    message = fails("merge-training-waveforms", *common, "--parts", json.dumps([str(part)] * 2))
    assert "hold 80 signals, expected waveforms.num_training, 40" in message
    assert "no branch 1 of 2" in fails(
        "training-waveforms", *common, "--branch", 1, "--branches", 2
    )
