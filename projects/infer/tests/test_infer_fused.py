"""A network without towers gives along a slide what it gives window by window."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from architectures import EarlyFusion
from conftest import FILES, RATE, Column, Part, Setup
from hermes.quiver import ModelRepository, Platform
from infer.repository import Repository
from infer.scorers import FusedScorer, WindowedScorer, make_scorer
from infer.search import search
from infer.stretches import PreparedStretch
from ledger import EventSet, RecoveredInjections
from runtime import Experiment, load_experiment
from torch.nn import functional as F

KERNEL = 768


def write_repository(
    folder: Path, network: EarlyFusion, experiment: Experiment, windowed: bool
) -> Path:
    """A repository of the network along a stretch, or of its windows."""
    name = "network" if windowed else "evidence"
    module = Column(network) if windowed else Part(network, "evidence_of")
    size = KERNEL if windowed else None
    model = ModelRepository(folder).add(name, platform=Platform.ONNX)
    model.config.parameters["aframe.network"].string_value = "0" * 64
    example = torch.randn(2, 2, KERNEL).numpy()
    model.export_version(
        module.eval(), None, {"x": (None, 2, size)}, ["y"], examples={"x": example}
    )
    digest = hashlib.sha256(model.file().read_bytes()).hexdigest()
    description = {
        "streaming": False,
        "fused": not windowed,
        "needs_taps": False,
        "sample_rate": float(RATE),
        "kernel_size": KERNEL,
        "delay": 0.25,
        "sha256": "0" * 64,
        "settings": experiment.settings(),
    }
    if not windowed:
        for key in ("hop_size", "receptive_size", "head_size", "pool_size"):
            description[key] = getattr(network, key)
    models = {name: {"file": f"{name}/1/{model.file_name}", "sha256": digest, "version": 1}}
    content = {"schema": 2, "network": description, "models": models}
    (folder / "repository.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture(scope="module")
def network() -> EarlyFusion:
    """Trained for a moment to find the bursts of the strain."""
    torch.manual_seed(2)
    network = EarlyFusion(2, RATE, KERNEL / RATE)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    labels = (torch.arange(32) < 16).float()
    time = torch.arange(KERNEL) / RATE
    for _ in range(25):
        since = time - KERNEL / RATE * (0.2 + 0.6 * torch.rand(16, 1))
        kernels = torch.randn(32, 2, KERNEL)
        wave = torch.exp(-((since / 0.05) ** 2)) * torch.cos(2 * torch.pi * 100 * since)
        kernels[:16] += 8 * wave[:, None]
        loss = F.binary_cross_entropy_with_logits(network(kernels), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3
    return network.eval()


@pytest.fixture(scope="module")
def experiment(setup: Setup) -> Experiment:
    return load_experiment(setup.experiment)


@pytest.fixture(scope="module")
def repository(
    network: EarlyFusion, experiment: Experiment, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("fused") / "repository"
    return write_repository(folder, network, experiment, windowed=False)


def stretch_of(values: np.ndarray, frames: int) -> PreparedStretch:
    return PreparedStretch(
        label="made",
        gps_start=0.0,
        whitened=values,
        taps=np.zeros((1, 2, 1), dtype=np.float32),
        features=None,
        num_frames=frames,
        update_size=values.shape[-1],
    )


@pytest.mark.parametrize("shift", [0, 7, 500, 1999])
def test_a_slide_is_scored_as_its_windows(
    repository: Path, network: EarlyFusion, experiment: Experiment, shift: int
) -> None:
    """Over the ends of stretches and of the row, in parts that end anywhere."""
    rng = np.random.default_rng(3)
    values = [rng.standard_normal((2, n)).astype(np.float32) for n in (9000, 6001, 5007)]
    scorer = FusedScorer(Repository(repository, experiment), 16, part_length=1.7)
    frames = [scorer.add(stretch_of(v, scorer.num_frames(v.shape[-1]))) for v in values]
    assert frames == [1125, 750, 625]
    hop, size = network.hop_size, sum(frames)
    ends = np.cumsum(frames)
    scores = scorer.scores(scorer.evidence((0, shift))[None])[0]
    assert len(scores) == (size - scorer.score_frames) // scorer.stride + 1
    kernels, which = [], []
    for i in range(len(scores)):
        views = []
        for ifo, place in enumerate((i * scorer.stride, (i * scorer.stride + shift) % size)):
            owner = int(np.searchsorted(ends, place, side="right"))
            begin = (place - (ends[owner] - frames[owner])) * hop
            views.append(values[owner][ifo, begin : begin + KERNEL])
        if all(len(view) == KERNEL for view in views):
            kernels.append(np.stack(views))
            which.append(i)
    assert len(which) > 0.6 * len(scores)
    with torch.no_grad():
        expected = network(torch.from_numpy(np.stack(kernels))).numpy()
    np.testing.assert_allclose(scores[which], expected, atol=1e-5)


def test_stretches_of_their_own_are_scored_as_their_windows(
    repository: Path, network: EarlyFusion, experiment: Experiment
) -> None:
    pieces = torch.randn(3, 2, 2000)
    scorer = FusedScorer(Repository(repository, experiment), 16)
    evidence = scorer.evidence_of(pieces.numpy(), np.zeros((3, 2, 1), dtype=np.float32))
    kernels = pieces.unfold(-1, KERNEL, RATE // 16).movedim(2, 1)
    with torch.no_grad():
        expected = network(kernels.flatten(0, 1)).reshape(3, -1).numpy()
    np.testing.assert_allclose(scorer.scores(evidence), expected, atol=1e-5)


def test_a_search_finds_what_it_finds_window_by_window(
    setup: Setup,
    repository: Path,
    network: EarlyFusion,
    experiment: Experiment,
    tmp_path: Path,
) -> None:
    windows = write_repository(tmp_path / "windows", network, experiment, windowed=True)
    kinds = {"fused": (repository, FusedScorer), "windowed": (windows, WindowedScorer)}
    for name, (folder, kind) in kinds.items():
        assert type(make_scorer(Repository(folder, experiment), 16)) is kind
        search(repository=folder, output=tmp_path / name, **setup.inputs)
    fused, windowed = (EventSet.read(tmp_path / name / "zero-lag.hdf5") for name in kinds)
    # where the last window's unused samples are missing, a stretch holds a score more
    assert 0 <= len(fused.statistic) - len(windowed.statistic) <= len(FILES)
    nearest = np.abs(fused.statistic[:, None] - windowed.statistic).min(axis=0)
    assert nearest.max() < 1e-6 * np.abs(windowed.statistic).max()
    assert fused.livetime == pytest.approx(windowed.livetime, abs=3 / 16)
    # the known event is in its place
    loudest = fused.statistic.argmax()
    assert fused.time[loudest] == pytest.approx(1030.0, abs=0.5)
    fused, windowed = (
        RecoveredInjections.read(tmp_path / name / "foreground.hdf5") for name in kinds
    )
    np.testing.assert_allclose(fused.statistic, windowed.statistic, rtol=1e-6, atol=1e-5)
    assert fused.statistic.argmax() == 3
    background = EventSet.read(tmp_path / "fused/background.hdf5")
    assert background.livetime >= 600 or len(background.slide_livetime) >= 5
