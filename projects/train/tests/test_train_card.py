"""Keeping a network in half precision: small, whole, and the same network when it is back."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from runtime import load_experiment
from train import __main__ as command
from train.card import LARGEST, TOLERANCE, card, largest_difference, load, restore
from train.card_text import MEANINGS
from train.families import Supervised
from train.publish import filter_size, publish

MEASURES = {
    "valid_auroc": 0.75,
    "valid_recall_hour": 0.5,
    "valid_livetime_s": 41257.0,
    "valid_delay_s": 0.1,
}
TRAINING = {
    "monitor": "valid_auroc",
    "epoch": 2,
    "steps": 300,
    "batch_size": 64,
    "precision": "bf16-mixed",
    "compile": False,
    "num_processes": 1,
    "seed_offset": 1,
}
CONFIG = {
    "model": {"class_path": "train.families.Supervised", "init_args": {"learning_rate": 0.01}},
    "data": {"batch_size": 64, "glitches": "/home/somebody/glitches.csv"},
    "trainer": {"max_epochs": 3, "accelerator": "cpu", "max_time": "00:01:00:00"},
}


def run_of(inputs: dict[str, Path], folder: Path, **model: Any) -> Path:
    """A finished training of a network with statistics and weights as after some steps."""
    module = Supervised(inputs["experiment"], **model)
    torch.manual_seed(3)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    filters = torch.randn(16, 2, filter_size(module.settings))
    for _ in range(5):
        optimizer.zero_grad()
        module.score(torch.randn(16, 2, 768), filters).square().mean().backward()
        optimizer.step()
    publish(module.eval(), folder, MEASURES, {"strain": "abcd1234"}, TRAINING)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


LAYERS = {"layers": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    ("architecture", "options"),
    [("TwoTower", {"dilations": [1], "hidden": 8}), ("ResNet", LAYERS), ("MultiModal", LAYERS)],
)
def test_a_kept_network_scores_as_the_trained_one(
    inputs: dict[str, Path], tmp_path: Path, architecture: str, options: dict[str, Any]
) -> None:
    run = run_of(inputs, tmp_path / "run", architecture=architecture, options=options)
    card(run, tmp_path / "models/first")
    kept = load(tmp_path / "models/first")
    description = yaml.safe_load((tmp_path / "models/first/model.yaml").read_text())
    trained = torch.jit.load(str(run / "model.pt"))
    found = largest_difference(trained, kept, description)
    assert 0 < found <= TOLERANCE
    assert found == pytest.approx(description["weights"]["largest_difference"])
    # kernels that the check has not seen
    kernels = torch.randn(8, 2, 768, generator=torch.Generator().manual_seed(9))
    given = [kernels] + ([torch.ones(8, 2, 512)] if description["needs_taps"] else [])
    with torch.no_grad():
        torch.testing.assert_close(kept(*given), trained(*given), rtol=0, atol=TOLERANCE)
    # numbers of two bytes, and little beside them
    size = (tmp_path / "models/first/weights.pt").stat().st_size
    assert size < min(LARGEST, 2.2 * description["num_parameters"] + 60_000)


def test_a_kept_network_becomes_a_training_again(inputs: dict[str, Path], tmp_path: Path) -> None:
    """By the command line; what comes back is kept again to the same bytes."""
    run = run_of(inputs, tmp_path / "run")
    kept, back, again = (tmp_path / name for name in ("models/a", "back", "models/b"))
    for arguments in (
        ["card", f"--run_dir={run}", f"--output={kept}"],
        ["restore", f"--model={kept}", f"--run_dir={back}"],
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["train", *arguments])
            with pytest.raises(SystemExit) as ended:
                command.main()
        assert ended.value.code == 0
    first, second = (yaml.safe_load((f / "model.yaml").read_text()) for f in (run, back))
    assert first.pop("sha256") != second.pop("sha256")
    assert first == second
    kernels = torch.randn(4, 2, 768)
    module = torch.jit.load(str(back / "model.pt"))
    torch.testing.assert_close(module(kernels), load(kept)(kernels))
    (back / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    card(back, again)
    assert (again / "weights.pt").read_bytes() == (kept / "weights.pt").read_bytes()


def test_the_card_says_what_and_how_well(inputs: dict[str, Path], tmp_path: Path) -> None:
    run = run_of(inputs, tmp_path / "run")
    resources = {"device": "NVIDIA H200", "duration_s": 4000.0, "busy_share": 0.913}
    (run / "resources.yaml").write_text(yaml.safe_dump(resources))
    card(run, tmp_path / "models/first")
    text = (tmp_path / "models/first/README.md").read_text()
    experiment = load_experiment(inputs["experiment"])
    for part in (
        "# first", experiment.digest(), f"| seed | {experiment.seed}, and 1 for this",
        "300 of 64 kernels: 19,200 in all", "bf16-mixed", "NVIDIA H200", "1 h 6 min 40 s",
        "91% of the time", "strain abcd1234", "valid_auroc, epoch 2", "simulated, 0.139 h",
        "max_time: 00:01:00:00", "learning_rate: 0.01", "## Limits",
    ):  # fmt: skip
        assert part in text, part
    assert "glitches: glitches.csv" in text
    for name, value in MEASURES.items():
        assert f"| {MEANINGS[name]} | {value:.4g} |" in text
    (run / "resources.yaml").unlink()
    card(run, tmp_path / "models/first")
    text = (tmp_path / "models/first/README.md").read_text()
    assert "| device | not recorded |" in text
    assert "| duration | not recorded |" in text


def test_what_half_precision_cannot_hold_is_refused(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(inputs, tmp_path / "run")
    output = tmp_path / "models/first"
    with pytest.raises(FileNotFoundError, match=r"has no model.pt: --run_dir is the folder of a"):
        card(tmp_path, output)
    monkeypatch.setattr("train.card.TOLERANCE", 1e-9)
    with pytest.raises(ValueError, match=r"changes scores of .* expected at most 1e-09"):
        card(run, output)
    monkeypatch.setattr("train.card.LARGEST", 1000)
    with pytest.raises(ValueError, match=r"are \d+ bytes in half precision, expected at most 100"):
        card(run, output)
    module = Supervised(inputs["experiment"]).eval()
    with torch.no_grad():
        module.network.bias[3] = 1e6
    publish(module, run, MEASURES, {}, TRAINING)
    with pytest.raises(ValueError, match=r"bias holds numbers beyond 65504"):
        card(run, output)
    assert not output.exists()


def test_weights_of_another_network_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    card(run_of(inputs, tmp_path / "run"), tmp_path / "kept")
    path = tmp_path / "kept/weights.pt"
    path.write_bytes(path.read_bytes()[:-1] + b"0")
    with pytest.raises(ValueError, match=re.escape(f"{path} has sha256")):
        load(tmp_path / "kept")
    with pytest.raises(FileNotFoundError, match=r"has no weights.pt: `train card` writes such"):
        restore(tmp_path / "run", tmp_path / "back")
