"""What is exported is the network, or nothing is."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from architectures import EarlyFusion, EvidenceNetwork, StreamingNetwork, TwoTower
from architectures import build as build_network
from export.build import build_repository
from export.layout import Layout, needs_torch
from hermes.aeriel.client import InferenceClient
from hermes.aeriel.serve import find_server, serve
from preprocessing import WhitenBlock, WhiteningRecipe, whiten
from runtime import load_experiment

EXPERIMENT = Path(__file__).parents[3] / "configs/smoke/experiment.yaml"
RATE = 512
HOP = 8
SETTINGS = load_experiment(EXPERIMENT)
RECIPE = WhiteningRecipe.from_settings(SETTINGS.settings())
SCORE_HOP = round(RATE / SETTINGS.search.scores_per_second)


def write_run(folder: Path, network: torch.nn.Module) -> Path:
    """A run as training leaves it."""
    torch.manual_seed(0)
    inputs = [torch.randn(64, 2, network.kernel_size)]
    inputs[0][32:] *= 3
    if network.needs_taps:
        inputs.append(torch.randn(64, 2, RECIPE.filter_size))
    network(*inputs)
    network.eval()
    if isinstance(network, EvidenceNetwork):  # scores that spread as those of a trained network do
        with torch.no_grad():
            network.evidence.weight *= 2 / network(*inputs).std().clamp(min=1e-3)
    folder.mkdir()
    streaming = isinstance(network, StreamingNetwork)
    description: dict[str, Any] = {
        "streaming": streaming,
        "fused": isinstance(network, EvidenceNetwork) and not streaming,
        "needs_taps": network.needs_taps,
        "ifos": ["H1", "L1"],
        "sample_rate": float(RATE),
        "kernel_size": network.kernel_size,
        "settings": SETTINGS.settings(),
    }
    if isinstance(network, EvidenceNetwork):
        parts = {"forward": inputs[0], "pool": network.evidence_of(inputs[0])}
        if streaming:
            parts |= {"towers": inputs[0], "head": network.towers(inputs[0])}
        else:
            parts["evidence_of"] = inputs[0]
        module = torch.jit.trace_module(network, parts)
        for name in ("hop_size", "receptive_size", "head_size", "pool_size"):
            description[name] = int(getattr(network, name))
    else:
        module = torch.jit.trace(network, tuple(inputs))
    module.save(str(folder / "model.pt"))
    description["sha256"] = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    (folder / "model.yaml").write_text(yaml.safe_dump(description))
    return folder


def export_by_command(run: Path, output: Path, *more: str) -> Path:
    """Export in a process of its own: TorchScript numbers the types of a process."""
    arguments = ["--experiment", EXPERIMENT, "--run_dir", run, "--output", output, *more]
    command = [sys.executable, "-m", "export", "build", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output


def read(repository: Path) -> dict[str, Any]:
    return yaml.safe_load((repository / "repository.yaml").read_text())


def noise(*shape: int) -> np.ndarray:
    values = np.random.default_rng(9).standard_normal(shape) * 1e-21
    return values.astype(np.float32)


@pytest.fixture(scope="session")
def tower() -> TwoTower:
    torch.manual_seed(1)
    return TwoTower(2, RATE, 1.5)


@pytest.fixture(scope="session")
def run(tower: TwoTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("tower") / "run", tower)


@pytest.fixture(scope="session", params=["onnx", "torchscript"])
def repository(
    request: pytest.FixtureRequest, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp(request.param) / "repository"
    return export_by_command(run, output, "--platform", request.param)


def test_each_model_is_signed_and_listed(repository: Path, run: Path) -> None:
    content = read(repository)
    whole = {"aframe", "aframe-stream", "aframe-snapshots", "snapshotter"}
    parts = {"whiten", "whiten-stream", "whiten-snapshots", "network", "network-stream"}
    assert set(content["models"]) == whole | parts | {"towers", "head"}
    digest = hashlib.sha256((run / "model.pt").read_bytes()).hexdigest()
    for name, entry in content["models"].items():
        assert (digest in (repository / name / "config.pbtxt").read_text()) == (
            name != "snapshotter"
        )
        if entry["platform"] != "ensemble":
            file = repository / entry["file"]
            assert hashlib.sha256(file.read_bytes()).hexdigest() == entry["sha256"]
    assert [path.name for path in repository.glob(".*")] == []


def test_a_window_of_strain_gives_the_network_s_score(repository: Path, tower: TwoTower) -> None:
    """Independently of the check that export makes: other numbers, another batch."""
    strain = noise(3, 2, RECIPE.psd_size + RECIPE.filter_size + tower.kernel_size)
    with torch.no_grad():
        expected = tower(WhitenBlock(RECIPE)(torch.from_numpy(strain))).numpy()
    with InferenceClient(repository, "aframe") as client:
        np.testing.assert_allclose(client.infer(strain).result()[:, 0], expected, atol=1e-4)


def test_towers_and_head_take_any_length(repository: Path, tower: TwoTower) -> None:
    with (
        InferenceClient(repository, "towers") as towers,
        InferenceClient(repository, "head") as head,
    ):
        for size in (300, 768, 5001):
            stretch = torch.randn(2, 2, size)
            features = towers.infer(stretch.numpy()).result()
            with torch.no_grad():
                expected = tower.towers(stretch)
                np.testing.assert_allclose(features, expected.numpy(), atol=1e-4)
                evidence = head.infer(features).result()
                np.testing.assert_allclose(evidence, tower.head(expected).numpy(), atol=1e-4)


def updates(strain: np.ndarray, stream: dict[str, int]) -> list[np.ndarray]:
    """A stretch in the updates of a stream, zeros in front as it asks."""
    size = stream["update_size"]
    padded = np.pad(strain, ((0, 0), (stream["lead_in"], 0)))
    count = padded.shape[-1] // size
    return [padded[None, :, i * size : (i + 1) * size] for i in range(count)]


def search_scores(strain: np.ndarray, tower: TwoTower) -> np.ndarray:
    """Scores of a search of the stretch."""
    whitened = whiten(torch.from_numpy(strain), RECIPE).values
    with torch.no_grad():
        evidence = tower.head(tower.towers(whitened[None]))
        return tower.pool(evidence, SCORE_HOP // HOP)[0].numpy()


def check_stream(address: Path | str, repository: Path, tower: TwoTower) -> None:
    """The exact stream gives the scores of a search, each in its place."""
    strain = noise(2, 40 * RATE)
    stream = read(repository)["streams"]["aframe-stream"]
    with InferenceClient(address, "aframe-stream") as client:
        warm_up = client.warm_up
        scores = np.concatenate([answer[0] for answer in client.stream(updates(strain, stream))])
    expected = search_scores(strain, tower)
    # the search's first kernel begins with the first whitened sample
    start = RECIPE.lead_size + stream["lead_in"] - stream["first_kernel"]
    assert start % stream["score_hop"] == 0
    first = start // stream["score_hop"]
    found = scores[first:]
    assert len(found) > 300
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-4)
    # and what is called warm-up is neither too short nor longer than one update more than it is
    per_update = stream["update_size"] // stream["score_hop"]
    assert warm_up * per_update >= first
    assert (warm_up - 2) * per_update <= first


def test_a_stream_gives_the_scores_of_a_search(repository: Path, tower: TwoTower) -> None:
    check_stream(repository, repository, tower)


@pytest.mark.triton
def test_a_server_streams_the_same(repository: Path, tower: TwoTower) -> None:
    if find_server() is None:
        pytest.skip("no Triton server: make the environment of projects/triton")
    with serve(repository) as server:
        server.wait()
        check_stream(server.address, repository, tower)


def test_snapshots_are_whitened_and_scored(repository: Path, tower: TwoTower) -> None:
    """Scores of windows of strain, cut and whitened by hand."""
    strain = noise(2, 40 * RATE)
    stream = read(repository)["streams"]["aframe-snapshots"]
    with InferenceClient(repository, "aframe-snapshots") as client:
        warm_up = client.warm_up
        answers = list(client.stream(updates(strain, stream)))
    size, hop = stream["update_size"], stream["score_hop"]
    reach = tower.kernel_size + (size // hop - 1) * hop
    window = RECIPE.psd_size + RECIPE.filter_size + reach
    block = WhitenBlock(RECIPE)
    checked = 0
    for number, answer in enumerate(answers):
        begin = (number + 1) * size - window
        assert (begin < 0) == (number < warm_up)
        if begin < 0:
            continue
        whitened = block(torch.from_numpy(strain[None, :, begin : begin + window]))
        kernels = whitened[0].unfold(-1, tower.kernel_size, hop).movedim(1, 0)
        with torch.no_grad():
            np.testing.assert_allclose(answer[:, 0], tower(kernels).numpy(), atol=1e-4)
        # the first kernel begins half a filter after the window's PSD
        first = begin + RECIPE.psd_size + RECIPE.filter_size // 2
        assert first == stream["first_kernel"] + number * size
        checked += 1
    assert checked > 3


def test_snapshots_of_many_scores_are_one_batch(run: Path, tmp_path: Path) -> None:
    """More kernels in an update than a batch has otherwise."""
    content = yaml.safe_load(EXPERIMENT.read_text())
    content["search"]["scores_per_second"] = 64
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(yaml.safe_dump(content))
    build_repository(experiment, run, tmp_path / "repository", platform="torchscript")
    stream = read(tmp_path / "repository")["streams"]["aframe-snapshots"]
    with InferenceClient(tmp_path / "repository", "aframe-snapshots") as client:
        scores = list(client.stream(updates(noise(2, 3 * stream["update_size"]), stream)))
    assert scores[0].shape == (stream["update_size"] // stream["score_hop"], 1)
    assert scores[0].shape[0] > 128


def test_same_bytes_again(repository: Path, run: Path, tmp_path: Path) -> None:
    platform = read(repository)["models"]["whiten"]["platform"]
    again = export_by_command(run, tmp_path / "repository", "--platform", platform)

    def digests(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
        }

    assert digests(again) == digests(repository)


def test_networks_with_fourier_transforms_go_out_as_torchscript(tmp_path: Path) -> None:
    """ONNX's exporter has no operators for them; what is exported is the network all the same."""
    torch.manual_seed(3)
    network = build_network("FrequencyResNet", 2, RATE, 1.5, {"layers": [1, 1, 1, 1]})
    run = write_run(tmp_path / "run", network)
    build_repository(EXPERIMENT, run, tmp_path / "repository")
    models = read(tmp_path / "repository")["models"]
    assert "towers" not in models
    assert models["network"]["platform"] == "torchscript"
    assert models["whiten"]["platform"] == "onnx"
    kernel = torch.randn(5, 2, network.kernel_size)
    with torch.no_grad(), InferenceClient(tmp_path / "repository", "network") as client:
        found = client.infer(kernel.numpy()).result()[:, 0]
        np.testing.assert_allclose(found, network(kernel).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("platform", ["onnx", "torchscript"])
def test_a_network_without_towers_takes_any_length(platform: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = EarlyFusion(2, RATE, 1.5)
    run = write_run(tmp_path / "run", network)
    build_repository(EXPERIMENT, run, tmp_path / "repository", platform=platform)
    content = read(tmp_path / "repository")
    assert {"evidence", "network", "aframe", "aframe-snapshots"} < set(content["models"])
    assert not {"towers", "head", "aframe-stream"} & set(content["models"])
    assert content["network"]["head_size"] == network.head_size
    with InferenceClient(tmp_path / "repository", "evidence") as client:
        for batch, size in ((1, 300), (3, 768), (2, 5001)):
            stretch = torch.randn(batch, 2, size)
            with torch.no_grad():
                expected = network.evidence_of(stretch).numpy()
            found = client.infer(stretch.numpy()).result()
            np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.ptp(expected)))


