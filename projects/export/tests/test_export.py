"""What is exported is the network, or nothing is."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from architectures import ResNet, StreamingNetwork, TwoTower
from architectures import build as build_network
from export import build
from export.build import build_repository
from ledger import ProductError
from preprocessing import WhitenBlock, WhiteningRecipe
from runtime import load_experiment

EXPERIMENT = Path(__file__).parents[3] / "configs/smoke/experiment.yaml"


def write_run(folder: Path, network: torch.nn.Module) -> Path:
    """A run as training leaves it."""
    torch.manual_seed(0)
    kernel = torch.randn(64, 2, network.kernel_size)
    kernel[32:] *= 3
    network(kernel)
    network.eval()
    if isinstance(network, TwoTower):  # scores that spread as those of a trained network do
        with torch.no_grad():
            network.evidence.weight *= 2 / network(kernel).std().clamp(min=1e-3)
    folder.mkdir()
    streaming = isinstance(network, StreamingNetwork)
    if streaming:
        features = network.towers(kernel)
        evidence = network.head(features)
        parts = {"forward": kernel, "towers": kernel, "head": features, "pool": evidence}
        module = torch.jit.trace_module(network, parts)
    else:
        module = torch.jit.trace(network, kernel)
    module.save(str(folder / "model.pt"))
    description = {
        "streaming": streaming,
        "kernel_size": network.kernel_size,
        "sha256": hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest(),
        "settings": load_experiment(EXPERIMENT).settings(),
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(description))
    return folder


@pytest.fixture(scope="session")
def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(1)
    return {
        "streaming": TwoTower(2, 512, 1.5),
        "windowed": ResNet(2, 512, 1.5, layers=[1, 1, 1, 1]),
    }


@pytest.mark.parametrize("kind", ["streaming", "windowed"])
def test_exported_models_are_the_network(
    networks: dict[str, torch.nn.Module], tmp_path: Path, kind: str
) -> None:
    network = networks[kind]
    run = write_run(tmp_path / "run", network)
    build_repository(EXPERIMENT, run, tmp_path / "repository")
    content = yaml.safe_load((tmp_path / "repository/repository.yaml").read_text())
    names = {"aframe", "aframe-torchscript"}
    names |= {"towers", "head"} if kind == "streaming" else {"network"}
    assert set(content["models"]) == names
    for name, entry in content["models"].items():
        file = tmp_path / "repository" / entry["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == entry["sha256"]
        config = (tmp_path / "repository" / name / "config.pbtxt").read_text()
        assert f'name: "{name}"' in config
    # independently of the check that export makes: raw strain, other seed, other batch
    recipe = WhiteningRecipe.from_settings(load_experiment(EXPERIMENT).settings())
    size = recipe.psd_size + recipe.filter_size + network.kernel_size
    strain = torch.randn(3, 2, size, generator=torch.Generator().manual_seed(9)) * 1e-21
    with torch.no_grad():
        expected = network(WhitenBlock(recipe)(strain)).numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / "repository/aframe/1/model.onnx"))
    np.testing.assert_allclose(
        session.run(None, {"strain": strain.numpy()})[0][:, 0], expected, atol=1e-4
    )
    script = torch.jit.load(str(tmp_path / "repository/aframe-torchscript/1/model.pt"))
    np.testing.assert_allclose(script(strain)[:, 0].detach().numpy(), expected, atol=1e-4)


def test_towers_take_any_length(networks: dict[str, torch.nn.Module], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", networks["streaming"])
    build_repository(EXPERIMENT, run, tmp_path / "repository")
    towers = onnxruntime.InferenceSession(str(tmp_path / "repository/towers/1/model.onnx"))
    head = onnxruntime.InferenceSession(str(tmp_path / "repository/head/1/model.onnx"))
    for size in (300, 768, 5001):
        stretch = torch.randn(2, 2, size)
        features = towers.run(None, {"strain": stretch.numpy()})[0]
        with torch.no_grad():
            expected = networks["streaming"].towers(stretch)
            np.testing.assert_allclose(features, expected.numpy(), atol=1e-4)
            evidence = head.run(None, {"features": features})[0]
            expected = networks["streaming"].head(expected)
            np.testing.assert_allclose(evidence, expected.numpy(), atol=1e-4)


def test_differing_export_is_refused(
    networks: dict[str, torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", networks["streaming"])
    build_repository(EXPERIMENT, run, tmp_path / "repository")
    before = (tmp_path / "repository/repository.yaml").read_bytes()
    honest = build.add_onnx

    def dishonest(folder: Path, name: str, *arguments: object) -> object:
        run_model = honest(folder, name, *arguments)
        return lambda x: run_model(x) + (0.01 if name == "head" else 0)

    monkeypatch.setattr(build, "add_onnx", dishonest)
    with pytest.raises(ValueError, match=r"exported model head differs .* not published"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")
    assert (tmp_path / "repository/repository.yaml").read_bytes() == before
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_dead_network_is_refused(tmp_path: Path) -> None:
    network = TwoTower(2, 512, 1.5)
    with torch.no_grad():
        network.project.weight.zero_()
    run = write_run(tmp_path / "run", network)
    with pytest.raises(ValueError, match=r"towers gives 0 whatever it sees: training has failed"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")


def test_exchanged_network_is_refused(
    networks: dict[str, torch.nn.Module], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", networks["streaming"])
    (run / "model.pt").write_bytes((run / "model.pt").read_bytes() + b" ")
    with pytest.raises(ValueError, match=r"model.pt has sha256 .* train again"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")
    (run / "model.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"model.pt: give the folder of a finished"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")


def test_other_settings_are_refused(networks: dict[str, torch.nn.Module], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", networks["streaming"])
    description = yaml.safe_load((run / "model.yaml").read_text())
    description = json.loads(json.dumps(description))
    description["settings"]["whitening"]["psd_length"] = 64.0
    (run / "model.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(ValueError, match=r"model.yaml was made with whitening.psd_length = 64"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")


def test_same_bytes_again(networks: dict[str, torch.nn.Module], tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", networks["streaming"])
    digests = []
    for name in ("one", "two"):
        # in a process of its own: TorchScript numbers the types of a process
        arguments = ["--experiment", EXPERIMENT, "--run_dir", run, "--output", tmp_path / name]
        subprocess.run(
            [sys.executable, "-m", "export", "build", *map(str, arguments)],
            check=True,
            capture_output=True,
        )
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.is_file())
        digests.append(
            {
                str(f.relative_to(tmp_path / name)): hashlib.sha256(f.read_bytes()).hexdigest()
                for f in files
            }
        )
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", ["FrequencyResNet", "S4"])
def test_networks_with_fourier_transforms_go_out_as_torchscript(name: str, tmp_path: Path) -> None:
    """ONNX's exporter has no operators for them; what is exported is the network all the same."""
    torch.manual_seed(3)
    options = {"layers": [1, 1, 1, 1]} if name == "FrequencyResNet" else {}
    network = build_network(name, 2, 512, 1.5, options)
    run = write_run(tmp_path / "run", network)
    build_repository(EXPERIMENT, run, tmp_path / "repository")
    content = yaml.safe_load((tmp_path / "repository/repository.yaml").read_text())
    assert set(content["models"]) == {"network", "aframe-torchscript"}
    file = tmp_path / "repository" / content["models"]["network"]["file"]
    assert file.suffix == ".pt"
    kernel = torch.randn(5, 2, network.kernel_size)
    with torch.no_grad():
        found = torch.jit.load(str(file))(kernel)[:, 0]
        torch.testing.assert_close(found, network(kernel), rtol=1e-5, atol=1e-5)


def test_a_network_that_takes_filters_is_refused(
    networks: dict[str, torch.nn.Module], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", networks["windowed"])
    description = yaml.safe_load((run / "model.yaml").read_text())
    description |= {"architecture": "MultiModal", "needs_taps": True}
    (run / "model.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(ProductError, match="MultiModal, which takes the whitening filters"):
        build_repository(EXPERIMENT, run, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()
