"""Tuning tasks: where a study lies, what it needs and what the stage is told."""

import itertools
import os
import subprocess
from pathlib import Path

import luigi
import pytest
import yaml
from runtime import ExperimentError

from aframe.analysis import load_analysis
from aframe.environment import REPOSITORY, ensure
from aframe.pipelines import tune as pipeline
from aframe.tasks.train import TrainLocal
from aframe.tasks.tune import Tune

SPACE = "space:\n  model.learning_rate: {loguniform: [1.0e-3, 1.0e-2]}\n"


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    load_analysis.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def test_it_needs_what_a_training_needs(space):
    task = Tune(experiment="smoke", space=str(space))
    training = TrainLocal(experiment="smoke")
    assert task.requires() == training.requires()
    assert task.version == training.version
    assert task.output().path != training.output().path


def test_another_space_is_another_study(space, tmp_path):
    plain = Tune(experiment="smoke", space=str(space))
    paths = {plain.output().path}
    paths.add(Tune(experiment="smoke", space=str(space), num_samples=9).output().path)
    other = tmp_path / "other.yaml"
    other.write_text(SPACE.replace("1.0e-3", "2.0e-3"))
    paths.add(Tune(experiment="smoke", space=str(other)).output().path)
    config = tmp_path / "mine.yaml"
    config.write_text("trainer: {max_epochs: 2}\n")
    paths.add(Tune(experiment="smoke", space=str(space), config=str(config)).output().path)
    assert len(paths) == 4
    # where it runs is no part of it
    luigi.task_register.Register.clear_instance_cache()
    where = {"num_workers": 1, "gpus_per_worker": 0.0, "endpoint": "ray://there:10001"}
    assert Tune(experiment="smoke", space=str(space), **where).output().path in paths


def test_what_the_stage_is_told(space, tmp_path):
    task = Tune(
        experiment="smoke",
        space=str(space),
        num_samples=3,
        num_workers=2,
        gpus_per_worker=0.5,
        endpoint="ray://there:10001",
        use_wandb=True,
        wandb_name="try",
    )
    folder = tmp_path / "records"
    folder.mkdir()
    arguments = task.arguments(folder / "experiment.yaml")
    given = dict(itertools.pairwise(arguments))
    assert arguments[0] == "tune"
    assert given["--tune"] == str(folder / "tune.yaml")
    assert (folder / "tune.yaml").read_text() == SPACE
    assert Path(given["--tune.storage_dir"], given["--tune.name"]) == Path(task.output().path)
    assert given["--tune.num_samples"] == "3"
    assert given["--tune.gpus_per_worker"] == "0.5"
    assert given["--tune.endpoint"] == "ray://there:10001"
    assert given["--config"] == str(folder / "train.yaml")
    assert given["--strain"].startswith(str(tmp_path / "store"))
    assert "--use-wandb" in arguments
    assert given["--wandb-group"] == "try"
    assert "--run_dir" not in arguments
    assert "--tune.copy_dir" not in arguments


def test_a_study_in_a_bucket_leaves_its_result_in_the_store(space, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    plain = Tune(experiment="smoke", space=str(space))
    luigi.task_register.Register.clear_instance_cache()
    task = Tune(experiment="smoke", space=str(space), storage_dir="s3://studies/mine/")
    assert task.output().path == plain.output().path
    given = dict(itertools.pairwise(task.arguments(tmp_path / "experiment.yaml")))
    # two experiments, or two versions of one, share a bucket
    assert given["--tune.storage_dir"] == f"s3://studies/mine/smoke/{task.version}"
    assert given["--tune.copy_dir"] == task.output().path
    assert "hidden" not in " ".join(given)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [("/scratch/studies", "expected an address"), ("s3://key:secret@bucket", "looks like a key")],
)
def test_senseless_addresses_are_refused(address, sentence, space):
    with pytest.raises(ExperimentError, match=sentence) as caught:
        Tune(experiment="smoke", space=str(space), storage_dir=address)
    assert "secret@" not in str(caught.value)


def test_the_stage_reads_what_it_is_told(space, tmp_path):
    """The options are those of `python -m train.tune`, down to the names in the space."""
    space.write_text(SPACE.replace("learning_rate", "learning_rat"))
    task = Tune(experiment="smoke", space=str(space), gpus_per_worker=0.0, cpus_per_gpu=1)
    folder = tmp_path / "records"
    folder.mkdir()
    arguments = task.arguments(task.analysis.write_experiment(folder))
    python = ensure(REPOSITORY / "projects" / "train")
    result = subprocess.run(
        [str(python), "-m", "train.tune", *arguments[1:]],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "near it are model.learning_rate" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "store").exists()


def test_without_a_space():
    with pytest.raises(ExperimentError, match=r"no search space .*smoke/tune\.yaml.*--space FILE"):
        Tune(experiment="smoke")


def test_the_shipped_space_is_found():
    task = Tune(experiment="quickstart")
    assert yaml.safe_load(task.study_file)["space"]
    assert task.study.startswith("tune-0-")


def test_the_pipeline_tunes_all_folds(space):
    task = pipeline.Tune(experiment="smoke", space=str(space), num_samples=5, gpus_per_worker=0.0)
    assert [(end.fold, end.num_samples, end.gpus_per_worker) for end in task.ends()] == [
        (fold, 5, 0.0) for fold in range(task.analysis.experiment.folds)
    ]
    assert "best/train.yaml" in task.result()
