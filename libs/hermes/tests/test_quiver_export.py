"""Versions: what is exported gives what the network gives, or nothing is exported."""

import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hermes import quiver as qv
from hermes.quiver import publishing
from hermes.quiver.comparison import relative_difference
from hermes.quiver.store import Store
from torch import Tensor


class Linear(torch.nn.Module):
    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(6, 3, generator=generator).to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Counter(torch.nn.Module):
    """Two states of different types: a running sum and a number of updates."""

    def forward(self, total: Tensor, x: Tensor, seen: Tensor) -> tuple[Tensor, ...]:
        total, seen = total + x.sum(-1, keepdim=True), seen + 1
        return total, total / seen, seen


class Spectrum(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).abs().log1p()


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def repo(tmp_path: Path) -> qv.ModelRepository:
    return qv.ModelRepository(tmp_path / "models")


def add(repo: qv.ModelRepository, name: str = "net", platform: str = "ONNX") -> qv.Model:
    return repo.add(name, qv.Platform[platform])


def run(model: qv.Model, version: int = -1, **feed: np.ndarray) -> list[np.ndarray]:
    """Outputs in order by onnxruntime or libtorch themselves."""
    if model.platform is qv.Platform.TORCHSCRIPT:
        found = torch.jit.load(model.file(version))(*map(torch.from_numpy, feed.values()))
        return [
            part.detach().numpy() for part in (found if isinstance(found, tuple) else (found,))
        ]
    return onnxruntime.InferenceSession(model.file(version)).run(None, feed)


