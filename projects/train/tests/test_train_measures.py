"""Figures of merit against what follows from counting."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from architectures import EarlyFusion, TwoTower, WindowedNetwork
from conftest import data_of
from ledger import InjectionSet
from runtime import load_experiment
from train.background import load_stretches
from train.families import Regression
from train.figures_of_merit import (
    RATES,
    YEAR,
    measures_of,
    partial_auroc,
    recall,
    sensitive_volume,
)
from train.monitored import require_measures
from train.validation import Share, ValidationSet


def injections(volume: float = 8.0) -> SimpleNamespace:
    """A quarter of the draws was accepted."""
    return SimpleNamespace(snr=np.zeros(50), num_drawn=200, volume=volume)


def test_recall_lets_as_many_false_alarms_pass_as_the_rate_allows() -> None:
    background = torch.arange(1000.0)[torch.randperm(1000)]
    foreground = torch.linspace(900.25, 1000.25, 101)
    livetime = 8000.0
    for allowed in (1, 2, 10, 50):
        found = recall(background, foreground, livetime, allowed / livetime)
        # exactly `allowed` blocks are louder than the threshold
        threshold = 999 - allowed
        assert found == pytest.approx(float((foreground > threshold).double().mean()))
        assert int((background > threshold).sum()) == allowed
    # between two counts the lower one holds
    assert recall(background, foreground, livetime, 2.9 / livetime) == recall(
        background, foreground, livetime, 2 / livetime
    )
    assert recall(background, foreground, livetime, 0.9 / livetime) is None
    assert recall(background, foreground, livetime, 1001 / livetime) == 1.0


def test_rates_beyond_the_livetime_are_left_out() -> None:
    background, foreground = torch.randn(100), torch.randn(40) + 3
    for livetime, names in ((1000.0, set()), (3600.0, {"hour"}), (90000.0, {"hour", "day"})):
        measures = measures_of(background, foreground, livetime, injections())
        for name in RATES:
            assert (f"valid_recall_{name}" in measures) == (name in names)
        assert measures["valid_lowest_far"] == pytest.approx(YEAR / livetime)
        assert not any(np.isnan(value) for value in measures.values())
        # one false alarm is allowed there, none above the loudest
        assert measures["valid_recall_lowest"] >= measures["valid_recall"]


def test_partial_area_is_that_of_counting_pairs() -> None:
    """Up to a false-positive rate of 1e-3, of 5000 blocks the five loudest count."""
    generator = torch.Generator().manual_seed(1)
    background = torch.randn(5000, generator=generator)
    foreground = torch.randn(300, generator=generator) + 3
    loudest = background.sort(descending=True).values[:5]
    area = float((foreground[:, None] > loudest).double().mean()) * 1e-3
    smallest = 0.5 * 1e-3**2
    expected = 0.5 * (1 + (area - smallest) / (1e-3 - smallest))
    assert partial_auroc(background, foreground) == pytest.approx(expected, abs=1e-6)
    # logits that a sigmoid in float32 could not tell apart
    assert partial_auroc(background + 100, foreground + 100) == pytest.approx(expected, abs=1e-3)
    assert partial_auroc(background, foreground + 100) == pytest.approx(1.0)


def test_volume_counts_the_rejected_as_missed() -> None:
    assert sensitive_volume(1.0, injections()) == pytest.approx(8.0 / 4)
    assert sensitive_volume(0.5, injections()) == pytest.approx(8.0 / 8)
    assert sensitive_volume(0.5, injections(volume=0.0)) is None


def test_volume_is_that_of_a_euclidean_population() -> None:
    """Sources uniform in a ball, found where nearer than a horizon: the horizon's ball."""
    generator = np.random.default_rng(5)
    distance = generator.uniform(0, 1, 400_000) ** (1 / 3)
    accepted = torch.from_numpy(distance[distance < 0.8])
    background = 1 / torch.linspace(0.5, 3, 1000)
    threshold = background.sort(descending=True).values[1].item()
    drawn = SimpleNamespace(snr=accepted, num_drawn=len(distance), volume=4.0)
    measures = measures_of(background, 1 / accepted.float(), 8000.0, drawn)
    assert measures["valid_volume"] == pytest.approx(4.0 * (1 / threshold) ** 3, rel=0.02)


def test_a_shared_measurement_is_the_whole_one(inputs: dict[str, Path]) -> None:
    validation = data_of(inputs, validation_livetime=600).validation
    torch.manual_seed(0)
    network = TwoTower(2, 512, 1.5).eval()
    whole = validation.measure(network)

    class Part(Share):
        """Exchanges with other threads what processes would send each other."""

        def gather(self, results: list) -> list:
            sent[self.rank] = results
            barrier.wait()
            parts = list(sent)
            barrier.wait()
            return [parts[i % self.size][i // self.size] for i in range(sum(map(len, parts)))]

    sent: list[list] = [[], []]
    barrier = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda r: validation.measure(network, Part(r, 2)), (0, 1)))
    for outcome in outcomes:
        assert torch.equal(outcome.background, whole.background)
        assert torch.equal(outcome.foreground, whole.foreground)
        assert outcome.measures == whole.measures
    assert whole.measures["valid_num_injections"] == len(whole.rows) == 40


