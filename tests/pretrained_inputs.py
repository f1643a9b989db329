"""A network that was never trained, but hears loud things, and files of a mock data challenge."""

import json
import subprocess
from pathlib import Path

import h5py
import numpy as np

from aframe.environment import ensure

GPS = 1238205077.0
IFOS = ("H1", "L1")
RATE = 2048

# Run by the stage's own Python: the root environment has no torch.
SCRIPT = """
import json, sys
from pathlib import Path
import torch, yaml
from train.card import card
from train.families import Supervised
from train.publish import publish

torch.manual_seed(0)
module = Supervised(sys.argv[1], architecture="TwoTower", options={"dilations": [1], "hidden": 8})
network = module.network
kernels = torch.randn(64, 2, network.kernel_size)
for _ in range(2):
    network(kernels)  # the statistics of its BatchNorm
module.eval()
with torch.no_grad():
    # the score follows the energy in both detectors
    network.evidence.weight *= 5 / (network(kernels * 4).mean() - network(kernels).mean())
training = {
    "monitor": "none", "epoch": 0, "steps": 0, "batch_size": 64, "precision": "32",
    "compile": False, "num_processes": 1, "seed_offset": 0,
}
run = Path(sys.argv[2])
publish(module, run, {"valid_delay_s": 0.5}, {}, training)
config = {"model": {}, "data": {}, "trainer": {}}
(run / "config.yaml").write_text(yaml.safe_dump(config))
card(run, Path(sys.argv[3]))
"""


def make_model(repository: Path, experiment: Path, run: Path, kept: Path) -> None:
    """Make a network as a training leaves it, and as a folder of `models/`.

    Args:
        repository: The checkout.
        experiment: Folder of the experiment of its settings.
        run: Folder to write, as of a training.
        kept: Folder to write, as in `models/`.
    """
    python = ensure(repository / "projects" / "train")
    command = [str(python), "-c", SCRIPT, str(experiment), str(run), str(kept)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def aligo_psd(frequencies: np.ndarray) -> np.ndarray:
    """A fit of Advanced LIGO's design (Sathyaprakash & Schutz 2009, table 1) [1/Hz]."""
    x = np.maximum(frequencies, 15.0) / 215.0
    return 1e-49 * (x**-4.14 - 5 * x**-2 + 111 * (1 - x**2 + x**4 / 2) / (1 + x**2 / 2))


def noise(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Gaussian noise of that PSD, nothing below 15 Hz."""
    size = round(seconds * RATE)
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    white = np.fft.rfft(rng.standard_normal(size))
    amplitude = np.sqrt(aligo_psd(frequencies) * RATE / 2) * (frequencies >= 15)
    return np.fft.irfft(white * amplitude, size)


def burst(times: np.ndarray, centre: float, amplitude: float = 2e-21) -> np.ndarray:
    """A short loud signal at 120 Hz, of an SNR near 150 in that noise."""
    since = times - centre
    return amplitude * np.exp(-((since / 0.03) ** 2)) * np.cos(2 * np.pi * 120 * since)


def write_challenge(path: Path, segments: list[tuple[float, float]], signal: float) -> None:
    """Write a file of the challenge with one signal.

    Args:
        path: The file.
        segments: Start after `GPS` and length of each segment [s]; where two overlap they hold
            the same strain.
        signal: Time of the signal after `GPS` [s].
    """
    rng = np.random.default_rng(5)
    end = max(start + length for start, length in segments)
    with h5py.File(path, "w") as file:
        for ifo in IFOS:
            strain = noise(rng, end)
            strain += burst(np.arange(len(strain)) / RATE, signal)
            for start, length in segments:
                part = strain[round(start * RATE) : round((start + length) * RATE)]
                dataset = file.create_dataset(f"{ifo}/{int(GPS + start)}", data=part)
                dataset.attrs["start_time"] = GPS + start
                dataset.attrs["delta_t"] = 1 / RATE


def wall_times(version: Path) -> dict[str, float]:
    """Stages that have run in a version's folder, and how long each took [s]."""
    records = [json.loads(path.read_text()) for path in version.glob("stages/*/wall.json")]
    return {record["stage"]: record["wall_s"] for record in records}