@pytest.mark.parametrize("platform", ["ONNX", "TORCHSCRIPT"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_type_is_that_of_the_module(repo: qv.ModelRepository, platform: str, dtype: str) -> None:
    module = Linear(getattr(torch, dtype))
    model = add(repo, platform=platform)
    model.export_version(module, input_shapes={"x": [None, 6]}, output_names=["y"])
    read = qv.ModelRepository(repo.store.root).models["net"]
    read.check()
    assert read.inputs["x"].dtype == read.outputs["y"].dtype == dtype
    assert read.config.max_batch_size == 128
    assert list(read.config.input[0].dims) == [6]
    assert read.inputs["x"].config_name == ("x__0" if platform == "TORCHSCRIPT" else "x")
    x = np.random.default_rng(1).standard_normal((5, 6)).astype(dtype)
    expected = module(torch.from_numpy(x)).detach().numpy()
    (found,) = run(read, x=x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol={"float16": 1e-2}.get(dtype, 1e-5))


@pytest.mark.parametrize("platform", ["ONNX", "TORCHSCRIPT"])
def test_whole_numbers_and_truth_values(repo: qv.ModelRepository, platform: str) -> None:
    class Pick(torch.nn.Module):
        def forward(self, index: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
            return torch.where(mask, index * 2, index), mask.logical_not()

    model = add(repo, platform=platform)
    model.export_version(
        Pick(),
        input_shapes={"index": [None, 4], "mask": [None, 4]},
        output_names=["picked", "rest"],
        input_dtypes={"index": torch.int32, "mask": "bool"},
    )
    assert {name: str(t.dtype) for name, t in (model.inputs | model.outputs).items()} == {
        "index": "int32",
        "mask": "bool",
        "picked": "int32",
        "rest": "bool",
    }
    index, mask = np.arange(8, dtype=np.int32).reshape(2, 4), np.eye(2, 4) > 0
    picked, rest = run(model, index=index, mask=mask)
    np.testing.assert_array_equal(picked, np.where(mask, 2 * index, index))
    np.testing.assert_array_equal(rest, ~mask)


def test_examples_where_random_numbers_will_not_do(repo: qv.ModelRepository) -> None:
    module = torch.nn.Embedding(3, 2)
    arguments = {"input_shapes": {"i": [None, 4]}, "output_names": ["y"]}
    with pytest.raises(qv.RepositoryError, match=r"index out of range.*give examples"):
        add(repo).export_version(module, **arguments, input_dtypes={"i": "int64"})
    model = repo.models["net"]
    model.export_version(module, **arguments, examples={"i": np.array([[0, 1, 2, 1]])})
    assert model.inputs["i"].dtype == np.int64
    with pytest.raises(qv.RepositoryError, match=r"example of input i .*has shape \(4,\)"):
        model.export_version(module, examples={"i": np.array([0, 1, 2, 1])})


@pytest.mark.parametrize("platform", ["ONNX", "TORCHSCRIPT"])
@pytest.mark.parametrize("batched", [False, True])
def test_states(repo: qv.ModelRepository, platform: str, batched: bool) -> None:
    first = None if batched else 2
    model = add(repo, platform=platform)
    arguments = {
        "input_shapes": {"total": [first, 1], "x": [first, 5], "seen": [first, 1]},
        "output_names": ["next_total", "mean", "next_seen"],
        "states": {"total": "next_total", "seen": "next_seen"},
        "input_dtypes": {"seen": "int64"},
    }
    model.export_version(Counter(), **arguments)
    read = qv.ModelRepository(repo.store.root).models["net"]
    assert read.states == {"total": "next_total", "seen": "next_seen"}
    assert list(read.inputs) == ["x"]
    assert list(read.outputs) == ["mean"]
    assert read.stateful
    assert read.memory is None
    sequences = read.config.sequence_batching
    assert sequences.WhichOneof("strategy_choice") == "direct"
    assert sequences.max_sequence_idle_microseconds == 60_000_000
    dims = [1] if batched else [2, 1]
    for state in sequences.state:
        assert list(state.dims) == list(state.initial_state[0].dims) == dims
        assert state.initial_state[0].zero_data
    if platform == "TORCHSCRIPT":  # by position
        assert read.inputs["x"].config_name == "x__1"
        assert [s.input_name for s in sequences.state] == ["total__0", "seen__2"]
    # again, from the configuration alone, in the order of the arguments
    assert read.export_version(Counter()) == 2
    x = np.ones((2, 5), np.float32)
    feed = {"total": np.full((2, 1), 5, np.float32), "x": x, "seen": np.ones((2, 1), np.int64)}
    total, mean, seen = run(read, **feed)
    assert (total == 10).all()
    assert (mean == 5).all()
    assert (seen == 2).all()


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"total": "sum"}, "no output sum"),
        ({"all": "next_total"}, "no input all"),
        ({"x": "next_total"}, r"state x \(2, 5\) float32 becomes next_total \(2, 1\)"),
        ({"seen": "next_total"}, r"state seen \(2, 1\) int64 becomes"),
        ({"total": "next_total", "seen": "next_total"}, "seen"),
    ],
)
def test_states_that_cannot_be(
    repo: qv.ModelRepository, states: dict[str, str], message: str
) -> None:
    with pytest.raises(qv.RepositoryError, match=message):
        add(repo).export_version(
            Counter(),
            input_shapes={"total": [2, 1], "x": [2, 5], "seen": [2, 1]},
            output_names=["next_total", "mean", "next_seen"],
            states=states,
            input_dtypes={"seen": "int64"},
        )
    assert not Path(repo.store.root).exists() or not list(Path(repo.store.root).iterdir())


