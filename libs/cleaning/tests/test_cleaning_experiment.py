import pytest
import yaml
from cleaning import ProblemError, load_cleaning_experiment

PROBLEM = {
    "name": "60Hz-H1",
    "ifo": "H1",
    "layers": [{"bands": [[55, 65]], "witnesses": ["A"], "sample_rate": 512}],
}
EXPERIMENT = {
    "name": "test",
    "training": {"start": 1_000_000_000, "duration": 400},
    "evaluation": {"start": 1_000_001_000, "duration": 100},
}


def write(folder, **changes):
    (folder / "problem.yaml").write_text(yaml.safe_dump(PROBLEM))
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT | changes))
    return folder


def test_an_experiment_finds_its_problem(tmp_path):
    experiment = load_cleaning_experiment(write(tmp_path))
    assert experiment.load_problem().witnesses == ("H1:A",)
    assert experiment.split == 1_000_000_300
    assert experiment.training_layer.sample_rate == 512
    assert experiment.settings()["problem"]["ifo"] == "H1"


def test_the_digest_follows_the_files_it_names(tmp_path):
    before = load_cleaning_experiment(write(tmp_path)).digest
    (tmp_path / "problem.yaml").write_text(yaml.safe_dump(PROBLEM | {"ifo": "L1"}))
    assert load_cleaning_experiment(tmp_path).digest != before
    (tmp_path / "simulation.yaml").write_text("seed: 1")
    write(tmp_path, simulation="simulation.yaml")
    one = load_cleaning_experiment(tmp_path).digest
    (tmp_path / "simulation.yaml").write_text("seed: 2")
    assert load_cleaning_experiment(tmp_path).digest != one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation": {"start": 1_000_000_300, "duration": 500}}, "overlap"),
        ({"layer": 1}, "layer 1 of 60Hz-H1, which has 1"),
        ({"problem": "other.yaml"}, "no problem file"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changes, message):
    with pytest.raises(ProblemError, match=message):
        load_cleaning_experiment(write(tmp_path, **changes))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ProblemError, match="no experiment file"):
        load_cleaning_experiment(tmp_path)
