"""Every family learns through the command line, and clears a stated bound above chance."""

import csv
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from architectures import ARCHITECTURES, names
from architectures.autoencoder import Reconstruction
from architectures.autoencoder_losses import LossTerm
from conftest import RATE, data_of
from runtime import generator_for, load_experiment
from test_train import LOUD, SMALL, config_of, train
from torch import Tensor
from torch.utils.data import DataLoader
from train.data import Data
from train.families import Autoencoder, Regression, Supervised
from train.options import check_model

BOUND = 0.75
"""Partial AUROC that a trained network must exceed: half of the injections are louder than all
background. Chance is 0.5."""

UNTRAINED = 0.6
"""Partial AUROC that a network stays below before it is trained."""

RESNET = {"layers": [1, 1], "groups": 4}
LEARNING: dict[str, dict[str, Any]] = {
    "Autoencoder": {"steps": 40, "rate": 0.01, "options": {}},
    "Bilinear": {"steps": 100, "rate": 0.02, "options": {"rank": 4, "taps": 9}},
    "DeepClean": {"steps": 100, "rate": 0.01, "options": {}},
    "EarlyFusion": {"steps": 80, "rate": 0.01, "options": {}},
    "FrequencyResNet": {"steps": 60, "rate": 0.01, "options": RESNET},
    "MultiModal": {"steps": 40, "rate": 0.003, "options": RESNET | {"frequency_layers": [1, 1]}},
    "QTransformResNet": {"steps": 50, "rate": 0.01, "options": RESNET | {"shape": [32, 64]}},
    "ResNet": {"steps": 60, "rate": 0.01, "options": RESNET},
    "Resonant": {
        "steps": 100,
        "rate": 0.02,
        "options": {"rank": 4, "taps": 9, "memory_length": 0.2, "bands": [[1, 24]], "modes": 4},
    },
    "S4": {
        "steps": 80,
        "rate": 0.02,
        "options": {"channels": 16, "states": 16, "layers": 2, "dropout": 0.0},
    },
    "SpectrogramResNet": {"steps": 40, "rate": 0.005, "options": RESNET | {"step_length": 1 / 32}},
    "TwoTower": {"steps": 80, "rate": 0.01, "options": {}},
    "WaveNet": {
        "steps": 60,
        "rate": 0.01,
        "options": {"channels": 8, "skips": 16, "layers": 5, "blocks": 1},
    },
}
"""Options of a small network of each kind, and for how many steps and how fast it is trained."""

SCORING = [*names("supervised"), *names("autoencoder")]
SLIDES = {"validation_livetime": 150}


def settings_of(name: str) -> dict[str, Any]:
    """How a network is trained here; a new one must be added."""
    assert name in LEARNING, f"add {name} to LEARNING: small options, and how long it is trained"
    return LEARNING[name]


def config_for(name: str, **model: Any) -> dict[str, Any]:
    """Training of a network that scores kernels."""
    settings = settings_of(name)
    family = Supervised if name in names("supervised") else Autoencoder
    data = SLIDES | {"snr": LOUD, "batch_size": 32, "batches_per_epoch": settings["steps"]}
    model = {"architecture": name, "options": settings["options"]} | model
    model = {"learning_rate": settings["rate"]} | model
    return config_of(family.__name__, trainer={"max_epochs": 1}, data=data, **model)


@pytest.mark.parametrize("name", SCORING)
def test_it_learns(inputs: dict[str, Path], tmp_path: Path, name: str) -> None:
    """From the command line to the published network."""
    assert train(config_for(name), inputs, tmp_path) == 0
    description = yaml.safe_load((tmp_path / "run/model.yaml").read_text())
    assert description["architecture"] == name
    assert description["family"].lower() == ARCHITECTURES[name].family
    assert description["measures"]["valid_auroc"] > BOUND
    # where this environment lies is no part of the network
    assert b".debug_pkl" not in (tmp_path / "run/model.pt").read_bytes()
    module = torch.jit.load(tmp_path / "run/model.pt")
    kernels = torch.zeros(5, 2, description["kernel_size"])
    taps = [torch.ones(5, 2, 512)] if description["needs_taps"] else []
    assert module(kernels, *taps).shape == (5,)


def test_untrained_they_know_nothing(inputs: dict[str, Path]) -> None:
    """Else the bound would be no proof of learning."""
    validation = data_of(inputs, **SLIDES).validation
    for name in SCORING:
        family = Supervised if name in names("supervised") else Autoencoder
        options = settings_of(name)["options"]
        module = family(inputs["experiment"], architecture=name, options=options)
        measures = validation.measure(module.network.eval()).measures
        assert measures["valid_auroc"] < UNTRAINED, name


