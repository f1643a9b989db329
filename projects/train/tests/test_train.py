"""Training: batches are what they claim, the network learns, the result is what search needs."""

import csv
import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from architectures import TwoTower
from ledger import InjectionSet, StrainIndex, StrainSegment, WaveformSet
from preprocessing import WhiteningRecipe, optimal_snr, running_psd
from runtime import load_experiment, make_provenance
from train.background import Background, load_stretches
from train.data import Data
from train.model import Detector
from train.publish import script
from train.signals import Signals, SnrDistribution
from waveforms import signal_model

REPOSITORY = Path(__file__).parents[3]
RATE = 512
ASD = 1e-23


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """White noise, chirp-like bursts, and injections of them, written through the ledger."""
    folder = tmp_path_factory.mktemp("inputs")
    settings = yaml.safe_load((REPOSITORY / "configs/smoke/experiment.yaml").read_text())
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(settings))
    experiment = load_experiment(path)
    provenance = make_provenance("test", experiment)
    rng = np.random.default_rng(0)
    files = {"training": (1000.0, 300), "validation": (2000.0, 200), "search": (3000.0, 100)}
    for role, (start, seconds) in files.items():
        strain = {
            ifo: rng.standard_normal(seconds * RATE) * ASD * np.sqrt(RATE / 2)
            for ifo in experiment.ifos
        }
        StrainSegment(strain=strain, gps_start=start, sample_rate=RATE).write(
            folder / f"{role}.hdf5", provenance
        )
    StrainIndex(
        ifos=experiment.ifos,
        sample_rate=RATE,
        path=[f"{role}.hdf5" for role in files],
        label=list(files),
        gps_start=np.array([s for s, _ in files.values()]),
        gps_stop=np.array([s + n for s, n in files.values()]),
        role=np.array([[0], [1], [2]]),
        known_label=["burst"],
        known_time=np.array([1100.0]),
        known_window=np.array([[1099.0, 1101.0]]),
    ).write(folder / "index.hdf5", provenance)
    time = np.arange(4 * RATE) / RATE - 3
    waves = []
    for frequency in rng.uniform(60, 150, 64):
        phase = 2 * np.pi * frequency * time + rng.uniform(0, 2 * np.pi)
        waves.append(1e-21 * np.exp(-((time / 0.04) ** 2)) * np.exp(1j * phase))
    waves = np.array(waves)
    WaveformSet(
        sample_rate=RATE,
        coalescence=3.0,
        parameters={"redshift": np.zeros(64)},
        num_failed=0,
        plus=waves.real,
        cross=waves.imag,
    ).write(folder / "waveforms.hdf5", provenance)
    count = 40
    times = 2015.0 + 4.0 * np.arange(count)
    response = np.stack([waves[:count].real, waves[:count].imag], axis=1)
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    validation = StrainSegment.read(folder / "validation.hdf5")
    strain = torch.stack([torch.from_numpy(validation.strain[i]) for i in experiment.ifos])
    psd = running_psd(strain, recipe)[[recipe.block(t - 2000) for t in times]]
    snr = optimal_snr(torch.from_numpy(response), psd, RATE, 32)
    response *= (15 / snr.square().sum(-1).sqrt().numpy())[:, None, None]
    InjectionSet(
        ifos=experiment.ifos,
        sample_rate=RATE,
        coalescence=3.0,
        snr_threshold=4.0,
        volume=1.0,
        time=times,
        snr=np.full(count, 15.0),
        ifo_snr=np.full((count, 2), 15 / np.sqrt(2)),
        parameters={"redshift": np.zeros(count)},
        response=response,
        rejected={"redshift": np.zeros(0)},
        rejected_snr=np.zeros(0),
        shift=np.zeros((count, 2)),
        file=np.zeros(count),
        draw=np.arange(count),
        rejected_by=np.zeros(0),
        rejected_file=np.zeros(0),
        rejected_draw=np.arange(0),
        failed_file=np.zeros(0),
        failed_draw=np.zeros(0),
        failed_reason=[],
        stream="injections/0",
    ).write(folder / "validation-0.hdf5", provenance)
    return {
        "experiment": path,
        "strain": folder / "index.hdf5",
        "waveforms": folder / "waveforms.hdf5",
        "validation": folder / "validation-0.hdf5",
    }


