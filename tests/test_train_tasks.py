"""Training tasks: where a run lies, what it is told, and what several seeds say together."""

import itertools
import json
import sys
from pathlib import Path

import luigi
import pytest
import yaml
from runtime import ExperimentError

from aframe.analysis import load_analysis
from aframe.environment import REPOSITORY
from aframe.sandbox import StageError
from aframe.tasks.train import Train, TrainLocal, spread


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    load_analysis.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))


def test_a_run_of_its_own_settings_has_a_folder_of_its_own(tmp_path):
    plain = TrainLocal(experiment="smoke")
    file = tmp_path / "mine.yaml"
    file.write_text("trainer: {max_epochs: 2}\n")
    other = TrainLocal(experiment="smoke", config=str(file))
    assert other.version == plain.version
    names = {plain.output().path, other.output().path}
    file.write_text("trainer: {max_epochs: 3}\n")
    names.add(TrainLocal(experiment="smoke", config=str(file)).output().path)
    names.add(TrainLocal(experiment="smoke", seed=1).output().path)
    names.add(TrainLocal(experiment="smoke", run_dir=str(tmp_path / "runs")).output().path)
    assert len(names) == 5
    assert plain.output().path.endswith(f"{plain.version}/train-0")
    assert all("train-0" in name for name in names)


