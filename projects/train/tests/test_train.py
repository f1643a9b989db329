"""Training: networks learn and are chosen honestly, and a training survives what befalls it."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from architectures import build
from conftest import RATE, data_of
from train import cli
from train.card import TOLERANCE, card, load
from train.families import Autoencoder, Family, Supervised
from train.families.base import BAD_BATCH
from train.preemption import Preempted, SaveOnSigterm
from train.publish import script
from train.resources import Resources

TRAINER = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
SMALL = {"batch_size": 16, "batches_per_epoch": 4, "validation_livetime": 200}
LOUD = {"minimum": 12.0, "start": 12.0, "maximum": 30.0, "index": -3.0}


def arguments_of(config: dict, inputs: dict[str, Path], folder: Path, verb: str) -> list[str]:
    """Command line of a verb; the run lies in `folder/run`."""
    folder.mkdir(exist_ok=True)
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(config))
    given = [f"--config={path}", f"--run_dir={folder / 'run'}"]
    return [verb, *given, *(f"--{name}={value}" for name, value in inputs.items())]


def train(
    config: dict, inputs: dict[str, Path], folder: Path, *more: str, verb: str = "fit"
) -> int | str | None:
    """Run the command line in this process; its exit code. Nothing is drawn, which takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", *arguments_of(config, inputs, folder, verb), *more])
        patch.setattr(cli, "WatchValidation", lambda *_, **__: L.Callback())
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return ended.value.code


def config_of(
    family: str = "Supervised", trainer: dict | None = None, data: dict | None = None, **model: Any
) -> dict:
    return {
        "trainer": TRAINER | {"enable_model_summary": False} | (trainer or {}),
        "model": {"class_path": family, "init_args": {"learning_rate": 0.01, **model}},
        "data": SMALL | (data or {}),
    }