def data_of(inputs: dict[str, Path], **options: object) -> Data:
    data = Data(**inputs, **options)
    data.trainer = None
    data.setup("fit")
    return data


def test_batches_hold_the_configured_fractions(inputs: dict[str, Path]) -> None:
    data = data_of(inputs, batch_size=64, signal_fraction=0.25)
    kernels, labels = data.make_batch(0)
    assert kernels.shape == (64, 2, 768)
    assert labels.sum() == 16
    assert (labels[:16] == 1).all()
    # noise alone has unit variance in its band; a signal of SNR 5 or more adds at least 25
    energy = kernels.square().sum(dim=(1, 2))
    assert energy[:16].mean() > energy[16:].mean() + 25


def test_mixed_noise_is_noise_of_the_same_kind(inputs: dict[str, Path]) -> None:
    for mixing in (0.0, 1.0):
        data = data_of(inputs, batch_size=256, signal_fraction=0.0, mixing=mixing)
        kernels, labels = data.make_batch(0)
        assert not labels.any()
        # 15/16 of the band is kept, and the PSD of 8 s makes it some per cent louder
        assert kernels.var().item() == pytest.approx(15 / 16 * 1.2, abs=0.1)
        spectrum = torch.fft.rfft(kernels).abs().square().mean(dim=(0, 1))
        flat = spectrum[60:360] / spectrum[60:360].mean()
        assert (flat - 1).abs().max() < 0.35


def test_batches_depend_on_their_number_alone(inputs: dict[str, Path]) -> None:
    data = data_of(inputs, batch_size=32)
    first = data.make_batch(3)
    data.make_batch(4)
    for again in (data.make_batch(3), data_of(inputs, batch_size=32).make_batch(3)):
        assert torch.equal(again[0], first[0])
    assert not torch.equal(data.make_batch(4)[0], first[0])


def test_known_events_are_never_trained_on(inputs: dict[str, Path]) -> None:
    experiment = load_experiment(inputs["experiment"])
    loaded = load_stretches(inputs["strain"], experiment, "training", 0, torch.device("cpu"))
    values = loaded[0].stretch.values
    first = round((1099.0 - loaded[0].gps_start) * RATE)
    values[:, first : first + 2 * RATE] = 1e6
    background = Background(loaded, 768, [(1099.0, 1101.0)])
    generator = torch.Generator().manual_seed(0)
    kernels, _ = background.draw(4000, generator)
    assert kernels.abs().max() < 100
    # and the rest is used up to the very edge of the window
    assert background.livetime == pytest.approx(
        (len(values[0]) - 2 * (768 - 1) - 1024) / RATE, abs=0.1
    )
    unguarded, _ = Background(loaded, 768).draw(4000, generator)
    assert unguarded.abs().max() > 1e5


def test_signals_have_the_snr_and_place_asked_for(inputs: dict[str, Path]) -> None:
    data = data_of(inputs)
    snr = SnrDistribution(minimum=9.99, start=10.0, maximum=10.01)
    signals = Signals(
        WaveformSet.read(inputs["waveforms"]),
        data.experiment.waveforms,
        ("H1", "L1"),
        768,
        snr,
        (0.5, 1.2),
        torch.device("cpu"),
    )
    generator = torch.Generator().manual_seed(1)
    _, taps = data.background.draw(300, generator)
    drawn = signals.draw(taps, generator, 0)
    found = drawn.square().sum(dim=(1, 2)).sqrt()
    torch.testing.assert_close(found, torch.full((300,), 10.0), rtol=0.01, atol=0)
    # the centre of the energy is at the coalescence, delayed by at most the light's way
    time = torch.arange(768) / RATE
    power = drawn.square().sum(dim=1)
    centre = (power * time).sum(-1) / power.sum(-1)
    assert centre.min() > 0.5 - 0.06
    assert centre.max() < 1.2 + 0.06
    assert centre.std() == pytest.approx(0.7 / np.sqrt(12), rel=0.15)


