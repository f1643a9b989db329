"""The command line: verbs, choosing, and what it refuses before it reads any data."""

import csv
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ledger import InjectionSet
from runtime import load_experiment, make_provenance
from test_train import LOUD, arguments_of, config_of, train
from train.options import OF_THE_EXPERIMENT, given_names, refuse_shared


@pytest.fixture(scope="module")
def trained(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    config = config_of(data={"snr": LOUD, "batches_per_epoch": 10, "batch_size": 32})
    assert train(config, inputs, folder, "--monitor=valid_volume") == 0
    return folder


def test_a_checkpoint_is_measured_again(inputs: dict[str, Path], trained: Path) -> None:
    run = trained / "run"
    before = (run / "config.yaml").read_bytes()
    assert train(config_of(), inputs, trained, verb="validate") == 0
    found = yaml.safe_load((run / "measures.yaml").read_text())
    assert found["checkpoint"] == "best.ckpt"
    description = yaml.safe_load((run / "model.yaml").read_text())
    assert found["measures"] == pytest.approx(description["measures"])
    # what was set for the training stays on record
    assert (run / "config.yaml").read_bytes() == before
    assert yaml.safe_load(before)["monitor"] == "valid_volume"
    assert yaml.safe_load(before)["model"]["init_args"]["architecture"] == "TwoTower"


def test_the_best_is_that_of_the_measure_asked_for(trained: Path) -> None:
    run = trained / "run"
    with (run / "metrics.csv").open(newline="") as file:
        volumes = [float(row["valid_volume"]) for row in csv.DictReader(file)]
    training = yaml.safe_load((run / "model.yaml").read_text())["training"]
    assert training["monitor"] == "valid_volume"
    assert training["epoch"] == int(np.argmax(volumes))


def test_scores_are_those_behind_the_measures(inputs: dict[str, Path], trained: Path) -> None:
    assert train(config_of(), inputs, trained, verb="predict") == 0
    with (trained / "run/scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    background = [float(row["score"]) for row in rows if row["kind"] == "background"]
    injections = [row for row in rows if row["kind"] == "injection"]
    loud = np.mean([float(row["score"]) > max(background) for row in injections])
    measures = yaml.safe_load((trained / "run/model.yaml").read_text())["measures"]
    assert loud == pytest.approx(measures["valid_recall"])
    given = InjectionSet.read(inputs["validation"])
    assert [float(row["time"]) for row in injections] == [
        given.time[int(row["row"])] for row in injections
    ]


def test_the_strain_of_the_search_is_another(
    inputs: dict[str, Path], trained: Path, capsys: pytest.CaptureFixture
) -> None:
    """`test` looks there, where the validation's injections do not lie, but the search's do."""
    assert train(config_of(), inputs, trained, verb="test") == 1
    assert "no validation injection lies in the validation strain" in capsys.readouterr().err
    given = InjectionSet.read(inputs["validation"])
    path = trained / "injections.hdf5"
    provenance = make_provenance("test", load_experiment(inputs["experiment"]))
    dataclasses.replace(given, time=given.time + 1000.0).write(path, provenance)
    assert train(config_of(), {**inputs, "validation": path}, trained, verb="test") == 0
    found = yaml.safe_load((trained / "run/measures-test.yaml").read_text())["measures"]
    # the search's file ends after 100 s, and half a filter and a kernel before are needed
    inside = (given.time - 2000 > 10.1) & (given.time - 2000 < 100 - 0.5 - 1.6)
    assert found["valid_num_injections"] == inside.sum()


def test_without_a_checkpoint_there_is_nothing_to_measure(
    inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train(config_of(), inputs, tmp_path, verb="validate") == 1
    assert "best.ckpt: train first, or give one by --ckpt_path" in capsys.readouterr().err


def test_training_stops_early_on_any_measure(inputs: dict[str, Path], tmp_path: Path) -> None:
    stop = {
        "class_path": "lightning.pytorch.callbacks.EarlyStopping",
        "init_args": {"monitor": "valid_recall_lowest", "mode": "min", "patience": 1},
    }
    # it is asked to fall, and a threshold no change can reach ends the training at once
    stop["init_args"]["min_delta"] = 2.0
    config = config_of(trainer={"max_epochs": 9, "callbacks": [stop]})
    assert train(config, inputs, tmp_path) == 0
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) == 3


def test_a_measure_that_the_livetime_does_not_support(
    inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train(config_of(), inputs, tmp_path, "--monitor=valid_recall_day") == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("train: ")
    assert "valid_recall_day" in message
    assert "valid_recall_lowest" in message


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            ["--model.init_args.architecture=Nothing"],
            r"no supervised architecture 'Nothing': there are .*ResNet.*TwoTower",
        ),
        (["--model.init_args.architecture=DeepClean"], "no supervised architecture 'DeepClean'"),
        (["--model.init_args.options={width: 3}"], "TwoTower has no option width: there are chan"),
        (["--model.init_args.options={sample_rate: 3}"], "sample_rate is set by experiment.yaml"),
        (["--data.sample_rate=1024"], "data.sample_rate is given for the training, but sample_r"),
        (["--data.experiment=a.yaml"], "experiment is set by --experiment for all"),
        (["--model.init_args.experiment=a.yaml"], "experiment is set by --experiment for all"),
        (["--seed_everything=3"], "seed is set by experiment.yaml for all stages: give --seed_o"),
    ],
)
def test_refused_when_the_command_line_is_read(
    tmp_path: Path, more: list[str], sentence: str, capsys: pytest.CaptureFixture
) -> None:
    """None of the inputs exists: they are not looked at."""
    names = ("experiment", "strain", "waveforms", "validation")
    nowhere = dict.fromkeys(names, tmp_path / "nowhere")
    assert train(config_of(), nowhere, tmp_path, *more) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("train: ")
    assert re.search(sentence, lines[0])