class Coupling(torch.utils.data.Dataset):
    """Witnesses, and a target that is a fixed filter of them, plus noise of its own."""

    def __init__(self, size: int, seed: int, noise: float = 0.1) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(size, 2, 256, generator=generator)
        taps = torch.tensor([[0.5, -1.0, 0.25], [0.0, 0.8, 0.3]])[None]
        coupled = torch.nn.functional.conv1d(self.inputs, taps, padding=1)[:, 0]
        own = torch.randn(coupled.shape, generator=generator)
        self.target = coupled + noise * coupled.std() * own

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[i], self.target[i]


def test_regression_finds_a_linear_coupling(inputs: dict[str, Path], tmp_path: Path) -> None:
    module = Regression(
        inputs["experiment"],
        num_channels=2,
        options={"widths": [8, 16]},
        learning_rate=0.01,
        loss=torch.nn.SmoothL1Loss(),
    )
    trainer = L.Trainer(
        max_epochs=6,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    loaders = [
        torch.utils.data.DataLoader(Coupling(size, seed), batch_size=32)
        for size, seed in ((512, 0), (64, 1))
    ]
    before = trainer.validate(module, loaders[1], verbose=False)[0]["valid_residual"]
    trainer.fit(module, *loaders)
    residual = float(trainer.callback_metrics["valid_residual"])
    assert before > 0.9
    # a hundredth is what no network can predict
    assert 0.008 < residual < 0.5


def test_regression_refuses_the_data_of_the_search(inputs: dict[str, Path]) -> None:
    module = Regression(inputs["experiment"], num_channels=2)
    module.trainer = SimpleNamespace(datamodule=data_of(inputs))
    with pytest.raises(ValueError, match="Regression learns from batches of inputs and target"):
        module.prepare_data()


class Loudness(WindowedNetwork):
    """Energy of a kernel, told apart by detector, and something of its filters."""

    needs_taps = True

    def forward(self, kernel: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
        weight = torch.arange(1, kernel.shape[1] + 1)[:, None]
        return (kernel.square() * weight).mean((1, 2)) + 1e-23 * taps.abs().amax((1, 2))


def network_of(kind: str) -> WindowedNetwork:
    torch.manual_seed(1)
    kinds = {"streaming": TwoTower, "fused": EarlyFusion, "windowed": Loudness}
    return kinds[kind](2, 512, 1.5).eval()


def two_stretches(inputs: dict[str, Path], livetime: float) -> ValidationSet:
    """Training and validation strain together, with a window left out of the first."""
    experiment = load_experiment(inputs["experiment"])
    loaded = [
        item
        for role in ("training", "validation")
        for item in load_stretches(inputs["strain"], experiment, role, 0, torch.device("cpu"))
    ]
    found = InjectionSet.read(inputs["validation"])
    return ValidationSet(loaded, found, experiment, [(1099.0, 1101.0)], livetime)


@pytest.mark.parametrize("kind", ["streaming", "fused", "windowed"])
def test_the_livetime_is_known_beforehand(inputs: dict[str, Path], kind: str) -> None:
    network = network_of(kind)
    validation = two_stretches(inputs, 1500.0)
    livetime = validation.livetime(network)
    assert livetime >= 1500
    assert livetime == validation.measure(network).measures["valid_livetime_s"]
    # one slide less does not do, and more is to be had
    assert validation.livetime(network, 900.0) < 1500
    assert validation.livetime(network, 4000.0) >= 4000


@pytest.mark.parametrize(
    ("monitor", "livetime", "sentence"),
    [
        ("valid_recall_hour", 3600.0, None),
        ("valid_delay_s", 300.0, None),
        ("train_loss", 300.0, None),
        ("valid_recall_hour", 300.0, r"or raise data.validation_livetime to 3600 or more$"),
        (
            "valid_recall_day",
            300.0,
            r"livetime of \d+ s, gives valid_auroc, valid_recall, valid_recall_lowest, .*; slides "
            r"of the validation strain reach \d+ s, valid_recall_day needs 86400$",
        ),
        ("valid_aurok", 300.0, r"valid_aurok cannot be .*choose one of these$"),
    ],
)
def test_what_is_monitored_must_be_there(
    inputs: dict[str, Path], monitor: str, livetime: float, sentence: str | None
) -> None:
    validation = two_stretches(inputs, livetime)
    network = network_of("streaming")
    trainer = SimpleNamespace(
        callbacks=[L.Callback(), L.pytorch.callbacks.EarlyStopping(monitor=monitor)]
    )
    if sentence is None:
        require_measures(trainer, validation, network)
        return
    with pytest.raises(ValueError, match=sentence):
        require_measures(trainer, validation, network)


@pytest.mark.parametrize("kind", ["streaming", "fused", "windowed"])
def test_the_loudest_background_is_kept_as_it_was_scored(
    inputs: dict[str, Path], kind: str
) -> None:
    """Kernels of slid data that give the scores again, filters with them."""
    validation, network = two_stretches(inputs, 1500.0), network_of(kind)
    outcome = validation.measure(network)
    given = outcome.loudest if network.needs_taps else outcome.loudest[:1]
    with torch.no_grad():
        again = network(*given)
    assert outcome.loudest.kernels.shape == (8, 2, 768)
    torch.testing.assert_close(again, outcome.background.topk(8).values, rtol=2e-6, atol=0)
    assert again[0] > again[-1]
