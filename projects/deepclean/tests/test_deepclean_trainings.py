"""What is decided of a training, before anything of it runs."""

import json
import shutil

import pytest
import yaml
from cleaning import load_cleaning_experiment
from conftest import PROBLEM, START
from deepclean.live.verbs import plan
from deepclean.trainings import Trainings, conclude, read_plan
from deepclean.trainings.stretches import NothingToDoError


@pytest.fixture
def layered(deployment):
    """A folder as `configs/` has them, whose problem has two layers."""
    folder = deployment.folder / "experiment"
    folder.mkdir()
    second = PROBLEM["layers"][0] | {"bands": [[115, 125]]}
    files = {
        "problem": PROBLEM | {"layers": [*PROBLEM["layers"], second]},
        "train": {"model": {"init_args": {"learning_rate": 0.01}}},
        "experiment": {
            "name": "small",
            "training": {"start": START - 1000, "duration": 16},
            "evaluation": {"start": START, "duration": 60},
        },
    }
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return folder


def trainings(deployment, experiment):
    folder = deployment.folder
    return Trainings(
        experiment,
        folder / "frames",
        deployment.store,
        folder / "trainings",
        experiment / "train.yaml",
        duration=8,
        cadence=4,
    )


def given(step):
    return dict(zip(step.arguments[1::2], step.arguments[2::2], strict=True))


def test_a_layer_learns_what_those_before_it_have_left(deployment, layered):
    deployment.write(0, 10)
    place = trainings(deployment, layered).next()
    found = read_plan(place)
    assert [(step.name, step.project) for step in found.steps] == [
        ("collect-0", "deepclean"),
        ("train-0", "train"),
        ("collect-1", "deepclean"),
        ("train-1", "train"),
        ("publish", "deepclean"),
    ]
    collect, fit = found.steps[2:4]
    assert json.loads(given(collect)["--earlier"]) == [str(place / "train-0")]
    assert given(collect)["--layer"] == "1"
    assert given(fit)["--data.init_args.witnesses"] == given(collect)["--output"]
    # whatever becomes of the experiment, what was decided stands
    shutil.rmtree(layered)
    settings = load_cleaning_experiment(given(fit)["--experiment"])
    assert settings.layer == 1
    assert settings.training_layer.bands == ((115, 125),)
    assert (settings.training.start, settings.training.duration) == (START + 1, 8)
    assert yaml.safe_load((place / "train.yaml").read_text())["model"]


def test_the_same_is_decided_until_it_is_done(deployment, layered):
    deployment.write(0, 10)
    made = trainings(deployment, layered)
    place = made.next()
    deployment.write(10, 20)
    assert made.next() == place
    (place / "failed").write_text("why\n")
    assert made.next().name == f"{START + 11}-{START + 19}"


def test_what_is_decided_is_told_to_others(deployment, layered, tmp_path):
    deployment.write(0, 9)
    options = {"experiment": layered, "frames": deployment.folder / "frames"}
    options |= {"store": deployment.store, "output": deployment.folder / "trainings"}
    options |= {"result": tmp_path / "next.yaml", "training_duration": 8}
    plan(**options)
    told = yaml.safe_load((tmp_path / "next.yaml").read_text())
    assert told["training"] is None
    assert told["reason"].startswith(f"frames reach from GPS {START} to {START + 9}")
    deployment.write(9, 10)
    plan(**options)
    told = yaml.safe_load((tmp_path / "next.yaml").read_text())
    assert told == {
        "training": str(deployment.folder / "trainings" / f"{START + 1}-{START + 9}"),
        "reason": "",
    }


def test_a_store_of_others_is_no_reason_to_train_early(deployment, layered):
    """A version from elsewhere counts as trained, but has no weights to go on from."""
    deployment.write(0, 20)
    # on data to START + 100
    deployment.publish()
    made = trainings(deployment, layered)
    with pytest.raises(NothingToDoError, match=f"needs them to GPS {START + 105}"):
        made.next()
    deployment.write(100, 120)
    found = read_plan(made.next())
    assert found.parent == 0
    assert "--model.init_args.start_from" not in given(found.steps[1])


def test_a_folder_without_a_plan_is_no_training(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*plan\.yaml: expected"):
        conclude(tmp_path, tmp_path)