def test_settings_of_the_experiment_are_refused_in_files(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    arguments = arguments_of(config_of(), inputs, tmp_path, "fit")
    refuse_shared(given_names(arguments))
    assert {"seed", "ifos", "sample_rate", "kernel_length", "psd_length"} < OF_THE_EXPERIMENT
    for name in OF_THE_EXPERIMENT:
        for place in ("model", "data", None):
            config = config_of()
            if place == "model":
                config["model"]["init_args"][name] = 1
            else:
                (config[place] if place else config)[name] = 1
            arguments = arguments_of(config, inputs, tmp_path, "fit")
            with pytest.raises(ValueError, match=f"{name} is set by experiment.yaml"):
                refuse_shared(given_names(arguments))


def test_help_lists_families_and_architectures(
    inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert train(config_of(), inputs, tmp_path, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Supervised: " in text
    supervised = text.split("Supervised: ")[1].split("Autoencoder: ")[0]
    for name in ("MultiModal", "ResNet", "SpectrogramResNet", "TwoTower"):
        assert name in supervised
    assert "Autoencoder: Autoencoder." in text
    assert "Regression: Bilinear, DeepClean, Resonant." in text
    assert "a LightningDataModule of your own: data.class_path" in text


def test_the_reference_has_comments(
    inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("ruamel.yaml", reason="ruamel.yaml writes the comments")
    assert train(config_of(), inputs, tmp_path, "--print_config=comments") == 0
    text = capsys.readouterr().out
    assert "# Kernels in a batch" in text
    assert yaml.safe_load(text)["data"]["batch_size"] == 16


def test_another_seed_changes_batches_and_weights(inputs: dict[str, Path], tmp_path: Path) -> None:
    config = config_of(trainer={"max_epochs": 1}, data={"batches_per_epoch": 1})
    for offset in (0, 1):
        assert train(config, inputs, tmp_path / str(offset), f"--seed_offset={offset}") == 0
    states, training = [], []
    for offset in (0, 1):
        run = tmp_path / str(offset) / "run"
        states.append(torch.load(run / "best.ckpt", weights_only=True)["state_dict"])
        training.append(yaml.safe_load((run / "model.yaml").read_text()))
    assert not torch.equal(states[0]["network.mix.weight"], states[1]["network.mix.weight"])
    assert [found["training"]["seed_offset"] for found in training] == [0, 1]
    # the experiment is the same
    assert training[0]["settings"] == training[1]["settings"]
