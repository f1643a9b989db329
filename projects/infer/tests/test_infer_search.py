"""The search of simulated strain by a small network, checked against doing it the long way."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from architectures import ResNet, TwoTower
from hermes.aeriel.serve import find_server
from hermes.quiver import ModelRepository, Platform
from infer.repository import Repository
from infer.scorers import StreamingScorer, WindowedScorer
from infer.search import search
from ledger import EventSet, InjectionSet, RecoveredInjections, StrainIndex, StrainSegment
from preprocessing import WhitenedStretch, WhiteningRecipe, filter_signals, whiten
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


def whitened(values: np.ndarray, experiment: object, taps: torch.Tensor | None = None):
    """Values as a whitened stretch, with filters that mean nothing unless they are given."""
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    blocks = -(-values.shape[-1] // recipe.update_size)
    none = torch.zeros(blocks, len(values), recipe.filter_size)
    return WhitenedStretch(torch.from_numpy(values), none if taps is None else taps, none, recipe)


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


@pytest.mark.parametrize("shift", [0, 7, 500, 1999])
def test_sliding_frames_is_sliding_data(setup: Setup, shift: int) -> None:
    """Evidence of a slide is that of data slid by hand, window by window, over the row's end."""
    experiment = load_experiment(setup.experiment)
    rng = np.random.default_rng(3)
    stretches = [rng.standard_normal((2, n)).astype(np.float32) for n in (9000, 6001)]
    scorer = StreamingScorer(Repository(setup.streaming, experiment), 16, 4.0, 100)
    frames = [scorer.add(whitened(s, experiment)) for s in stretches]
    evidence = scorer.evidence((0, shift))
    size = sum(frames)
    hop, receptive = setup.network.hop_size, setup.network.receptive_size
    checked = 0
    for frame in rng.choice(size - 2, 60, replace=False):
        partner = (frame + shift) % size
        views = []
        for ifo, place in enumerate((frame, partner)):
            owner = int(place >= frames[0])
            begin = (place - owner * frames[0]) * hop
            view = stretches[owner][ifo, begin : begin + receptive]
            views.append(view)
        if any(len(v) < receptive for v in views):
            continue
        with torch.no_grad():
            kernel = torch.from_numpy(np.stack(views))[None]
            expected = setup.network.head(setup.network.towers(kernel))[0, 0].item()
        assert evidence[frame] == pytest.approx(expected, abs=1e-4)
        checked += 1
    assert checked > 40


def test_windowed_network_sees_slid_windows(setup: Setup) -> None:
    experiment = load_experiment(setup.experiment)
    rng = np.random.default_rng(4)
    stretches = [rng.standard_normal((2, n)).astype(np.float32) for n in (3000, 2500)]
    scorer = WindowedScorer(Repository(setup.windowed, experiment), 16, batch=7)
    counts = [scorer.add(whitened(s, experiment)) for s in stretches]
    windows = np.concatenate(
        [
            np.stack([s[:, i * 32 : i * 32 + 768] for i in range(n)])
            for s, n in zip(stretches, counts, strict=True)
        ]
    )
    for shift in (0, 5, 60):
        kernels = np.stack((windows[:, 0], np.roll(windows[:, 1], -shift, axis=0)), axis=1)
        with torch.no_grad():
            expected = setup.resnet(torch.from_numpy(kernels)).numpy()
        np.testing.assert_allclose(scorer.evidence((0, shift)), expected, atol=1e-4)


