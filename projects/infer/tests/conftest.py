"""Simulated strain, a small network that sees energy, and injections: the inputs of a search."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from architectures import ResNet, TwoTower
from hermes.quiver import ModelRepository, Platform
from ledger import InjectionSet, StrainIndex, StrainSegment
from runtime import load_experiment, make_provenance

RATE = 512
ASD = 1e-23
# of the network's weights, which must come from somewhere that is the same each time
SEED = 0
# Features of TwoTower by detector.
FEATURES = (2, 64)
REPOSITORY = Path(__file__).parents[3]
FILES = {"a": (1000.0, 60), "b": (2000.0, 45), "c": (3000.0, 30)}


class Part(torch.nn.Module):
    """One method of a network as a module."""

    def __init__(self, network: torch.nn.Module, method: str) -> None:
        super().__init__()
        self.network, self.method = network, method

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self.network, self.method)(x)


def energetic(network: torch.nn.Module) -> torch.nn.Module:
    """Make a network's score follow the energy in both detectors, which is all we need here."""
    torch.manual_seed(0)
    kernels = torch.randn(64, 2, network.kernel_size)
    for _ in range(2):
        network(kernels)
    network.eval()
    with torch.no_grad():
        if isinstance(network, TwoTower):
            loud = network(kernels * 4).mean() - network(kernels).mean()
            network.evidence.weight *= 5 / loud
    return network


def write_repository(folder: Path, network: torch.nn.Module, experiment: object) -> Path:
    streaming = isinstance(network, TwoTower)
    repository = ModelRepository(folder)
    kernel = torch.randn(2, 2, network.kernel_size)
    if streaming:
        features = network.towers(kernel).detach()
        parts = {
            "towers": (Part(network, "towers"), {"whitened": (None, 2, None)}, [kernel]),
            "head": (Part(network, "head"), {"features": (None, *FEATURES, None)}, [features]),
        }
    elif network.needs_taps:
        shapes = {"kernel": (None, 2, network.kernel_size), "taps": (None, 2, RATE)}
        parts = {"network": (Column(network), shapes, [kernel, torch.randn(2, 2, RATE)])}
    else:
        shapes = {"kernel": (None, 2, network.kernel_size)}
        parts = {"network": (Column(network), shapes, [kernel])}
    models = {}
    for name, (module, shapes, examples) in parts.items():
        model = repository.add(name, platform=Platform.ONNX if streaming else Platform.TORCHSCRIPT)
        model.config.parameters["aframe.network"].string_value = "0" * 64
        given = {key: array.numpy() for key, array in zip(shapes, examples, strict=True)}
        model.export_version(module.eval(), None, shapes, ["y"], examples=given)
        digest = hashlib.sha256(model.file().read_bytes()).hexdigest()
        models[name] = {"file": f"{name}/1/{model.file_name}", "sha256": digest, "version": 1}
    description = {
        "streaming": streaming,
        "needs_taps": network.needs_taps,
        "sample_rate": float(RATE),
        "kernel_size": network.kernel_size,
        "delay": 0.25,
        "sha256": "0" * 64,
        "settings": experiment.settings(),
    }
    if streaming:
        for name in ("hop_size", "receptive_size", "head_size", "pool_size"):
            description[name] = getattr(network, name)
    content = {"schema": 2, "network": description, "models": models}
    (folder / "repository.yaml").write_text(yaml.safe_dump(content))
    return folder


class Column(torch.nn.Module):
    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, taps: torch.Tensor | None = None) -> torch.Tensor:
        return (self.network(x) if taps is None else self.network(x, taps))[:, None]