def test_signals_may_be_made_while_training(inputs: dict[str, Path], tmp_path: Path) -> None:
    """From parameters alone, the same as from a file that holds the polarizations."""
    experiment = load_experiment(inputs["experiment"])
    rng = np.random.default_rng(3)
    sources = {
        name: np.full(12, value)
        for name, value in {
            "luminosity_distance": 500.0, "redshift": 0.1, "phase": 1.0, "theta_jn": 0.4,
            "a_1": 0.2, "a_2": 0.1, "tilt_1": 0.5, "tilt_2": 1.0, "phi_12": 0.0, "phi_jl": 0.0,
        }.items()
    }  # fmt: skip
    sources["mass_1_detector"] = rng.uniform(40, 60, 12)
    sources["mass_2_detector"] = rng.uniform(30, 40, 12)
    model = signal_model(experiment.waveforms, RATE)
    plus, cross, good = model.polarizations(sources)
    assert good.all()
    stored = WaveformSet(
        sample_rate=RATE,
        coalescence=model.coalescence,
        num_failed=0,
        parameters=sources,
        plus=plus.float().numpy(),
        cross=cross.float().numpy(),
    )
    bare = dataclasses.replace(stored, plus=stored.plus[:0], cross=stored.cross[:0])
    batches = []
    for name, waveforms in (("stored", stored), ("bare", bare)):
        path = tmp_path / f"{name}.hdf5"
        waveforms.write(path, make_provenance("test", experiment))
        data = data_of({**inputs, "waveforms": path}, batch_size=32)
        assert data.signals.num_waveforms == 12
        batches.append(data.make_batch(5)[0])
    torch.testing.assert_close(*batches, rtol=1e-3, atol=1e-3)


def test_snr_distribution_is_the_power_law() -> None:
    generator = torch.Generator().manual_seed(2)
    for index in (-4.0, -3.0, -1.0):
        snr = SnrDistribution(4, 40, index)
        drawn = snr.draw(200_000, generator, torch.device("cpu"), 0)
        assert drawn.min() >= 4
        assert drawn.max() <= 40.001
        if index == -1:
            expected = np.log(8 / 4) / np.log(10)
        else:
            p = index + 1
            expected = (8**p - 4**p) / (40**p - 4**p)
        assert (drawn < 8).float().mean().item() == pytest.approx(expected, abs=0.005)


def test_loud_signals_come_first() -> None:
    snr = SnrDistribution(minimum=5, start=12, start_steps=100)
    assert [snr.smallest(step) for step in (0, 50, 100, 5000)] == [12, 8.5, 5, 5]
    drawn = snr.draw(10_000, torch.Generator().manual_seed(0), torch.device("cpu"), 50)
    assert drawn.min().item() == pytest.approx(8.5, abs=0.01)
    with pytest.raises(ValueError, match="are not in order"):
        SnrDistribution(minimum=13, start=12)


def test_other_settings_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    changed = yaml.safe_load(inputs["experiment"].read_text())
    changed["sample_rate"] = 1024
    other = tmp_path / "experiment.yaml"
    other.write_text(yaml.safe_dump(changed))
    data = Data(**{**inputs, "experiment": other})
    with pytest.raises(ValueError, match=r"index.hdf5 was made with sample_rate = 512.*1024"):
        data.prepare_data()
    with pytest.raises(ValueError, match="folds 0 to 0"):
        data_of(inputs, fold=3)


def test_unknown_architecture_is_listed(inputs: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"no architecture 'Nothing'.*ResNet, TwoTower"):
        Detector(inputs["experiment"], architecture="Nothing")