def curve(run: Path) -> list[tuple[str, str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [(row["epoch"], row["train_loss"], row["valid_auroc"]) for row in rows]


@pytest.fixture(scope="module")
def unbroken(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of a training that nothing befell."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert train(config_of(), inputs, folder) == 0
    return folder / "run"


def test_pairing_anew_is_noise_of_other_kernels(inputs: dict[str, Path]) -> None:
    """With pairings the loss sees every pair; without, it is the plain cross entropy."""
    batch = data_of(inputs, batch_size=16).make_batch(0)
    module = Supervised(inputs["experiment"], pairings=0).eval()
    plain = torch.nn.functional.binary_cross_entropy_with_logits(
        module(batch.kernels), batch.labels
    )
    torch.testing.assert_close(module.loss(batch), plain)
    paired = Supervised(inputs["experiment"], pairings=3).eval()
    others = []
    for k in (1, 2, 3):
        rolled = batch.kernels[:, 1].roll(k * 16 // 4, 0)
        others.append(paired(torch.stack((batch.kernels[:, 0], rolled), dim=1)))
    expected = plain + torch.nn.functional.softplus(torch.cat(others)).mean()
    torch.testing.assert_close(paired.loss(batch), expected, rtol=1e-4, atol=1e-5)


def test_autoencoder_is_told_labels_or_not(inputs: dict[str, Path]) -> None:
    batch = data_of(inputs, batch_size=16).make_batch(0)
    terms = {"correlation": 1.0}
    modules = [
        Autoencoder(inputs["experiment"], terms=terms, labelled=labelled).eval()
        for labelled in (True, False)
    ]
    found = modules[0].network.examine(batch.kernels).correlation.mean(dim=1)
    signal = batch.labels == 1
    labelled = (1 - found[signal]).mean() + found[~signal].mean()
    torch.testing.assert_close(modules[0].loss(batch), labelled)
    torch.testing.assert_close(modules[1].loss(batch), 1 - found.mean())
    with pytest.raises(ValueError, match="no loss term nothing: there are correlation"):
        Autoencoder(inputs["experiment"], terms={"nothing": 1.0})


@pytest.mark.parametrize("name", ["TwoTower", "EarlyFusion"])
def test_script_keeps_the_parts(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, 2, RATE, 1.5).eval()
    module = script(network)
    stretch = torch.randn(3, 2, 3000)
    with torch.no_grad():
        expected = network.pool(network.evidence_of(stretch))
        if name == "TwoTower":
            found = module.pool(module.head(module.towers(stretch)))
        else:
            found = module.pool(module.evidence_of(stretch))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_another_seed_is_another_training(inputs: dict[str, Path]) -> None:
    modules = [Supervised(inputs["experiment"]) for _ in range(3)]
    modules[1].reseed(0)
    modules[2].reseed(1)
    weights = [module.network.mix.weight for module in modules]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_default_network_learns(inputs: dict[str, Path], tmp_path: Path) -> None:
    """The command line trains to a useful network and publishes it; others: their families'."""
    data = {"snr": LOUD, "validation_livetime": 500, "batch_size": 64, "batches_per_epoch": 25}
    assert train(config_of(data=data, architecture="TwoTower"), inputs, tmp_path) == 0
    run = tmp_path / "run"
    description = yaml.safe_load((run / "model.yaml").read_text())
    assert description["architecture"] == "TwoTower"
    assert description["family"] == "Supervised"
    assert description["streaming"]
    assert len((run / "metrics.csv").read_text().splitlines()) == 4
    # chance is a hundredth: one false alarm in some seventy blocks
    measures = description["measures"]
    assert measures["valid_recall_lowest"] > 0.5
    assert measures["valid_auroc"] > 0.5
    module = torch.jit.load(str(run / "model.pt"))
    assert module(torch.zeros(5, 2, 768)).shape == (5,)


def test_network_that_takes_the_filters_is_trained_and_published(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    data = {"batch_size": 4, "batches_per_epoch": 2, "validation_livetime": 30}
    layers = {"layers": [1, 1], "frequency_layers": [1, 1]}
    config = config_of(
        trainer={"max_epochs": 1}, data=data, architecture="MultiModal", options=layers
    )
    assert train(config, inputs, tmp_path) == 0
    description = yaml.safe_load((tmp_path / "run/model.yaml").read_text())
    assert description["needs_taps"]
    module = torch.jit.load(str(tmp_path / "run/model.pt"))
    assert module(torch.zeros(5, 2, 768), torch.ones(5, 2, RATE)).shape == (5,)


def test_killed_training_goes_on_as_if_nothing_had_been(
    inputs: dict[str, Path], tmp_path: Path, unbroken: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "train", *arguments_of(config_of(), inputs, tmp_path, "fit")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not (run / "last.ckpt").exists() or not (run / "metrics.csv").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "model.pt").exists()
    assert train(config_of(), inputs, tmp_path) == 0
    assert [epoch for epoch, *_ in curve(run)] == ["0", "1", "2"]
    assert len({loss for _, loss, _ in curve(run)}) == 3
    assert curve(run) == curve(unbroken)


def test_a_training_says_what_it_took_and_is_kept(unbroken: Path, tmp_path: Path) -> None:
    took = yaml.safe_load((unbroken / "resources.yaml").read_text())
    assert took["device"].startswith("cpu (")
    assert took["num_processes"] == 1
    assert 0 < took["duration_s"] < 600
    # what no two runs have in common is not in the description
    assert "duration_s" not in (unbroken / "model.yaml").read_text()
    card(unbroken, tmp_path / "kept")
    assert f"| device | {took['device']} |" in (tmp_path / "kept/README.md").read_text()
    kernels = torch.randn(4, 2, 768)
    with torch.no_grad():
        expected = torch.jit.load(str(unbroken / "model.pt"))(kernels)
        torch.testing.assert_close(
            load(tmp_path / "kept")(kernels), expected, rtol=0, atol=TOLERANCE
        )


def test_time_of_a_training_goes_on_with_it(tmp_path: Path) -> None:
    first, second = Resources(tmp_path / "a"), Resources(tmp_path / "b")
    first.on_train_start(None, None)
    first.begun -= 100
    first.busy = [0.5, 1.0]
    second.load_state_dict(first.state_dict())
    second.on_train_start(None, None)
    second.begun -= 10
    second.on_fit_end(
        SimpleNamespace(
            is_global_zero=True,
            world_size=2,
            strategy=SimpleNamespace(root_device=torch.device("cpu")),
        ),
        None,
    )
    took = yaml.safe_load((tmp_path / "b").read_text())
    assert took["duration_s"] == pytest.approx(110, abs=5)
    assert took["busy_share"] == 0.75
    assert took["num_processes"] == 2


@pytest.mark.parametrize("step", [3, 5])
def test_asked_to_end_it_saves_first(
    inputs: dict[str, Path],
    tmp_path: Path,
    unbroken: Path,
    step: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """In the last step of an epoch, and in the middle of one."""

    def ask(module: Family, *_: object) -> None:
        if module.global_step == step and not asked:
            asked.append(step)
            os.kill(os.getpid(), signal.SIGTERM)

    asked: list[int] = []
    monkeypatch.setattr(Supervised, "on_before_zero_grad", ask)
    assert train(config_of(), inputs, tmp_path) == 143
    run = tmp_path / "run"
    assert not (run / "model.pt").exists()
    assert "asked to end (SIGTERM): saved in" in capsys.readouterr().err
    saved = torch.load(run / "last.ckpt", weights_only=True)["global_step"]
    assert saved in (step, step + 1)
    assert train(config_of(), inputs, tmp_path) == 0
    assert curve(run) == curve(unbroken)


def test_all_processes_save_when_one_is_asked(tmp_path: Path) -> None:
    """The one that was not asked hears of it from the others."""
    keeper = SaveOnSigterm(tmp_path / "last.ckpt")
    saved = []
    trainer = SimpleNamespace(
        num_training_batches=5,
        save_checkpoint=saved.append,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda asked, all: True),
    )
    with pytest.raises(Preempted):
        keeper.on_train_batch_end(trainer, None, None, None, 2)
    assert saved == [tmp_path / "last.ckpt"]
    # after the last batch the validation comes first
    keeper.on_train_batch_end(trainer, None, None, None, 4)
    assert len(saved) == 1


def test_all_processes_measure_with_the_statistics_of_the_first(
    inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Supervised(inputs["experiment"]).eval()
    module.trainer = SimpleNamespace(world_size=2, global_rank=1)

    def broadcast(buffer: torch.Tensor, source: int) -> None:
        assert source == 0
        buffer.fill_(7)

    monkeypatch.setattr(torch.distributed, "broadcast", broadcast)
    validation = SimpleNamespace(measure=lambda network, share: (network, share))
    network, share = module.measure(validation)
    assert share == (1, 2)
    buffers = list(network.buffers())
    assert len(buffers) > 10
    assert all((buffer == 7).all() for buffer in buffers)


def test_a_batch_whose_loss_is_not_finite_is_kept(
    inputs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    honest = cli.Data.make_batch

    def spoil(data: object, number: int) -> Any:
        batch = honest(data, number)
        if number == 2:
            batch.kernels[3, 1, 100] = torch.nan
        return batch

    monkeypatch.setattr(cli.Data, "make_batch", spoil)
    assert train(config_of(), inputs, tmp_path) == 1
    path = tmp_path / "run" / BAD_BATCH
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("train: the loss is nan at step 2")
    assert str(path) in message
    kept = torch.load(path, weights_only=True)
    assert kept["step"] == 2
    assert torch.nonzero(kept["kernels"].isnan()).tolist() == [[3, 1, 100]]
    assert kept["labels"].shape == (16,)


def test_a_rate_that_the_livetime_does_not_support_is_refused_before_training(
    inputs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def make(*_: object) -> None:
        raise AssertionError("a batch was made")

    monkeypatch.setattr(cli.Data, "make_batch", make)
    assert train(config_of(), inputs, tmp_path, "--monitor=valid_recall_hour") == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("train: valid_recall_hour cannot be monitored: the validation")


@pytest.mark.parametrize("where", ["device", "host", "python"])
def test_out_of_memory_says_what_to_lower(
    inputs: dict[str, Path],
    tmp_path: Path,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def exhaust(*_: object) -> None:
        if where == "device":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        if where == "python":
            raise MemoryError
        torch.empty(2**52)

    monkeypatch.setattr(Supervised, "loss", exhaust)
    assert train(config_of(), inputs, tmp_path) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(
        "train: out of memory with data.batch_size 16: lower data.batch_size"
    )


def test_other_errors_keep_their_traceback(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("mat1 and mat2")

    monkeypatch.setattr(Supervised, "loss", fail)
    with pytest.raises(RuntimeError, match="mat1"):
        train(config_of(), inputs, tmp_path)


def test_two_processes_find_what_one_finds(inputs: dict[str, Path], tmp_path: Path) -> None:
    """The same training, and exactly the same figures of the same network."""
    trainer = {"max_epochs": 1, "strategy": "ddp", "devices": 2}
    data = {"batches_per_epoch": 2, "validation_livetime": 30}
    layers = {"layers": [1, 1]}
    config = config_of(trainer=trainer, data=data, architecture="ResNet", options=layers)
    alone = config | {"trainer": config["trainer"] | {"devices": 1, "strategy": "auto"}}
    folders = tmp_path / "two", tmp_path / "one"
    command = [sys.executable, "-m", "train", *arguments_of(config, inputs, folders[0], "fit")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert train(alone, inputs, folders[1]) == 0
    two, one = (curve(folder / "run") for folder in folders)
    # the gradients are sums in another order, and the loss is logged in float32
    assert float(two[0][1]) == pytest.approx(float(one[0][1]), rel=1e-4)
    description = yaml.safe_load((folders[0] / "run/model.yaml").read_text())
    assert description["training"]["num_processes"] == 2
    # in this process, the network that two have trained and measured
    assert train(alone, inputs, folders[0], verb="validate") == 0
    measures = yaml.safe_load((folders[0] / "run/measures.yaml").read_text())["measures"]
    assert float(two[0][2]) == pytest.approx(measures["valid_auroc"], abs=1e-7)
    with (folders[0] / "run/metrics.csv").open(newline="") as file:
        logged = next(csv.DictReader(file))
    for name, value in measures.items():
        assert float(logged[name]) == pytest.approx(value, rel=1e-6), name
    assert np.isfinite(list(measures.values())).all()


def test_precision_and_compilation_are_recorded(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training in half precision through the compiler; measured in full precision as it is."""
    compile_loss = torch.compile
    halved = []

    def compile_without_backend(loss: Any) -> Any:
        """Traces as the compiler does, and generates no code, which takes a minute."""
        traced = compile_loss(loss, backend="eager")

        def step(batch: Any) -> torch.Tensor:
            halved.append(torch.is_autocast_enabled("cpu"))
            return traced(batch)

        return step

    monkeypatch.setattr(torch, "compile", compile_without_backend)
    trainer = {"precision": "bf16-mixed", "max_epochs": 1}
    data = {"batch_size": 4, "batches_per_epoch": 2}
    config = config_of(trainer=trainer, data=data, compile=True)
    assert train(config, inputs, tmp_path) == 0
    assert halved == [True, True]
    description = yaml.safe_load((tmp_path / "run/model.yaml").read_text())
    assert description["training"]["precision"] == "bf16-mixed"
    assert description["training"]["compile"] is True
    with (tmp_path / "run/metrics.csv").open(newline="") as file:
        logged = next(csv.DictReader(file))
    # measured while autocast was on, and again where it was off
    for name, value in description["measures"].items():
        assert float(logged[name]) == pytest.approx(value, rel=1e-6), name
