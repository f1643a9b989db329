"""A task checks what its stage made, and removes what is not what was asked for."""

import hashlib

import luigi
import numpy as np
import pytest
import yaml
from ledger import ProductError, StrainSegment, WaveformSet
from runtime import load_experiment, make_provenance

import aframe
from aframe.analysis import load_analysis


@pytest.fixture
def task(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))
    load_analysis.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    return aframe.TrainingWaveforms(experiment=str(mine()))


def write(task, folder):
    waveforms = WaveformSet(
        num_failed=0,
        sample_rate=512.0,
        coalescence=3.0,
        parameters={},
        plus=np.zeros((1, 8), "float32"),
        cross=np.zeros((1, 8), "float32"),
    )
    provenance = make_provenance("test", load_experiment(folder))
    waveforms.write(task.path("training-waveforms.hdf5"), provenance)


def test_the_right_product_stays(task, mine):
    write(task, mine())
    task.validate()
    assert task.complete()


def test_a_product_of_other_settings_goes(task, mine):
    write(task, mine({"seed": 99}))
    with pytest.raises(ProductError, match=r"was made with seed = 99, but .*experiment.yaml says"):
        task.validate()
    assert not task.complete()


def test_another_product_goes(task, mine):
    strain = StrainSegment(strain={"H1": np.zeros(4, "f4")}, gps_start=0.0, sample_rate=512.0)
    provenance = make_provenance("test", load_experiment(mine()))
    strain.write(task.path("training-waveforms.hdf5"), provenance)
    with pytest.raises(ProductError, match="holds strain, expected waveforms"):
        task.validate()
    assert not task.complete()


def test_nothing_made_is_told(task):
    with pytest.raises(FileNotFoundError, match=r"no file .*training-waveforms.hdf5"):
        task.validate()


def test_a_folder_is_complete_when_every_file_is_there(task):
    train = aframe.TrainLocal(experiment=task.experiment)
    folder = train.path("train-0")
    folder.mkdir(parents=True)
    for name in train.output().files:
        assert not train.complete()
        (folder / name).write_text("")
    assert train.complete()
    (folder / "last.ckpt").write_text("of an earlier run")
    train.output().remove()
    assert not folder.exists()


def test_a_description_of_another_network_goes(task):
    train = aframe.TrainLocal(experiment=task.experiment)
    folder = train.path("train-0")
    folder.mkdir(parents=True)
    for name in train.output().files:
        (folder / name).write_text("")
    settings = train.analysis.experiment.settings()
    empty = hashlib.sha256(b"").hexdigest()
    (folder / "model.yaml").write_text(yaml.safe_dump({"sha256": empty, "settings": settings}))
    train.validate()
    settings["seed"] = 99
    (folder / "model.yaml").write_text(yaml.safe_dump({"sha256": empty, "settings": settings}))
    with pytest.raises(ProductError, match="was made with seed = 99"):
        train.check()
    (folder / "model.yaml").write_text(yaml.safe_dump({"sha256": "0", "settings": settings}))
    with pytest.raises(ProductError, match=r"model.pt has sha256 .* model.yaml beside it says 0"):
        train.validate()
    assert not folder.exists()


def test_an_empty_repository_goes(task):
    export = aframe.ExportLocal(experiment=task.experiment)
    folder = export.path("repository-0")
    (folder / "aframe").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no model was exported"):
        export.validate()
    assert not folder.exists()
    (folder / "aframe").mkdir(parents=True)
    (folder / "aframe" / "config.pbtxt").write_text("")
    export.validate()
    assert export.complete()