def test_pairing_anew_is_noise_of_other_kernels(inputs: dict[str, Path]) -> None:
    """With pairings the loss sees every pair; without, it is the plain cross entropy."""
    data = data_of(inputs, batch_size=16)
    kernels, labels = data.make_batch(0)
    detector = Detector(inputs["experiment"], pairings=0).eval()
    plain = torch.nn.functional.binary_cross_entropy_with_logits(detector(kernels), labels)
    torch.testing.assert_close(detector.loss(kernels, labels), plain)
    paired = Detector(inputs["experiment"], pairings=3).eval()
    others = []
    for k in (1, 2, 3):
        swapped = torch.stack((kernels[:, 0], kernels[:, 1].roll(k * 16 // 4, 0)), dim=1)
        others.append(paired(swapped))
    expected = plain + torch.nn.functional.softplus(torch.cat(others)).mean()
    torch.testing.assert_close(paired.loss(kernels, labels), expected, rtol=1e-4, atol=1e-5)


def test_script_keeps_the_parts(inputs: dict[str, Path]) -> None:
    torch.manual_seed(0)
    network = TwoTower(2, RATE, 1.5).eval()
    module = script(network)
    stretch = torch.randn(3, 2, 3000)
    with torch.no_grad():
        expected = network.pool(network.head(network.towers(stretch)))
        found = module.pool(module.head(module.towers(stretch)))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def arguments_of(config: dict, inputs: dict[str, Path], folder: Path) -> list[str]:
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(config))
    given = [f"--config={path}", f"--run_dir={folder / 'run'}"]
    return ["fit", *given, *(f"--{name}={value}" for name, value in inputs.items())]


def test_killed_training_goes_on_as_if_nothing_had_been(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    config = {
        "trainer": {
            "max_epochs": 3,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "logger": False,
        },
        "model": {"learning_rate": 0.01},
        "data": {"batch_size": 16, "batches_per_epoch": 4, "validation_livetime": 200},
    }
    curves = []
    for name in ("unbroken", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, "-m", "train", *arguments_of(config, inputs, folder)]
        table = folder / "run/metrics.csv"
        if name == "killed":
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            while not (folder / "run/last.ckpt").exists() or not table.exists():
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not (folder / "run/model.pt").exists()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ("going on from last.ckpt" in done.stderr) == (name == "killed")
        with table.open(newline="") as file:
            curves.append([(r["epoch"], r["train_loss"]) for r in csv.DictReader(file)])
    assert [epoch for epoch, _ in curves[0]] == ["0", "1", "2"]
    assert len({loss for _, loss in curves[0]}) == 3
    assert curves[0] == curves[1]


def test_every_epoch_brings_new_batches(inputs: dict[str, Path]) -> None:
    data = data_of(inputs, batch_size=8, batches_per_epoch=2)
    seen = []
    for epoch in range(3):
        data.trainer = SimpleNamespace(training=True, current_epoch=epoch)
        for item in data.train_dataloader():
            seen.append(data.on_after_batch_transfer(item, 0)[0])
    for i, kernels in enumerate(seen):
        assert not any(torch.equal(kernels, other) for other in seen[:i])


@pytest.mark.parametrize("architecture", ["TwoTower", "ResNet"])
def test_it_learns(
    inputs: dict[str, Path], tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line trains to a useful network and publishes it."""
    from train.cli import main

    options = {"layers": [1, 1, 1, 1]} if architecture == "ResNet" else {}
    config = {
        "trainer": {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False},
        "model": {"architecture": architecture, "options": options, "learning_rate": 0.01},
        "data": {
            "batch_size": 32 if architecture == "ResNet" else 64,
            "batches_per_epoch": 10 if architecture == "ResNet" else 25,
            "snr": {"minimum": 12.0, "start": 12.0, "maximum": 30.0, "index": -3.0},
            "validation_livetime": 500,
        },
    }
    run = tmp_path / "run"
    monkeypatch.setattr("sys.argv", ["train", *arguments_of(config, inputs, tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    description = yaml.safe_load((run / "model.yaml").read_text())
    assert description["architecture"] == architecture
    assert description["streaming"] == (architecture == "TwoTower")
    rows = (run / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4
    assert "kernels_per_second" in rows[0]
    # far above chance: half of the SNR-15 bursts above all background
    assert description["measures"]["valid_recall"] > (0.5 if architecture == "TwoTower" else 0)
    module = torch.jit.load(str(run / "model.pt"))
    assert module(torch.zeros(5, 2, 768)).shape == (5,)
