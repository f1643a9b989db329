"""What training and search read: the right files, whole, at the right times."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from ledger import StrainIndex, StrainSegment
from preprocessing import WhiteningRecipe, whiten
from preprocessing.stretches import load_stretches
from runtime import Experiment, load_experiment, make_provenance

REPOSITORY = Path(__file__).parents[3]
RATE = 512
FILES = {"late": (2000.25, 30), "early": (1000.0, 40), "short": (500.0, 10), "other": (100.0, 30)}


@pytest.fixture
def experiment() -> Experiment:
    return load_experiment(REPOSITORY / "configs/smoke")


@pytest.fixture
def index(tmp_path: Path, experiment: Experiment) -> Path:
    """Three files to search and one to train on, in no order."""
    provenance = make_provenance("test", experiment)
    rng = np.random.default_rng(0)
    for name, (start, seconds) in FILES.items():
        strain = {ifo: 1e-22 * rng.standard_normal(seconds * RATE) for ifo in ("L1", "H1")}
        StrainSegment(strain=strain, gps_start=start, sample_rate=RATE).write(
            tmp_path / f"{name}.hdf5", provenance
        )
    path = tmp_path / "index.hdf5"
    StrainIndex(
        ifos=experiment.ifos,
        sample_rate=RATE,
        path=[f"{name}.hdf5" for name in FILES],
        label=list(FILES),
        gps_start=np.array([start for start, _ in FILES.values()]),
        gps_stop=np.array([start + seconds for start, seconds in FILES.values()]),
        role=np.array([[2], [2], [2], [0]]),
        known_label=[],
        known_time=np.zeros(0),
        known_window=np.zeros((0, 2)),
    ).write(path, provenance)
    return path


def test_files_of_a_role_come_in_time_order(
    index: Path, experiment: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = list(load_stretches(index, experiment, "search", 0, 1.5))
    assert [item.file.label for item in found] == ["early", "late"]
    assert "short.hdf5 is 10.0 s long, too short (10.5 s): left out" in caplog.text
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    for item in found:
        start, seconds = FILES[item.file.label]
        # 8 s for the PSD and half a filter of 1 s go before, half a filter behind
        assert item.gps_start == start + 8.5
        assert item.stretch.values.shape == (2, (seconds - 9) * RATE)
        segment = StrainSegment.read(item.file.path)
        strain = np.stack([segment.strain[ifo] for ifo in ("H1", "L1")])
        torch.testing.assert_close(
            item.stretch.values, whiten(torch.from_numpy(strain), recipe).values
        )


def test_what_gives_no_score_is_refused(index: Path, experiment: Experiment) -> None:
    with pytest.raises(ValueError, match=r"folds 0 to 0, found fold 1"):
        list(load_stretches(index, experiment, "search", 1, 1.5))
    with pytest.raises(ValueError, match=r"no training file .* for a score: 109.0 s are needed"):
        list(load_stretches(index, experiment, "training", 0, 100.0))
    other = experiment.model_copy(update={"ifos": ("H1",)})
    with pytest.raises(ValueError, match="was made with ifos"):
        list(load_stretches(index, other, "search", 0, 1.5))
