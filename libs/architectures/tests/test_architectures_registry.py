"""Names, families and options; the example of the documentation."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import architectures
import pytest
import torch
from architectures import ARCHITECTURES, FAMILIES, WindowedNetwork, build, names, register
from architectures.registry import family_of, summaries

PAGE = Path(__file__).resolve().parents[3] / "docs" / "adding-an-architecture.md"


def test_families_hold_what_they_should() -> None:
    assert names("supervised") == [
        "EarlyFusion",
        "FrequencyResNet",
        "MultiModal",
        "QTransformResNet",
        "ResNet",
        "S4",
        "SpectrogramResNet",
        "TwoTower",
        "WaveNet",
    ]
    assert names("autoencoder") == ["Autoencoder"]
    assert names("regression") == ["Bilinear", "DeepClean", "Resonant"]
    assert set(names()) == {name for family in FAMILIES for name in names(family)}
    assert family_of("S4") == "supervised"


def test_help_has_a_sentence_for_each() -> None:
    for name, sentence in summaries().items():
        assert sentence.endswith("."), name
    assert list(summaries("regression")) == ["Bilinear", "DeepClean", "Resonant"]


def test_unknown_names_are_answered_with_those_of_the_family() -> None:
    listed = "ResNet, S4, SpectrogramResNet, TwoTower, WaveNet$"
    with pytest.raises(ValueError, match=rf"no supervised architecture 'ResNext': .*{listed}"):
        build("ResNext", 2, 1024, 1.5, family="supervised")
    expected = r"no regression architecture 'ResNet'.*are Bilinear, DeepClean, Resonant$"
    with pytest.raises(ValueError, match=expected):
        build("ResNet", 2, 1024, 1.5, family="regression")
    with pytest.raises(
        ValueError, match=r"no architecture 'ResNext'.*Autoencoder, Bilinear, Deep"
    ):
        build("ResNext", 2, 1024, 1.5)
    with pytest.raises(ValueError, match="no architecture 'ResNext'"):
        family_of("ResNext")


def test_unknown_options_are_answered_with_the_known() -> None:
    with pytest.raises(ValueError, match=r"no option depth.*layers, kernel_size, groups"):
        build("ResNet", 2, 1024, 1.5, {"depth": 3})


def test_the_experiment_has_the_say_on_its_settings() -> None:
    settings = {"ifos": ["H1", "L1"], "highpass": 32.0, "lowpass": None, "seed": 3}
    options = {"layers": [1, 1], "groups": 4}
    network = build("FrequencyResNet", 2, 1024, 1.5, options, experiment=settings)
    assert (network.spectrum.first, network.spectrum.last) == (48, 769)
    with pytest.raises(ValueError, match=r"highpass of FrequencyResNet is given twice.*40.*32"):
        build("FrequencyResNet", 2, 1024, 1.5, {"highpass": 40.0}, experiment=settings)
    # a network that does not take them is left alone
    build("ResNet", 2, 1024, 1.5, options, experiment=settings)


def test_names_and_families_are_checked_at_the_class() -> None:
    with pytest.raises(ValueError, match="no family 'unsupervised': there are supervised, auto"):
        register("unsupervised")
    with pytest.raises(ValueError, match=r"'ResNet' of .* exists already in architectures.resnet"):
        register("supervised")(type("ResNet", (WindowedNetwork,), {}))


def blocks_of_page() -> dict[str, str]:
    """Python blocks of the documentation by the path that their first line names."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return dict(blocks)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The network of the documentation, as one more file of the package."""
    source = blocks_of_page()["libs/architectures/architectures/loudest.py"]
    (tmp_path / "loudest.py").write_text(source)
    monkeypatch.setattr(architectures, "__path__", [*architectures.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    architectures.discover()
    yield
    ARCHITECTURES.pop("Loudest", None)
    sys.modules.pop("architectures.loudest", None)


@pytest.mark.usefixtures("example")
def test_a_network_is_one_file_and_its_name() -> None:
    assert "Loudest" in names("supervised")
    assert summaries()["Loudest"].startswith("Scores")
    network = build("Loudest", 2, 1024, 1.5, {"taps": 33})
    assert network(torch.randn(3, 2, 1536)).shape == (3,)


@pytest.mark.usefixtures("example")
def test_the_test_of_the_documentation_passes() -> None:
    source = blocks_of_page()["libs/architectures/tests/test_architectures_loudest.py"]
    found: dict[str, object] = {}
    exec(compile(source, "test_architectures_loudest.py", "exec"), found)
    tests = [value for name, value in found.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()
