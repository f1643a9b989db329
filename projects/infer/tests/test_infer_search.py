"""The search of simulated strain by a small network, checked against doing it the long way."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import FILES, RATE, Filtered, Setup, write_repository
from hermes.aeriel.serve import find_server
from infer.repository import Repository
from infer.scorers import Scorer, StreamingScorer, WindowedScorer
from infer.scorers.row import in_blocks
from infer.search import search
from infer.stretches import PreparedStretch
from ledger import EventSet, InjectionSet, RecoveredInjections, StrainIndex, StrainSegment
from preprocessing import WhiteningRecipe, filter_signals, whiten
from runtime import load_experiment, make_provenance


def prepared(
    scorer: Scorer, values: np.ndarray, experiment: object, taps: torch.Tensor | None = None
) -> PreparedStretch:
    """Values as a prepared stretch, with filters that mean nothing unless they are given."""
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    blocks = -(-values.shape[-1] // recipe.update_size)
    none = np.zeros((blocks, len(values), recipe.filter_size), dtype=np.float32)
    features = list(in_blocks(scorer.features(values)))
    return PreparedStretch(
        label="made",
        gps_start=0.0,
        whitened=values,
        taps=none if taps is None else taps.numpy(),
        features=np.stack(features) if features else None,
        num_frames=scorer.num_frames(values.shape[-1]),
        update_size=recipe.update_size,
    )


@pytest.mark.parametrize("shift", [0, 7, 500, 1999])
def test_sliding_frames_is_sliding_data(setup: Setup, shift: int) -> None:
    """Evidence of a slide is that of data slid by hand, window by window, over the row's end."""
    experiment = load_experiment(setup.experiment)
    rng = np.random.default_rng(3)
    stretches = [rng.standard_normal((2, n)).astype(np.float32) for n in (9000, 6001)]
    scorer = StreamingScorer(Repository(setup.streaming, experiment), 16, 4.0, 100)
    frames = [scorer.add(prepared(scorer, s, experiment)) for s in stretches]
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
    counts = [scorer.add(prepared(scorer, s, experiment)) for s in stretches]
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
        count = scorer.add(prepared(scorer, v.numpy(), experiment, t))
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
        assert len(files) == 4
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