def test_what_the_stage_is_told(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("trainer: {max_epochs: 2}\n")
    task = TrainLocal(
        experiment="smoke",
        config=str(file),
        run_dir=str(tmp_path / "runs"),
        seed=2,
        use_wandb=True,
        wandb_name="try",
    )
    folder = tmp_path / "records"
    folder.mkdir()
    arguments = task.arguments(folder / "experiment.yaml")
    given = dict(itertools.pairwise(arguments))
    assert arguments[0] == "fit"
    assert (folder / "train.yaml").read_text() == "trainer: {max_epochs: 2}\n"
    assert given["--seed_offset"] == "2"
    assert "--use-wandb" in arguments
    assert given["--wandb-name"] == "try-seed2"
    assert given["--run_dir"] == task.output().path
    assert given["--run_dir"].startswith(str(tmp_path / "runs" / "smoke"))
    # the inputs are those of the store, which the stage must be let to read
    assert given["--strain"].startswith(str(tmp_path / "store"))
    assert [str(path) for path in task.reads()] == [
        str(tmp_path / "store" / "smoke" / task.version)
    ]


@pytest.mark.parametrize(
    ("gpus", "trainer", "expected"),
    [
        ("", "devices: 4", []),
        ("1", "", ["--trainer.devices", "1"]),
        ("0,1", "devices: 1", ["--trainer.devices", "2", "--trainer.strategy", "ddp"]),
        ("0,1,5", "strategy: auto", ["--trainer.devices", "3", "--trainer.strategy", "ddp"]),
        # what the training file has chosen stays
        ("0,1", "strategy: fsdp", ["--trainer.devices", "2"]),
    ],
)
def test_a_training_takes_all_visible_devices(gpus, trainer, expected, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(f"trainer: {{{trainer}}}\n")
    task = TrainLocal(experiment="smoke", config=str(file), gpus=gpus)
    arguments = task.arguments(tmp_path / "experiment.yaml")
    first = next((k for k, word in enumerate(arguments) if word.startswith("--trainer")), None)
    assert arguments[first:] == expected if first else expected == []
    # where it runs is no part of what it is
    luigi.task_register.Register.clear_instance_cache()
    elsewhere = TrainLocal(experiment="smoke", config=str(file))
    assert (elsewhere.version, elsewhere.output().path) == (task.version, task.output().path)
    assert (tmp_path / "train.yaml").read_text() == task.training_file


APPTAINER = """#!{python}
import json, os, sys
from pathlib import Path
run = Path(sys.argv[sys.argv.index("--run_dir") + 1])
run.mkdir(parents=True)
seen = {{k: v for k, v in os.environ.items() if k.startswith("APPTAINERENV_")}}
(run.parent / "seen").write_text(json.dumps([sys.argv, seen]))
print("no network was trained")
sys.exit(1)
"""


def test_all_options_together_reach_the_image(tmp_path, monkeypatch):
    """`--gpus --image --dev --config --data-dir --run-dir --use-wandb --wandb-name`."""
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(APPTAINER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("WANDB_API_KEY", "hidden")
    monkeypatch.setattr("aframe.tasks.train.product_id", lambda path: path.name)
    data, runs, file = (tmp_path / name for name in ("data", "runs", "mine.yaml"))
    data.mkdir()
    file.write_text("trainer: {max_epochs: 2}\n")
    image = tmp_path / "mine.sif"
    image.touch()
    task = TrainLocal(
        experiment="smoke",
        gpus="0,1",
        image=str(image),
        dev=True,
        config=str(file),
        data_dir=str(data),
        run_dir=str(runs),
        use_wandb=True,
        wandb_name="try",
    )
    with pytest.raises(StageError, match="no network was trained"):
        task.run()
    place = Path(task.output().path).parent
    assert place == runs / "smoke" / task.version
    command, variables = json.loads((place / "seen").read_text())
    text = " ".join(command)
    before, after = text.split(str(image))
    records = place / "stages" / task.stage
    for bind in (f"{place}:{place}", f"{data}:{data}:ro", f"{REPOSITORY}:/opt/aframe:ro"):
        assert f"--bind {bind}" in before
    assert "--nv" in before
    assert "--env CUDA_VISIBLE_DEVICES=0,1" in before
    assert variables == {"APPTAINERENV_WANDB_API_KEY": "hidden"}
    assert "hidden" not in text + (records / "command.txt").read_text()
    given = dict(itertools.pairwise(after.split()))
    assert after.split()[0] == "fit"
    assert given["--config"] == str(records / "train.yaml")
    assert given["--strain"] == str(data / "strain" / "index.hdf5")
    assert given["--run_dir"] == task.output().path
    assert given["--trainer.devices"] == "2"
    assert given["--trainer.strategy"] == "ddp"
    assert given["--wandb-name"] == "try"
    assert "--use-wandb" in after


def test_given_data_are_not_made(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    ids = {}
    monkeypatch.setattr("aframe.tasks.train.product_id", lambda path: ids.get(path.name, "a"))
    task = TrainLocal(experiment="smoke", data_dir=str(folder))
    assert task.requires() == {}
    assert task.inputs()["validation"] == folder / "validation-0.hdf5"
    first = task.output().path
    ids["index.hdf5"] = "b"
    assert task.output().path != first


def test_each_seed_is_a_training_and_the_spread_is_told(tmp_path):
    task = Train(experiment="smoke", seeds=3)
    runs = list(task.requires().values())
    assert [run.seed for run in runs] == [0, 1, 2]
    assert len({run.output().path for run in runs}) == 3
    assert len({run.stage for run in runs}) == 3
    for run, recall in zip(runs, (0.2, 0.4, 0.6), strict=True):
        measures = {"valid_recall": recall}
        if recall > 0.3:
            measures["valid_volume"] = 1.0
        run.output().touch()
        description = yaml.safe_dump({"measures": measures})
        (run.path(run.run_name(*run._seed_name)) / "model.yaml").write_text(description)
    task.run()
    content = yaml.safe_load(task.path("train-0-seeds-3.yaml").read_text())
    assert content["runs"] == ["train-0", "train-0-seed1", "train-0-seed2"]
    assert content["measures"]["valid_recall"]["mean"] == pytest.approx(0.4)
    assert content["measures"]["valid_recall"]["standard_deviation"] == pytest.approx(0.2)
    # not all runs have it
    assert "valid_volume" not in content["measures"]
    assert spread([{"a": 1.0}]) == {"a": {"mean": 1.0}}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"wandb_name": "a"}, "has no effect without --use-wandb"),
        ({"config": "/nowhere.yaml"}, "--config /nowhere.yaml does not exist"),
        ({"data_dir": "/nowhere"}, "--data-dir /nowhere does not exist"),
    ],
)
def test_bad_options_end_before_anything_runs(arguments, sentence):
    with pytest.raises(ExperimentError, match=sentence):
        TrainLocal(experiment="smoke", **arguments)


def test_at_least_one_seed():
    with pytest.raises(ExperimentError, match="--seeds 0: at least one"):
        Train(experiment="smoke", seeds=0)