@pytest.mark.parametrize(("name", "needed"), [("S4", True), ("ResNet", False)])
def test_transforms_are_recognised(name: str, needed: bool, tmp_path: Path) -> None:
    options = {"layers": [1, 1, 1, 1]} if name == "ResNet" else {}
    run = write_run(tmp_path / "run", build_network(name, 2, RATE, 1.5, options))
    assert needs_torch(torch.jit.load(str(run / "model.pt"))) == needed


def test_a_network_that_looks_at_filters_takes_them(tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = build_network("MultiModal", 2, RATE, 1.5, {})
    run = write_run(tmp_path / "run", network)
    build_repository(EXPERIMENT, run, tmp_path / "repository", platform="torchscript")
    content = read(tmp_path / "repository")
    # whitening alone would not tell it the filters
    assert set(content["models"]) == {"network"}
    assert content["streams"] == {}
    kernel, taps = torch.randn(3, 2, network.kernel_size), torch.randn(3, 2, RECIPE.filter_size)
    with torch.no_grad(), InferenceClient(tmp_path / "repository", "network") as client:
        assert list(client.inputs) == ["kernel", "taps"]
        found = client.infer({"kernel": kernel.numpy(), "taps": taps.numpy()}).result()[:, 0]
        np.testing.assert_allclose(found, network(kernel, taps).numpy(), rtol=1e-4, atol=1e-4)


def test_what_fails_leaves_the_old_repository(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "repository"
    build_repository(EXPERIMENT, run, output, platform="torchscript")
    before = (output / "repository.yaml").read_bytes()

    def fail(self: Layout) -> None:
        raise ValueError("something is wrong")

    monkeypatch.setattr(Layout, "add_streams", fail)
    with pytest.raises(ValueError, match="something is wrong"):
        build_repository(EXPERIMENT, run, output, platform="torchscript")
    assert (output / "repository.yaml").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_tensorrt_needs_its_package(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tensorrt"):
        build_repository(EXPERIMENT, run, tmp_path / "repository", platform="tensorrt")
    assert list(tmp_path.iterdir()) == []


def test_dead_network_is_refused(tmp_path: Path) -> None:
    network = TwoTower(2, RATE, 1.5)
    with torch.no_grad():
        network.project.weight.zero_()
    run = write_run(tmp_path / "run", network)
    with pytest.raises(ValueError, match=r"gives .* whatever it sees: training has failed"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_exchanged_network_is_refused(tower: TwoTower, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", tower)
    (run / "model.pt").write_bytes((run / "model.pt").read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"model.pt has sha256 .* train again"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")
    (run / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"model.pt: give the folder of a finished"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")


def test_other_settings_are_refused(tower: TwoTower, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", tower)
    description = yaml.safe_load((run / "model.yaml").read_text())
    description["settings"]["whitening"]["psd_length"] = 64.0
    (run / "model.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(ValueError, match=r"model.yaml was made with whitening.psd_length = 64"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")