def test_a_network_that_looks_at_filters_gets_those_of_its_window(
    setup: Setup, tmp_path: Path
) -> None:
    """Each detector's own, of the middle of its window, also where a slide mixes blocks."""
    experiment = load_experiment(setup.experiment)
    folder = write_repository(tmp_path / "repository", Filtered(), experiment)
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    generator = torch.Generator().manual_seed(5)
    values = [torch.randn(2, n, generator=generator) for n in (9000, 5000)]
    taps = [
        torch.randn(-(-v.shape[-1] // recipe.update_size), 2, RATE, generator=generator)
        for v in values
    ]
    scorer = WindowedScorer(Repository(folder, experiment), 16, batch=7)
    windows, filters = [], []
    for v, t in zip(values, taps, strict=True):
        count = scorer.add(whitened(v.numpy(), experiment, t))
        for i in range(count):
            windows.append(v[:, i * 32 : i * 32 + 768])
            filters.append(t[(i * 32 + 384) // recipe.update_size])
    windows, filters = torch.stack(windows), torch.stack(filters)
    for shift in (0, 5, 170):
        kernels = torch.stack((windows[:, 0], windows[:, 1].roll(-shift, 0)), 1)
        theirs = torch.stack((filters[:, 0], filters[:, 1].roll(-shift, 0)), 1)
        expected = Filtered()(kernels, theirs).numpy()
        np.testing.assert_allclose(scorer.evidence((0, shift)), expected, rtol=1e-4, atol=1e-3)
    pieces = values[0][None, :, :2000]
    evidence = scorer.evidence_of(pieces.numpy(), taps[0][:1].numpy())
    expected = [Filtered()(pieces[..., i : i + 768], taps[0][:1]) for i in (0, 32, 64)]
    np.testing.assert_allclose(evidence[0, :3], torch.cat(expected), rtol=1e-4, atol=1e-3)


@pytest.mark.triton
@pytest.mark.parametrize("kind", ["streaming", "windowed"])
def test_a_server_finds_the_same_events(setup: Setup, tmp_path: Path, kind: str) -> None:
    if find_server() is None:
        pytest.skip("no Triton server: make the environment of projects/triton")
    for transport in ("inprocess", "triton"):
        search(
            repository=getattr(setup, kind),
            output=tmp_path / transport,
            transport=transport,
            **setup.inputs,
        )
    for name in ("background.hdf5", "zero-lag.hdf5"):
        here, there = (EventSet.read(tmp_path / t / name) for t in ("inprocess", "triton"))
        np.testing.assert_allclose(there.statistic, here.statistic, atol=1e-4)
        np.testing.assert_allclose(there.time, here.time, atol=1e-6)
        np.testing.assert_array_equal(there.slide_livetime, here.slide_livetime)
    here, there = (
        RecoveredInjections.read(tmp_path / t / "foreground.hdf5") for t in ("inprocess", "triton")
    )
    np.testing.assert_allclose(there.statistic, here.statistic, atol=1e-4)


def test_a_server_is_named_only_where_it_is_used(setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--server localhost:1 has no effect"):
        search(
            repository=setup.streaming,
            output=tmp_path / "events",
            server="localhost:1",
            **setup.inputs,
        )


@pytest.mark.parametrize("kind", ["streaming", "windowed"])
def test_search_accounts_for_every_second(setup: Setup, tmp_path: Path, kind: str) -> None:
    output = tmp_path / "events"
    search(repository=getattr(setup, kind), output=output, **setup.inputs)
    background = EventSet.read(output / "background.hdf5")
    zero_lag = EventSet.read(output / "zero-lag.hdf5")
    foreground = RecoveredInjections.read(output / "foreground.hdf5")
    experiment = load_experiment(setup.experiment)
    # what a score looks at, and so what each stretch loses: kernel plus integration, to a score
    white = [n - 9 for _, n in FILES.values()]
    expected = sum(w - 1.5 - 0.5 for w in white)
    assert zero_lag.livetime == pytest.approx(expected, abs=3 * 2 / 16)
    assert len(background.slide_livetime) == len(background.slide_shift)
    # scores that look at the known event's 4 s are gone from every slide, from either detector
    assert background.slide_livetime.max() <= zero_lag.livetime - 4
    assert background.livetime >= 600 or len(background.slide_livetime) >= 5
    shifts = background.slide_shift[:, 1] - background.slide_shift[:, 0]
    assert (np.diff(np.sort(shifts)) >= experiment.search.slide_step).all()
    assert shifts.min() >= experiment.search.slide_step
    # no background event touches the known window in either detector
    inside = (background.time > 1028) & (background.time < 1032)
    assert not inside.any()
    # no two events of a slide lie closer than the cluster length
    for slide in np.unique(background.slide):
        times = background.time[background.slide == slide, 0]
        assert len(times) > 0
    assert foreground.rejected_snr.shape == (7,)
    if kind == "streaming":
        # the known event is by far the loudest of the zero lag, and in its place
        loudest = zero_lag.statistic.argmax()
        assert zero_lag.time[loudest] == pytest.approx(1030.0, abs=0.5)
        assert foreground.statistic.argmax() == 3
        assert zero_lag.detail[0] == loudest
        peak = np.abs(zero_lag.detail_whitened[0]).argmax(axis=1) / RATE
        assert np.abs(peak - 2 - (1030 - zero_lag.time[loudest])).max() < 0.1


def test_same_bytes_again(setup: Setup, tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        search(repository=setup.streaming, output=tmp_path / name, **setup.inputs)
        files = sorted((tmp_path / name).iterdir())
        assert len(files) == 3
        digests.append([hashlib.sha256(f.read_bytes()).hexdigest() for f in files])
    assert digests[0] == digests[1]


def test_injection_is_scored_as_if_it_were_in_the_data(setup: Setup, tmp_path: Path) -> None:
    """Adding the whitened signal gives what searching strain with the signal gives."""
    search(repository=setup.streaming, output=tmp_path / "events", **setup.inputs)
    found = RecoveredInjections.read(tmp_path / "events/foreground.hdf5")
    injections = InjectionSet.read(setup.folder / "injections.hdf5")
    experiment = load_experiment(setup.experiment)
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    for i, name in ((1, "a"), (2, "b")):
        segment = StrainSegment.read(setup.folder / f"{name}.hdf5")
        strain = np.stack(list(segment.strain.values())).astype(np.float64)
        first = round((injections.time[i] - 3 - segment.gps_start) * RATE)
        strain[:, first : first + 4 * RATE] += injections.response[i]
        stretch = whiten(torch.from_numpy(strain).float(), recipe)
        with torch.no_grad():
            network = setup.network
            evidence = network.head(network.towers(stretch.values[None]))
            scores = network.pool(evidence, 4)[0]
        mean = scores.unfold(-1, 8, 1).mean(-1)
        times = segment.gps_start + recipe.lead + np.arange(len(mean)) / 16
        near = np.abs(times + 1 - injections.time[i]) < 1.1
        # the PSD just after the signal has it in its noise: a difference of some per cent
        assert found.statistic[i] == pytest.approx(mean[near].max().item(), rel=0.05)
        assert found.time[i] == pytest.approx(injections.time[i], abs=0.5)


def test_a_shifted_injection_is_scored_in_slid_data(setup: Setup, tmp_path: Path) -> None:
    """Its score is that of an unshifted one in data that were slid beforehand."""
    experiment = load_experiment(setup.experiment)
    injections = InjectionSet.read(setup.folder / "injections.hdf5")
    shift = np.array([[0.0, 3.25]] * len(injections.time))
    scores = []
    for name, moved in (("slid", shift), ("still", shift * 0)):
        dataclasses.replace(injections, shift=moved).write(
            tmp_path / f"{name}.hdf5", make_provenance("test", experiment)
        )
        inputs = setup.inputs | {"injections": tmp_path / f"{name}.hdf5"}
        search(repository=setup.streaming, output=tmp_path / name, **inputs)
        scores.append(RecoveredInjections.read(tmp_path / name / "foreground.hdf5"))
    slid, still = scores
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    for i, name in ((1, "a"), (2, "b")):
        segment = StrainSegment.read(setup.folder / f"{name}.hdf5")
        stretch = whiten(torch.from_numpy(np.stack(list(segment.strain.values()))).float(), recipe)
        values = stretch.values.clone()
        steps = round(3.25 * RATE)
        values[1, :-steps] = stretch.values[1, steps:]
        begin = round((injections.time[i] - segment.gps_start - recipe.lead - 2) * RATE)
        piece = values[:, begin : begin + 4 * RATE].clone()
        blocks = [stretch.block_of(torch.tensor(begin + 2 * RATE + late)) for late in (0, steps)]
        taps = torch.stack([stretch.taps[block][j] for j, block in enumerate(blocks)])
        response = torch.from_numpy(injections.response[i]).float()
        signal = filter_signals(response[None], taps[None])[0]
        start = 2 * RATE - (3 * RATE - taps.shape[-1] // 2)
        low, high = max(0, start), min(4 * RATE, start + signal.shape[-1])
        piece[:, low:high] += signal[:, low - start : high - start]
        with torch.no_grad():
            network = setup.network
            evidence = network.head(network.towers(piece[None]))
            mean = network.pool(evidence, 4)[0].unfold(-1, 8, 1).mean(-1)
        assert slid.statistic[i] == pytest.approx(mean.max().item(), rel=1e-4)
        assert slid.statistic[i] != still.statistic[i]
        assert slid.time[i] == pytest.approx(injections.time[i], abs=0.5)


def test_excluded_windows_of_a_file(setup: Setup, tmp_path: Path) -> None:
    table = tmp_path / "windows.txt"
    table.write_text("2010 2025\n")
    search(repository=setup.streaming, output=tmp_path / "events", exclude=table, **setup.inputs)
    background = EventSet.read(tmp_path / "events/background.hdf5")
    assert not ((background.time > 2010) & (background.time < 2025)).any()
    table.write_text("not a table")
    with pytest.raises(ValueError, match=r"windows\.txt is no table"):
        search(repository=setup.streaming, output=tmp_path / "e", exclude=table, **setup.inputs)
    assert not (tmp_path / "e").exists()


def test_changed_model_is_refused(setup: Setup, tmp_path: Path) -> None:
    experiment = load_experiment(setup.experiment)
    folder = write_repository(tmp_path / "repository", setup.network, experiment)
    model = folder / "head/1/model.onnx"
    good = model.read_bytes()
    model.write_bytes(good + b" ")
    with pytest.raises(ValueError, match=r"head/1/model.onnx has sha256"):
        search(repository=folder, output=tmp_path / "events", **setup.inputs)
    model.write_bytes(good)
    config = folder / "head/config.pbtxt"
    config.write_text(config.read_text().replace("0" * 64, "1" * 64))
    with pytest.raises(ValueError, match=r"model head at .* is of network 1111.*, expected 0000"):
        search(repository=folder, output=tmp_path / "events", **setup.inputs)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("whitening", "psd_length", 16), (None, "highpass", 40)],
)
def test_other_settings_are_named(
    setup: Setup, tmp_path: Path, section: str | None, key: str, value: float
) -> None:
    content = yaml.safe_load(setup.experiment.read_text())
    (content[section] if section else content)[key] = value
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=rf"repository.yaml was made with .*{key} = .*other.yaml"):
        search(
            repository=setup.streaming,
            output=tmp_path / "events",
            **(setup.inputs | {"experiment": other}),
        )


def test_missing_repository_and_fold(setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model repository"):
        search(repository=tmp_path / "nothing", output=tmp_path / "events", **setup.inputs)
    with pytest.raises(ValueError, match="found fold 4"):
        search(repository=setup.streaming, output=tmp_path / "events", fold=4, **setup.inputs)


def test_too_short_strain_is_named(setup: Setup, tmp_path: Path) -> None:
    experiment = load_experiment(setup.experiment)
    provenance = make_provenance("test", experiment)
    strain = {ifo: np.ones(10 * RATE) * 1e-21 for ifo in ("H1", "L1")}
    StrainSegment(strain=strain, gps_start=1.0, sample_rate=RATE).write(
        tmp_path / "short.hdf5", provenance
    )
    StrainIndex(
        ifos=("H1", "L1"),
        sample_rate=RATE,
        path=["short.hdf5"],
        label=["short"],
        gps_start=np.array([1.0]),
        gps_stop=np.array([11.0]),
        role=np.array([[2]]),
        known_label=[],
        known_time=np.zeros(0),
        known_window=np.zeros((0, 2)),
    ).write(tmp_path / "index.hdf5", provenance)
    inputs = setup.inputs | {"strain": tmp_path / "index.hdf5"}
    with pytest.raises(ValueError, match=r"long enough for a score: 10.9.*s are needed"):
        search(repository=setup.streaming, output=tmp_path / "events", **inputs)