class Stretch(LossTerm):
    """A loss term of one's own, with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(()))

    def forward(self, found: Reconstruction, labels: Tensor | None) -> Tensor:
        """See `LossTerm`."""
        return (self.factor * found.output - found.kernel).square().mean()


def test_terms_of_ones_own_are_trained_and_detectors_stay_apart(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    terms = {"correlation": 1.0, "test_train_families.Stretch": 0.1}
    config = config_for("Autoencoder", terms=terms)
    config["data"] |= {"batches_per_epoch": 3}
    assert train(config, inputs, tmp_path) == 0
    state = torch.load(tmp_path / "run/best.ckpt", weights_only=True)["state_dict"]
    module = Autoencoder(inputs["experiment"], terms=terms)
    module.load_state_dict(state)
    assert module.terms.terms[1].factor.item() != 1.0
    # trained through the correlation of all detectors, each still sees itself alone
    kernel = torch.randn(4, 2, module.network.kernel_size, requires_grad=True)
    output = module.network.train().reconstruct(kernel)
    (gradient,) = torch.autograd.grad(output[:, 0].square().sum(), kernel)
    assert (gradient[:, 1] == 0).all()
    assert (gradient[:, 0] != 0).any()


def band(generator: np.random.Generator, shape: tuple[int, int], low: int, high: int) -> Any:
    """Noise between two frequencies [Hz], of variance 1."""
    frequency = np.fft.rfftfreq(shape[-1], 1 / RATE)
    spectrum = np.fft.rfft(generator.standard_normal(shape))
    noise = np.fft.irfft(spectrum * ((frequency >= low) & (frequency <= high)))
    return noise / noise.std()


class Witnessed(L.LightningDataModule):
    """Noise that two witnesses cause: the slope of one, and the product of both.

    Of the target's power the slope has 0.6, the product 0.3, and noise that no witness knows of
    0.1. The product is correlated with neither witness at any delay: it takes a network that is
    not linear to leave less than 0.4.

    Args:
        experiment: The experiment file; set by `--experiment`.
        batch_size: Stretches in a batch.
        batches_per_epoch: Batches between two validations.
    """

    def __init__(
        self, experiment: Path, batch_size: int = 16, batches_per_epoch: int = 100
    ) -> None:
        super().__init__()
        self.experiment = load_experiment(experiment)
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch

    def make_batch(self, purpose: str, number: int) -> tuple[Tensor, Tensor]:
        """Witnesses and target, from the seed and the number of the batch alone."""
        generator = generator_for(self.experiment.seed, "witnessed", purpose, number)
        size = round(self.experiment.kernel_length * RATE)
        shape = (self.batch_size, 2 * size)
        quick, slow = band(generator, shape, 8, 24), band(generator, shape, 1, 4)
        slope = np.gradient(quick, axis=-1)
        product = quick * slow
        target = (
            np.sqrt(0.6) * slope / slope.std()
            + np.sqrt(0.3) * product / product.std()
            + np.sqrt(0.1) * generator.standard_normal(shape)
        )
        # the transform closes a stretch to a ring: its ends are left out
        inside = slice(size // 2, size // 2 + size)
        witnesses = torch.from_numpy(np.stack((quick, slow), axis=1)[..., inside])
        return witnesses.float(), torch.from_numpy(target[:, inside]).float()

    def _loader(self, purpose: str, count: int) -> DataLoader:
        batches = [self.make_batch(purpose, number) for number in range(count)]
        return DataLoader(batches, batch_size=None)

    def train_dataloader(self) -> DataLoader:
        """Batches to learn from."""
        return self._loader("training", self.batches_per_epoch)

    def val_dataloader(self) -> DataLoader:
        """Batches to choose by."""
        return self._loader("validation", 3)

    def test_dataloader(self) -> DataLoader:
        """Batches that nothing is chosen by."""
        return self._loader("test", 3)


class Seeded(Data):
    """The data of the search with something of one's own."""

    def __init__(self, *args: Any, favourite: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.favourite = favourite


def regression(name: str = "DeepClean", **trainer: Any) -> dict[str, Any]:
    """Training of a network that predicts a series, on data of one's own."""
    settings = settings_of(name)
    model = {"architecture": name, "options": settings["options"], "num_channels": 2}
    trainer = {"max_epochs": 2} | trainer
    config = config_of("Regression", trainer, learning_rate=settings["rate"], **model)
    arguments = {"batches_per_epoch": settings["steps"] // 2}
    config["data"] = {"class_path": "test_train_families.Witnessed", "init_args": arguments}
    return config


@pytest.mark.parametrize("name", names("regression"))
def test_regression_learns_what_is_not_linear(
    inputs: dict[str, Path], tmp_path: Path, name: str
) -> None:
    """On a data module of one's own, from the command line to the published network."""
    config, given = regression(name), {"experiment": inputs["experiment"]}
    assert train(config, given, tmp_path) == 0
    run = tmp_path / "run"
    description = yaml.safe_load((run / "model.yaml").read_text())
    assert description["family"] == "Regression"
    assert description["num_channels"] == 2
    assert description["training"]["monitor"] == "valid_residual"
    assert 0.1 < description["measures"]["valid_residual"] < 0.2
    with (run / "metrics.csv").open(newline="") as file:
        residuals = [float(row["valid_residual"]) for row in csv.DictReader(file)]
    assert min(residuals) == pytest.approx(description["measures"]["valid_residual"])
    # what is published cleans a stretch of any length, made here for the first time
    module = torch.jit.load(run / "model.pt")
    data = Witnessed(inputs["experiment"], batch_size=64)
    witnesses, target = data.make_batch("another", 0)
    assert (target - module(witnesses)).square().mean() / target.square().mean() < 0.2
    assert module(torch.zeros(3, 2, 1000)).shape == (3, 1000)
    for verb, name in (("validate", "measures.yaml"), ("test", "measures-test.yaml")):
        assert train(config, given, tmp_path, verb=verb) == 0
        found = yaml.safe_load((run / name).read_text())
        assert found["checkpoint"] == "best.ckpt"
        same = found["measures"] == pytest.approx(description["measures"])
        assert same == (verb == "validate")
        assert found["measures"]["valid_residual"] < 0.2


def test_untrained_regression_takes_nothing_off(inputs: dict[str, Path], tmp_path: Path) -> None:
    """And the seed of the training changes weights and batches."""
    given, found = {"experiment": inputs["experiment"]}, []
    for offset in (0, 1):
        folder = tmp_path / str(offset)
        config = regression(max_epochs=1)
        config["model"]["init_args"]["learning_rate"] = 1e-12
        config["data"]["init_args"]["batches_per_epoch"] = 2
        assert train(config, given, folder, f"--seed_offset={offset}") == 0
        measures = yaml.safe_load((folder / "run/model.yaml").read_text())["measures"]
        found.append(measures["valid_residual"])
    assert min(found) > 0.9
    assert found[0] != found[1]


def test_residual_is_that_of_all_batches_together(inputs: dict[str, Path]) -> None:
    """A quiet batch does not count as much as a loud one."""
    module = Regression(inputs["experiment"], num_channels=2).eval()
    data = Witnessed(inputs["experiment"], batch_size=4)
    batches = [data.make_batch("scaled", number) for number in range(2)]
    batches[1] = tuple(3 * values for values in batches[1])
    trainer = L.Trainer(logger=False, accelerator="cpu", enable_progress_bar=False)
    loader = DataLoader(batches, batch_size=None)
    found = trainer.validate(module, loader, verbose=False)[0]["valid_residual"]
    with torch.no_grad():
        left = sum((target - module(inputs)).square().sum() for inputs, target in batches)
    total = sum(target.square().sum() for _, target in batches)
    assert found == pytest.approx(float(left / total), rel=1e-5)


def test_data_of_the_search_may_be_derived_from(inputs: dict[str, Path], tmp_path: Path) -> None:
    config = config_of(trainer={"max_epochs": 1})
    arguments = SMALL | {"batches_per_epoch": 2, "favourite": 7}
    config["data"] = {"class_path": "test_train_families.Seeded", "init_args": arguments}
    assert train(config, inputs, tmp_path) == 0
    assert (tmp_path / "run/model.pt").exists()
    kept = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert kept["data"]["init_args"]["favourite"] == 7


@pytest.mark.parametrize(
    ("family", "own", "verb", "sentence"),
    [
        ("Regression", False, "fit", "name a data module of your own by data.class_path"),
        ("Supervised", True, "fit", "Witnessed is no train.data.Data: leave data.class_path out"),
        ("Regression", True, "predict", "predict writes scores, and Regression has none"),
    ],
)
def test_data_that_do_not_fit_are_refused(
    inputs: dict[str, Path],
    tmp_path: Path,
    family: str,
    own: bool,
    verb: str,
    sentence: str,
    capsys: pytest.CaptureFixture,
) -> None:
    config = regression() if family == "Regression" else config_of()
    config["data"] = regression()["data"] if own else SMALL
    assert train(config, inputs, tmp_path, verb=verb) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("train: ")
    assert sentence in message


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dilations": [64]}, "more than the kernel of 1.5 s: use fewer dilations or a longer"),
        ({"dilations": 2}, 'an option of TwoTower is of the wrong type: Parser key "dilations"'),
        ({"dilation": [1]}, "TwoTower has no option dilation: there are channels, taps"),
    ],
)
def test_networks_that_cannot_be_are_refused(
    inputs: dict[str, Path],
    tmp_path: Path,
    options: dict[str, Any],
    sentence: str,
    capsys: pytest.CaptureFixture,
) -> None:
    assert train(config_of(options=options), inputs, tmp_path) == 1
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]


class Patient(Supervised):
    """A family of one's own."""


def test_a_family_of_ones_own_has_the_architectures_of_its_kind() -> None:
    check_model({"class_path": "test_train_families.Patient", "init_args": {}})
    with pytest.raises(ValueError, match="no supervised architecture 'DeepClean'"):
        check_model(
            {
                "class_path": "test_train_families.Patient",
                "init_args": {"architecture": "DeepClean"},
            }
        )