class Filtered(torch.nn.Module):
    """Looks at the kernel and at the filter of each detector in turn."""

    needs_taps = True
    kernel_size = 768

    def forward(self, kernel: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
        weights = torch.linspace(0.5, 1.5, RATE)
        seen = (taps * weights).sum(-1) * kernel.square().mean(-1)
        return seen[:, 0] - 2 * seen[:, 1]


@dataclasses.dataclass
class Setup:
    folder: Path
    experiment: Path
    streaming: Path
    windowed: Path
    filtered: Path
    network: TwoTower
    resnet: ResNet

    @property
    def inputs(self) -> dict[str, Path]:
        return {
            "experiment": self.experiment,
            "strain": self.folder / "index.hdf5",
            "injections": self.folder / "injections.hdf5",
        }


@pytest.fixture(scope="session")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    folder = tmp_path_factory.mktemp("search")
    content = yaml.safe_load((REPOSITORY / "configs/smoke/experiment.yaml").read_text())
    content["search"] |= {"scores_per_second": 16, "background_livetime": 600}
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    experiment = load_experiment(path)
    provenance = make_provenance("test", experiment)
    rng = np.random.default_rng(1)
    for name, (start, seconds) in FILES.items():
        strain = {
            ifo: rng.standard_normal(seconds * RATE) * ASD * np.sqrt(RATE / 2)
            for ifo in ("H1", "L1")
        }
        if name == "a":  # a known event, very loud in both
            burst(strain, start, 1030.0, 160)
        StrainSegment(strain=strain, gps_start=start, sample_rate=RATE).write(
            folder / f"{name}.hdf5", provenance
        )
    StrainIndex(
        ifos=("H1", "L1"),
        sample_rate=RATE,
        path=[f"{name}.hdf5" for name in FILES],
        label=list(FILES),
        gps_start=np.array([s for s, _ in FILES.values()]),
        gps_stop=np.array([s + n for s, n in FILES.values()]),
        role=np.full((3, 1), 2),
        known_label=["GW"],
        known_time=np.array([1030.0]),
        known_window=np.array([[1028.0, 1032.0]]),
    ).write(folder / "index.hdf5", provenance)
    times = np.array([1015.0, 1045.5, 2020.25, 2033.0])
    response = np.zeros((4, 2, 4 * RATE))
    for i, snr in enumerate((8, 60, 80, 120)):
        wave = {ifo: np.zeros(4 * RATE) for ifo in ("H1", "L1")}
        burst(wave, 0.0, 3.0, snr)
        response[i] = np.stack(list(wave.values()))
    InjectionSet(
        ifos=("H1", "L1"),
        sample_rate=RATE,
        coalescence=3.0,
        snr_threshold=4.0,
        volume=1.0,
        time=times,
        snr=np.array([8.0, 60, 80, 120]),
        ifo_snr=np.ones((4, 2)),
        parameters={"redshift": np.zeros(4)},
        response=response,
        rejected={"redshift": np.zeros(7)},
        rejected_snr=np.ones(7),
        shift=np.zeros((4, 2)),
        file=np.zeros(4),
        draw=np.arange(4),
        rejected_by=np.zeros(7),
        rejected_file=np.zeros(7),
        rejected_draw=np.arange(7),
        failed_file=np.zeros(0),
        failed_draw=np.zeros(0),
        failed_reason=[],
        stream="injections/0",
    ).write(folder / "injections.hdf5", provenance)
    torch.manual_seed(SEED)
    network = energetic(TwoTower(2, RATE, 1.5))
    torch.manual_seed(0)
    resnet = ResNet(2, RATE, 1.5, layers=[1, 1, 1, 1]).eval()
    return Setup(
        folder,
        path,
        write_repository(folder / "streaming", network, experiment),
        write_repository(folder / "windowed", resnet, experiment),
        write_repository(folder / "filtered", Filtered(), experiment),
        network,
        resnet,
    )


def burst(strain: dict[str, np.ndarray], start: float, gps: float, snr: float) -> None:
    """Add a sine-Gaussian of a network SNR for white noise of ASD."""
    for values in strain.values():
        time = start + np.arange(len(values)) / RATE - gps
        wave = np.exp(-((time / 0.05) ** 2)) * np.cos(2 * np.pi * 100 * time)
        scale = snr / np.sqrt(2) / np.sqrt(2 * (wave**2).sum() / RATE) * ASD
        values += wave * scale