def test_shapes(repo: qv.ModelRepository) -> None:
    convolution = torch.nn.Conv1d(2, 3, 5, stride=2)
    model = add(repo, "long")
    model.export_version(convolution, input_shapes={"x": [None, 2, None]}, output_names=["y"])
    assert model.outputs["y"].shape == (None, 3, None)
    for length in (50, 333):
        x = np.random.default_rng(0).standard_normal((3, 2, length)).astype(np.float32)
        expected = convolution(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(run(model, x=x)[0], expected, atol=1e-5)
    model = add(repo, "fixed")
    model.export_version(convolution, input_shapes={"x": [1, 2, 20]}, output_names=["y"])
    assert (model.config.max_batch_size, model.outputs["y"].shape) == (0, (1, 3, 8))
    model = add(repo, "unbatched")
    shapes = {"x": [None, 2, 20]}
    model.export_version(convolution, input_shapes=shapes, output_names=["y"], max_batch=0)
    assert (model.config.max_batch_size, model.inputs["x"].shape) == (0, (None, 2, 20))

    class Total(torch.nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.sum(0), x[:, 0]

    model = add(repo, "reduces")  # no batch axis: its rows are not independent
    model.export_version(Total(), input_shapes={"x": [None, 7]}, output_names=["sum", "first"])
    assert model.config.max_batch_size == 0
    assert model.inputs["x"].shape == (None, 7)
    assert (model.outputs["sum"].shape, model.outputs["first"].shape) == ((7,), (None,))


def test_fourier_transforms_and_torchscript(repo: qv.ModelRepository) -> None:
    arguments = {"input_shapes": {"x": [None, 2, 32]}, "output_names": ["y"]}
    model = add(repo, "spectrum")
    model.export_version(Spectrum(), **arguments)
    x = np.random.default_rng(0).standard_normal((3, 2, 32)).astype(np.float32)
    expected = np.log1p(np.abs(np.fft.rfft(x)))
    np.testing.assert_allclose(run(model, x=x)[0], expected, atol=1e-5)
    scripted = torch.jit.script(Linear())
    model = add(repo, "scripted")
    model.export_version(scripted, input_shapes={"x": [None, 6]}, output_names=["y"])
    model = add(repo, "held")
    model.export_version(
        torch.nn.Sequential(scripted), input_shapes={"x": [None, 6]}, output_names=["y"]
    )
    both = torch.jit.script(Spectrum())
    with pytest.raises(qv.RepositoryError, match="no ONNX of this network, export TORCHSCRIPT"):
        add(repo, "both").export_version(both, **arguments)
    model = add(repo, "both_pt", "TORCHSCRIPT")
    model.export_version(both, **arguments)
    np.testing.assert_allclose(run(model, x=x)[0], expected, atol=1e-5)


def test_python(repo: qv.ModelRepository, tmp_path: Path) -> None:
    text = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
    arguments = {
        "input_shapes": {"x": [None, 3]},
        "output_shapes": {"y": [None, 1], "z": [None, 2]},
        "output_dtypes": {"z": "int64"},
    }
    model = add(repo, platform="PYTHON")
    model.export_version(text, **arguments)
    (tmp_path / "mine.py").write_text(text + "# longer\n")
    model.export_version(tmp_path / "mine.py")
    read = qv.ModelRepository(repo.store.root).models["net"]
    read.check()
    assert (read.config.backend, read.config.platform) == ("python", "")
    assert read.outputs["z"].dtype == np.int64
    assert [read.file(v).read_text() for v in (1, 2)] == [text, text + "# longer\n"]
    before = tree(Path(repo.store.root))
    for wrong, message in (
        ("def f(:\n", "model.py, line 1"),
        ("class Model:\n    pass\n", "no class TritonPythonModel"),
        ("class TritonPythonModel:\n    pass\n", "no method execute"),
        (str(tmp_path / "none.py"), r"cannot read .*none\.py"),
        (Linear(), "cannot export a Linear as PYTHON"),
    ):
        with pytest.raises(qv.RepositoryError, match=message):
            model.export_version(wrong)
    assert tree(Path(repo.store.root)) == before
    for missing, message in (
        ({"input_shapes": {"x": [3]}}, "output_shapes is missing"),
        ({**arguments, "states": {"x": "y"}}, "Triton keeps no states for models in Python"),
    ):
        with pytest.raises(qv.RepositoryError, match=message):
            add(repo, f"other{len(missing)}", "PYTHON").export_version(text, **missing)


def test_tensorrt_says_what_it_needs(repo: qv.ModelRepository) -> None:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        message = "needs the package tensorrt"
    else:
        if torch.cuda.is_available():
            pytest.skip("there are TensorRT and a GPU")
        message = "needs a GPU"
    with pytest.raises(qv.RepositoryError, match=message):
        add(repo, platform="TENSORRT").export_version(
            Linear(), input_shapes={"x": [None, 6]}, output_names=["y"]
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_shapes": None}, "input_shapes is missing"),
        ({"output_names": None}, "output_names is missing"),
        ({"output_names": ["y", "z"]}, "gives 1 outputs, but 2 are named: y, z"),
        ({"input_shapes": {"x": [None, 7]}}, r"the module fails on inputs \(2, 7\) float32"),
        ({"input_shapes": {"x": [None, 0]}}, "has 0; a length is above 0"),
        ({"input_shapes": {"x": []}}, "has no axis"),
        ({"input_dtypes": {"z": "int64"}}, "input_dtypes names z, but the inputs are x"),
        ({"input_dtypes": {"x": "float8"}}, "float8 is no type of numbers"),
        ({"input_dtypes": {"x": "complex64"}}, "no models of type complex64"),
        ({"version": 0}, "versions count from 1"),
        ({"module": lambda x: x}, "cannot export a function"),
        ({"tolerance": -1.0}, "differs from that of the source"),
    ],
)
def test_what_does_not_fit(repo: qv.ModelRepository, change: dict, message: str) -> None:
    class Shifted(Linear):  # rounding differs between torch and onnxruntime
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.erf(super().forward(x) / 3).exp()

    arguments = {"input_shapes": {"x": [None, 6]}, "output_names": ["y"], "module": Shifted()}
    with pytest.raises(qv.RepositoryError, match=message):
        add(repo).export_version(**{**arguments, **change})
    root = Path(repo.store.root)
    assert not root.exists() or not list(root.iterdir())


def test_versions_share_a_configuration(repo: qv.ModelRepository) -> None:
    model = add(repo)
    model.export_version(Linear(), 3, {"x": [None, 6]}, ["y"])
    assert model.versions == [3]
    assert model.export_version(Linear()) == 4
    assert model.export_version(Linear(), version=1) == 1
    before = tree(Path(repo.store.root))
    for arguments, message in (
        ({"version": 3}, "version 3 cannot be made, it exists"),
        ({"input_shapes": {"x": [None, 5]}}, r"input x \(any, 6\) float32 exists"),
        ({"input_shapes": {"z": [None, 6]}}, "input_shapes names z"),
        ({"output_names": ["z"]}, "output_names names z"),
        ({"input_dtypes": {"x": "float64"}}, "input_dtypes says float64"),
        ({"states": {"x": "y"}}, "states are {}"),
    ):
        with pytest.raises(qv.RepositoryError, match=message):
            model.export_version(Linear(), **arguments)
    with pytest.raises(qv.RepositoryError, match=r"gives \(2, 6\) float32 as output y \(any, 3\)"):
        model.export_version(torch.nn.Identity())
    assert tree(Path(repo.store.root)) == before


def test_a_length_taken_for_a_constant_is_found(repo: qv.ModelRepository) -> None:
    class Baked(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / len(x) if isinstance(len(x), int) else x

    with pytest.raises(qv.RepositoryError, match=r"differs from that of the source.*script"):
        add(repo, platform="TORCHSCRIPT").export_version(
            Baked(), input_shapes={"x": [None, 6]}, output_names=["y"]
        )


def test_training_mode_is_put_back(repo: qv.ModelRepository) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Dropout(), torch.nn.ReLU())
    module[2].eval()
    add(repo).export_version(module, input_shapes={"x": [None, 6]}, output_names=["y"])
    assert [part.training for part in module.modules()] == [True, True, True, False]


STEPS = {
    "run": "hermes.quiver.exporters.network.Network.run",
    "convert": "hermes.quiver.exporters.onnx.trace",
    "write": "hermes.quiver.exporters.onnx.write",
    "load": "hermes.quiver.exporters.onnx.load",
    "compare": "hermes.quiver.publishing.require_equal",
    "signature": "hermes.quiver.publishing.write_signature",
    "text": "hermes.quiver.model.format_config",
    "publish": "hermes.quiver.store.Store.publish",
    "config": "hermes.quiver.store.Store.write",
    "replace": "pathlib.Path.replace",
    "write_text": "pathlib.Path.write_text",
}


@pytest.mark.parametrize(
    ("step", "error"),
    [
        *((step, OSError("disk full")) for step in [*STEPS, "rename"]),
        *((step, KeyboardInterrupt()) for step in ("write", "publish", "config", "rename")),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_failure_leaves_the_repository_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    first: bool,
    error: BaseException,
) -> None:
    repo = qv.ModelRepository(tmp_path / "models")
    arguments = {"input_shapes": {"x": [None, 6]}, "output_names": ["y"]}
    add(repo, "other").export_version(Linear(), **arguments)
    model = add(repo)
    if not first:
        model.export_version(Linear(), **arguments)
        arguments = {"memory": 3}  # so that the configuration changes too
    before, config = tree(tmp_path), qv.format_config(model.config)
    calls = []

    def fail(*args: object, **kwargs: object) -> None:
        calls.append(args)
        raise error

    with monkeypatch.context() as patch:
        if step == "rename":
            # the last of them, once all is in place but for it
            rename: Callable = Path.rename

            def fail_once(self: Path, target: Path) -> Path:
                if "models" in Path(target).parts and not calls:
                    fail(self, target)
                return rename(self, target)

            patch.setattr(Path, "rename", fail_once)
        else:
            patch.setattr(STEPS[step], fail)
        if step in ("convert", "write", "load", "compare"):
            # another exporter may do; here it must not
            patch.setattr("hermes.quiver.exporters.onnx.capture", fail)
        try:
            model.export_version(Linear(), **arguments)
        except (OSError, qv.RepositoryError, KeyboardInterrupt):
            assert tree(tmp_path) == before
            assert qv.format_config(model.config) == config
        else:
            assert not calls
    assert (
        calls or (step in ("config", "replace") and first) or (step == "signature" and not first)
    )
    if calls:
        model.export_version(Linear(), **arguments)
    qv.ModelRepository(tmp_path / "models").check()


def test_readers_see_all_of_a_model_or_nothing(
    repo: qv.ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a version is made, no folder of the repository changes."""
    root = Path(repo.store.root)
    model = add(repo)
    seen = []
    compare = publishing.require_equal

    def look(*args: object) -> None:
        seen.append(tree(root))
        compare(*args)

    monkeypatch.setattr(publishing, "require_equal", look)
    model.export_version(Linear(), input_shapes={"x": [None, 6]}, output_names=["y"])
    assert seen
    assert all(not found for found in seen)
    seen.clear()
    before = tree(root)
    model.export_version(Linear())
    assert all(found == before for found in seen)
    assert [path.name for path in root.parent.iterdir()] == ["models"]


PROGRAM = """
    import sys
    import torch
    from hermes import quiver as qv
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 5), torch.nn.ReLU(), torch.nn.Flatten())
    repo = qv.ModelRepository(sys.argv[1])
    for platform in (qv.Platform.TORCHSCRIPT, qv.Platform.ONNX):
        model = repo.add(platform.name, platform)
        model.export_version(net, input_shapes={"x": [None, 2, 16]}, output_names=["y"])
"""


def test_the_same_bytes_each_time(repo: qv.ModelRepository, tmp_path: Path) -> None:
    for name, module, shape in (
        ("net", Linear(), [None, 6]),
        ("spectrum", Spectrum(), [None, 2, 32]),
    ):
        model = add(repo, name)
        for _ in range(2):
            model.export_version(module, input_shapes={"x": shape}, output_names=["y"])
        data = model.file(1).read_bytes()
        assert data == model.file(2).read_bytes()
        # nothing of this machine
        for word in (b"site-packages", b".py", str(Path.home()).encode(), __file__.encode()):
            assert word not in data
        onnx.checker.check_model(str(model.file(1)))
    program = tmp_path / "somewhere.py"
    program.write_text(textwrap.dedent(PROGRAM))
    for folder in ("one", "two"):
        subprocess.run([sys.executable, program, tmp_path / folder], check=True)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    data = (tmp_path / "one" / "TORCHSCRIPT" / "1" / "model.pt").read_bytes()
    assert b"somewhere" not in data
    assert b"site-packages" not in data


def test_comparison() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal(1000)
    assert relative_difference(a, a) == 0
    assert relative_difference(a + 1e-3, a) == pytest.approx(1e-3, rel=0.1)
    # small variations upon something large are compared as such, down to a hundredth
    assert relative_difference(100 + 1.1 * a, 100 + a) > 0.05
    assert relative_difference(np.array([1.0, np.nan]), np.array([1.0, np.nan])) == 0
    assert relative_difference(np.array([1.0, 2.0]), np.array([1.0, np.nan])) == np.inf
    assert relative_difference(np.array([1.0, np.nan]), np.array([1.0, 2.0])) != 0
    assert relative_difference(np.array([1, 2]), np.array([1, 3])) > 0


def test_concurrent_exports_do_not_overwrite(
    repo: qv.ModelRepository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process was quicker with the same number."""
    model = add(repo)
    model.export_version(Linear(), input_shapes={"x": [None, 6]}, output_names=["y"])
    publish = Store.publish
    root = Path(repo.store.root)

    def late(self: Store, *args: object) -> None:
        (root / "net" / "2").mkdir()
        (root / "net" / "2" / "model.onnx").write_text("another's")
        publish(self, *args)

    monkeypatch.setattr(Store, "publish", late)
    with caplog.at_level(logging.ERROR), pytest.raises(qv.RepositoryError, match="2 exists"):
        model.export_version(Linear())
    assert model.file(2).read_text() == "another's"
