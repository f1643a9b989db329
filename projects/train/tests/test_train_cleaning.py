"""Cleaning: from witnesses to a published network that takes their noise off the strain."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from cleaning import LayerEstimator, Series, TorchPredictor, load_cleaning_experiment
from ledger import WitnessSet
from runtime import make_provenance
from scipy.signal import welch
from train.families.cleaning import Cleaning
from train.witnesses import Witnesses

START, SECONDS, STRAIN_RATE, RATE = 1_000_000_000, 240, 512, 256
SIZE = 1e-21
PROBLEM = {
    "name": "small",
    "ifo": "H1",
    "sample_rate": STRAIN_RATE,
    "layers": [{"bands": [[55, 65]], "witnesses": ["MAINS", "PITCH"], "sample_rate": RATE}],
}
EXPERIMENT = {
    "name": "small",
    "seed": 3,
    "training": {"start": START, "duration": SECONDS},
    "evaluation": {"start": START + 1000, "duration": 100},
    "kernel_length": 8.0,
}


def signals(rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A line, a slow motion, and what both make of the strain: the line and its sidebands."""
    time = np.arange(SECONDS * rate) / rate
    random = np.random.default_rng(1)
    phases = random.uniform(0, 2 * np.pi, 40)
    slow = random.uniform(0.1, 1.5, 40)
    pitch = np.cos(2 * np.pi * np.multiply.outer(time, slow) + phases).mean(axis=1) * 40**0.5
    mains = np.cos(2 * np.pi * 60 * time)
    late = np.cos(2 * np.pi * 60 * (time - 0.004))
    return mains, pitch, 2 * late * (0.5 + pitch)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment and its data, with a gap."""
    folder = tmp_path_factory.mktemp("cleaning")
    (folder / "problem.yaml").write_text(yaml.safe_dump(PROBLEM))
    (folder / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    experiment = load_cleaning_experiment(folder)
    usable = np.ones(SECONDS, dtype=np.int8)
    usable[50] = 0
    mains, pitch, _ = signals(RATE)
    background = np.random.default_rng(2).standard_normal(SECONDS * STRAIN_RATE)
    # witnesses in units of their own
    witness = np.stack((300 + 20 * mains, 1e-3 * pitch)) * np.repeat(usable, RATE)
    strain = SIZE * (background + signals(STRAIN_RATE)[2]) * np.repeat(usable, STRAIN_RATE)
    np.save(folder / "background.npy", SIZE * background)
    WitnessSet(
        gps_start=START,
        strain_rate=STRAIN_RATE,
        witness_rate=RATE,
        strain_channel="H1:GDS-CALIB_STRAIN",
        problem=experiment.load_problem().digest,
        channel=["H1:MAINS", "H1:PITCH"],
        strain=strain,
        witness=witness.astype(np.float32),
        usable=usable,
    ).write(folder / "witnesses.hdf5", make_provenance("test", experiment))
    return folder


def train(folder: Path, run: str, config: dict, *more: str) -> subprocess.CompletedProcess:
    """`python -m train fit`, as a user would."""
    path = folder / f"{run}.yaml"
    path.write_text(yaml.safe_dump(config))
    given = [f"--config={path}", f"--experiment={folder}", f"--run_dir={folder / run}"]
    command = [sys.executable, "-P", "-m", "train", "fit", *given, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def config_of(folder: Path, epochs: int = 3, batches: int = 25, **model) -> dict:
    data = {
        "witnesses": str(folder / "witnesses.hdf5"),
        "batch_size": 8,
        "batches_per_epoch": batches,
    }
    trainer = {"max_epochs": epochs, "accelerator": "cpu", "enable_progress_bar": False}
    return {
        "model": {"class_path": "Cleaning", "init_args": {"learning_rate": 0.02, **model}},
        "data": {"class_path": "train.witnesses.Witnesses", "init_args": data},
        "trainer": trainer | {"gradient_clip_val": 1.0, "enable_model_summary": False},
    }


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    config = config_of(folder, options={"rank": 2, "taps": 17})
    result = train(folder, "run", config)
    assert result.returncode == 0, result.stderr[-2000:]
    # nothing to be warned of
    assert "best linear filter" not in result.stderr
    return folder / "run"


def ratio(folder: Path, network) -> tuple[float, float]:
    """What cleaning and what the truth leave of the in-band density, by other means."""
    experiment = load_cleaning_experiment(folder)
    found = WitnessSet.read(folder / "witnesses.hdf5")
    witnesses = {
        name: Series(values, RATE, START * RATE)
        for name, values in zip(found.channel, found.witness, strict=True)
    }
    layer = experiment.training_layer
    estimator = LayerEstimator(layer, tuple(found.channel), TorchPredictor(network), STRAIN_RATE)
    start, stop = SECONDS - 60, SECONDS - 2
    noise = estimator(witnesses, START + start, START + stop)
    part = slice(start * STRAIN_RATE, stop * STRAIN_RATE)
    raw, background = found.strain[part], np.load(folder / "background.npy")[part]

    def density(values: np.ndarray) -> np.ndarray:
        frequency, power = welch(values * 1e21, STRAIN_RATE, nperseg=2 * STRAIN_RATE)
        return np.sqrt(power[(frequency >= 55) & (frequency < 65)])

    left = [density(values) / density(raw) for values in (raw - noise, background)]
    return float(left[0].mean()), float(left[1].mean())


def test_a_network_beats_the_best_linear_filter(folder: Path, trained: Path) -> None:
    description = yaml.safe_load((trained / "model.yaml").read_text())
    measures = description["measures"]
    assert measures["valid_asd_ratio"] < 0.8 * measures["valid_wiener"]
    assert measures["valid_outside"] == pytest.approx(1, abs=0.01)
    assert description["architecture"] == "Bilinear"


def test_what_is_published_takes_witnesses_as_they_are(folder: Path, trained: Path) -> None:
    network = torch.jit.load(str(trained / "model.pt"))
    assert (network.hop_size, network.past_size, network.future_size) == (1, 8, 8)
    left, best = ratio(folder, network)
    assert left < 1.1 * best
    # all that it sees lies within its reach
    witnesses = torch.zeros(1, 2, 101)
    witnesses[:] = torch.tensor([300.0, 0.0])[None, :, None]
    bumped = witnesses.clone()
    bumped[0, 0, 50] += 20
    with torch.no_grad():
        changed = (network(bumped) - network(witnesses))[0].abs() > 1e-6 * SIZE
    assert changed.any()
    assert np.abs(np.flatnonzero(changed.numpy()) - 50).max() <= network.past_size


def test_the_first_network_of_deepclean_is_trained_alike(folder: Path) -> None:
    config = config_of(folder, architecture="DeepClean", options={"widths": [8, 16]})
    config["model"]["init_args"]["learning_rate"] = 0.005
    result = train(folder, "autoencoder", config)
    assert result.returncode == 0, result.stderr[-2000:]
    network = torch.jit.load(str(folder / "autoencoder" / "model.pt"))
    assert network.hop_size == 4
    assert network.past_size % network.hop_size == 0
    left, _ = ratio(folder, network)
    assert left < 0.9


def test_fine_tuning_begins_where_the_other_training_ended(folder: Path, trained: Path) -> None:
    options = {"rank": 2, "taps": 17}
    config = config_of(folder, 1, 1, options=options, start_from=str(trained / "best.ckpt"))
    config["model"]["init_args"]["learning_rate"] = 1e-12
    result = train(folder, "tuned", config)
    assert result.returncode == 0, result.stderr[-2000:]
    before, after = (
        yaml.safe_load((run / "model.yaml").read_text())["measures"]["valid_asd_ratio"]
        for run in (trained, folder / "tuned")
    )
    assert after == pytest.approx(before, rel=1e-4)


def test_another_network_cannot_be_begun_with(folder: Path, trained: Path) -> None:
    config = config_of(
        folder, 1, 1, options={"rank": 3, "taps": 17}, start_from=str(trained / "best.ckpt")
    )
    result = train(folder, "other", config)
    assert result.returncode != 0
    assert "another network" in result.stderr.splitlines()[-1]


def test_data_of_another_problem_are_refused(folder: Path, tmp_path: Path) -> None:
    changed = PROBLEM | {"layers": [PROBLEM["layers"][0] | {"bands": [[50, 65]]}]}
    (tmp_path / "problem.yaml").write_text(yaml.safe_dump(changed))
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    result = train(folder, "wrong", config_of(folder, 1, 1), f"--experiment={tmp_path}")
    assert result.returncode != 0
    assert "collect data for it" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_a_network_with_a_long_memory_is_trained_alike(folder: Path) -> None:
    options = {"rank": 2, "taps": 17, "memory_length": 1.5, "bands": [[55, 65]], "modes": 4}
    result = train(folder, "resonant", config_of(folder, architecture="Resonant", options=options))
    assert result.returncode == 0, result.stderr[-2000:]
    network = torch.jit.load(str(folder / "resonant" / "model.pt"))
    assert (network.past_size, network.future_size) == (round(1.5 * RATE) - 1, 8)
    left, best = ratio(folder, network)
    assert left < 1.1 * best


class Late(torch.nn.Module):
    """The first witness as it was some time ago."""

    def __init__(self, past_size: int) -> None:
        super().__init__()
        self.hop_size, self.past_size, self.future_size = 1, past_size, 0

    def forward(self, witnesses: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(witnesses[:, 0], (self.past_size, 0))[
            ..., : witnesses.shape[-1]
        ]


def test_strain_stands_at_its_time_whatever_the_network_sees(folder: Path, tmp_path: Path) -> None:
    found = WitnessSet.read(folder / "witnesses.hdf5")
    # strain that is a broadband witness, 300 samples of the witness's rate late
    random = np.random.default_rng(4).standard_normal(SECONDS * RATE)
    smooth = np.fft.irfft(np.fft.rfft(random) * (np.fft.rfftfreq(random.size, 1 / RATE) < 100))
    doubled = np.fft.irfft(2 * np.fft.rfft(smooth), 2 * len(smooth))
    WitnessSet(
        gps_start=found.gps_start,
        strain_rate=STRAIN_RATE,
        witness_rate=RATE,
        strain_channel=found.strain_channel,
        problem=found.problem,
        channel=found.channel,
        strain=SIZE * np.roll(doubled, 300 * STRAIN_RATE // RATE),
        witness=np.stack((smooth, smooth)).astype(np.float32),
        usable=np.ones(SECONDS, dtype=np.int8),
    ).write(tmp_path / "witnesses.hdf5", make_provenance("test", load_cleaning_experiment(folder)))
    data = Witnesses(folder, tmp_path / "witnesses.hdf5", batch_size=4)
    cleaning = Cleaning(folder)
    losses = []
    for past_size in (300, 299):
        cleaning.network = Late(past_size)
        data.look(past_size, 0)
        inputs, target = data.make_batch(0)
        scale = data.scale[0] * SIZE / data.strain_scale
        losses.append(float(cleaning.loss((inputs * scale, target))))
    # a sample of 256 Hz is a quarter of a period
    assert losses[0] < 0.02
    assert losses[1] > 1


def test_a_memory_that_the_data_are_too_short_for_is_refused(folder: Path) -> None:
    data = Witnesses(folder, folder / "witnesses.hdf5")
    with pytest.raises(ValueError, match=r"no 189\.90 usable seconds in a row.*network's memory"):
        data.look(181 * RATE, 0)


def test_a_network_that_does_not_beat_the_linear_filter_says_so(folder: Path) -> None:
    config = config_of(folder, 1, 1, options={"rank": 2, "taps": 17})
    config["model"]["init_args"]["learning_rate"] = 1e-12
    result = train(folder, "untrained", config)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "the best linear filter" in result.stderr
