"""Rankings: known in noise, gentle with signals, hard on glitches, and the loudest are kept."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import Setup
from infer.found import ALL, Found
from infer.ranking import RANKINGS, Ranking, make_ranking, rank_pieces, register
from infer.ranking.consistency import Consistency, divided, measured
from infer.search import search
from ledger import EventSet, RecoveredInjections
from preprocessing import WhiteningRecipe, whiten
from runtime import Experiment, load_experiment
from test_infer_branches import digests, in_branches

RATE = 512
# a whitening filter that leaves all as it is
FLAT = np.eye(1, RATE)[0]


@pytest.fixture
def experiment(setup: Setup, tmp_path: Path) -> Experiment:
    return with_ranking(setup, tmp_path, "consistency")


def with_ranking(setup: Setup, folder: Path, name: str, **options: float) -> Experiment:
    content = yaml.safe_load(setup.experiment.read_text())
    content["search"] |= {"ranking": name, "ranking_options": options}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    return load_experiment(folder / "experiment.yaml")


def coloured(slope: float) -> np.ndarray:
    """A filter of which the response grows with frequency."""
    response = np.linspace(1, 1 + slope, RATE // 2 + 1)
    return np.roll(np.fft.irfft(response), RATE // 2) * 1e23


def strain_of(rng: np.random.Generator, count: int, ifos: int = 2) -> np.ndarray:
    return rng.standard_normal((count, ifos, 4 * RATE))


def chirp(time: np.ndarray, mass: np.ndarray | float) -> np.ndarray:
    """Newtonian inspiral to the time 0, its frequency cut at 200 Hz; unit root sum square."""
    left = np.maximum(-time, 1e-9)
    # f(t) = (5 / (256 t))^(3/8) (G Mc / c^3)^(-5/8) / pi
    heavy = np.asarray(mass, dtype=float)[..., None] * 4.925491e-6
    freq = (5 / (256 * left)) ** 0.375 * heavy**-0.625 / np.pi
    phase = -2 * (left / (5 * heavy)) ** 0.625
    wave = np.where((time < 0) & (freq < 200) & (freq > 20), freq ** (2 / 3) * np.cos(phase), 0)
    return wave / np.linalg.norm(wave, axis=-1, keepdims=True)


def sine_gaussian(time: np.ndarray, freq: float, quality: float) -> np.ndarray:
    phase = 2 * np.pi * freq * time
    wave = np.exp(-((phase / quality) ** 2) / 2) * np.sin(phase)
    return wave / np.linalg.norm(wave)


@pytest.mark.parametrize(("ifos", "slopes"), [(2, (0, 0)), (2, (0, 4)), (3, (0, 1, 4))])
def test_mean_and_variance_in_noise(
    setup: Setup, tmp_path: Path, ifos: int, slopes: tuple[float, ...]
) -> None:
    experiment = with_ranking(setup, tmp_path, "consistency")
    ranking = Consistency()
    tiles = ranking.tiles(experiment)
    taps = np.stack([coloured(slope) for slope in slopes])
    size = round(0.6 * RATE)
    rng = np.random.default_rng(1)
    parts = [
        ranking.chi_squared(rng.standard_normal((2000, ifos, size)), taps[None], tiles)
        for _ in range(20)
    ]
    found = np.concatenate(parts, axis=1)
    number = found.shape[1]
    degrees = tiles.number * (ifos - 1)
    variance = ranking.noise_variance(ranking.sensitivity(taps, tiles), tiles)
    assert abs(found[0].mean() - degrees) < 4 * np.sqrt(variance / number)
    fourth = np.mean((found[0] - degrees) ** 4)
    assert abs(found[0].var() - variance) < 4 * np.sqrt((fourth - variance**2) / number)
    assert found[1].mean() == pytest.approx(tiles.number, rel=0.02)


@pytest.mark.parametrize("length", [8, 32])
def test_mean_in_whitened_noise(setup: Setup, tmp_path: Path, length: float) -> None:
    """Of another seed and level, with a PSD of few segments or of many."""
    with_ranking(setup, tmp_path, "consistency")
    content = yaml.safe_load((tmp_path / "experiment.yaml").read_text())
    content["whitening"]["psd_length"] = length
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
    experiment = load_experiment(tmp_path / "experiment.yaml")
    ranking = Consistency()
    noise = torch.randn((2, 400 * RATE), generator=torch.Generator().manual_seed(1)) * 3e-23
    made = whiten(noise, WhiteningRecipe.from_settings(experiment.settings()))
    size = round(0.6 * RATE)
    count = made.values.shape[-1] // size
    strain = made.values[:, : count * size].reshape(2, count, size).swapaxes(0, 1).numpy()
    taps = made.taps[made.block_of(torch.arange(count) * size)].numpy()
    tiles = measured(ranking, json.dumps(experiment.settings()))
    left, _ = ranking.chi_squared(strain, taps, tiles)
    assert left.mean() / tiles.number == pytest.approx(1, abs=4 * left.std() / 18 / count**0.5)
    loud = tiles.mean / ranking.tiles(experiment).mean
    assert (loud > 1.005).all()
    assert (loud < 1.4).all()


def test_a_common_power_leaves_nothing() -> None:
    """Whatever its share of the tiles: what is left is as in noise, but for the signal's own."""
    rng = np.random.default_rng(2)
    weights = rng.uniform(0.2, 1, (2, 6))
    weights /= np.linalg.norm(weights, axis=0)
    common = rng.uniform(0, 50, (3, 6))
    excess = weights[:, None, :] * common
    left = np.square(excess).sum(axis=0) - np.square((weights[:, None, :] * excess).sum(axis=0))
    np.testing.assert_allclose(left, 0, atol=1e-9)


def test_sensitivity_is_that_of_the_filter(experiment: Experiment) -> None:
    ranking = Consistency()
    tiles = ranking.tiles(experiment)
    taps = np.stack([coloured(0), coloured(4)]).astype(np.float32)
    found = ranking.sensitivity(taps, tiles)
    middle = (tiles.edges[:-1] + tiles.edges[1:]) / 2 * RATE / tiles.segment_size
    expected = (1 + 4 * middle / (RATE / 2)) ** 2
    np.testing.assert_allclose(found[1] / found[0], expected, rtol=0.06)


def test_signals_are_told_from_glitches(experiment: Experiment) -> None:
    rng = np.random.default_rng(3)
    count, time = 400, np.arange(-2 * RATE, 2 * RATE) / RATE
    taps = np.broadcast_to(FLAT, (count, 2, RATE))
    centre = np.full(count, 2 * RATE)
    score = np.full(count, 8.0)
    loud = rng.uniform(8, 30, count)
    # the detectors' shares of a signal: amplitudes within a factor of two
    angle = rng.uniform(np.arctan(0.5), np.arctan(2), count)
    wave = chirp(time, rng.uniform(12, 35, count)) * loud[:, None]
    signals = strain_of(rng, count)
    signals[:, 0] += wave * np.cos(angle)[:, None]
    # a few samples later in the other detector: the light travel time
    signals[:, 1] += np.roll(wave, 4, axis=1) * np.sin(angle)[:, None]
    glitches = strain_of(rng, count)
    for i in range(count):
        freq, quality = np.exp(rng.uniform(np.log([40, 3]), np.log([180, 20])))
        glitches[i, i % 2] += loud[i] * sine_gaussian(time + 0.1, freq, quality)
    ranks = [rank_pieces(experiment, score, x, taps, centre) for x in (signals, glitches)]
    noise = rank_pieces(experiment, score, strain_of(rng, count), taps, centre)
    # a pair of one signal and one glitch of equal score is in the right order
    better = (ranks[0][:, None] > ranks[1]).mean() + 0.5 * (ranks[0][:, None] == ranks[1]).mean()
    assert better > 0.97
    lost = [float(np.median(score - rank)) for rank in ranks]
    assert lost[0] < 0.5
    assert lost[1] > 1.5
    assert np.median(score - noise) < 0.3


def test_rates_with_glitches(experiment: Experiment) -> None:
    """Glitches fall in the ranking, and at equal rates no fewer injections are found."""
    rng = np.random.default_rng(5)
    count, time = 3000, np.arange(-2 * RATE, 2 * RATE) / RATE

    def events(add: Callable[[int], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        strain = strain_of(rng, count) + np.stack([add(i) for i in range(count)])
        # like a network's: follows the power of both detectors about the time
        seen = strain[..., 3 * RATE // 2 : 2 * RATE + 50]
        power = np.square(np.abs(np.fft.rfft(seen)[..., 15:120])).mean(axis=(1, 2)) / 306
        score = 40 * (power - 1) + rng.normal(0, 0.3, count)
        taps = np.broadcast_to(FLAT, (count, 2, RATE))
        centre = np.full(count, 2 * RATE)
        return score, rank_pieces(experiment, score, strain, taps, centre)

    glitchy = rng.random(count) < 0.03

    def noise(i: int) -> np.ndarray:
        added = np.zeros((2, len(time)))
        if glitchy[i]:
            wave = sine_gaussian(time + 0.1, rng.uniform(40, 180), rng.uniform(3, 20))
            added[i % 2] = rng.uniform(6, 15) * wave
        return added

    def signal(i: int) -> np.ndarray:
        wave = rng.uniform(6, 20) * chirp(time, rng.uniform(12, 35))
        angle = rng.uniform(np.arctan(0.5), np.arctan(2))
        return np.stack([wave * np.cos(angle), np.roll(wave, 4) * np.sin(angle)])

    background, found = events(noise), events(signal)
    recall = []
    for before, after in zip(background, found, strict=True):
        # a false alarm in a hundred trials, which glitches make, and in ten, which noise makes
        at = np.sort(before)[[-count // 100, -count // 10]]
        recall.append((after[:, None] > at).mean(axis=0))
    assert (recall[1] > recall[0] - 2 * np.sqrt(0.25 / count)).all()
    assert recall[1][0] > recall[0][0] + 0.05
    ranks = [np.argsort(np.argsort(-values))[glitchy] for values in background]
    assert np.median(ranks[1]) > 1.2 * np.median(ranks[0])


def test_the_positive_map() -> None:
    score = np.array([-800.0, -40, -30, -3, 0, 0.5, 20, 900])
    for factor in (1.0, 1.2, 1.79):
        found = divided(score, np.full(len(score), factor))
        assert np.isfinite(found).all()
        assert (found <= score).all()
        middle = slice(2, 7)
        expected = np.log1p(np.exp(score[middle])) / factor
        np.testing.assert_allclose(np.log1p(np.exp(found[middle])), expected, rtol=1e-9)
        assert found[-1] == pytest.approx(900 / factor)
        assert (np.diff(found) > 0).all()
    np.testing.assert_array_equal(divided(score, np.ones(len(score))), score)


class Halved:
    """A ranking of scores and times alone, with many ties."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, score: np.ndarray, time: np.ndarray) -> np.ndarray:
        self.seen += len(score)
        return np.floor(score - 3 * (time[:, 0] % 1 > 0.5))


def test_the_loudest_by_the_ranking_are_kept() -> None:
    """Slide by slide, and in parts that are joined, what ranking all events at once keeps."""
    rng = np.random.default_rng(4)
    slides = [(rng.exponential(3, n), rng.uniform(0, 100, (n, 2))) for n in [300] * 20]
    number = 40

    def gather(some: list[tuple[np.ndarray, np.ndarray]], ranker: Halved, cut: bool) -> Found:
        found = Found(ranker=ranker)
        for i, (score, time) in enumerate(some):
            found.statistic.append(score)
            found.time.append(time)
            found.slide.append(np.full(len(score), i, dtype=np.int32))
            if cut and found.size > 2 * number:
                found.keep_loudest(number)
        found.keep_loudest(number)
        return found

    full, piecewise = Halved(), Halved()
    expected = gather(slides, full, cut=False)
    found = gather(slides, piecewise, cut=True)
    assert full.seen == 6000
    assert piecewise.seen < 3000
    for name in ("statistic", "time", "slide"):
        ours, theirs = (np.concatenate(getattr(f, name)) for f in (found, expected))
        np.testing.assert_array_equal(ours, theirs)
    assert found.threshold == expected.threshold > ALL
    score, time = (np.concatenate(column) for column in zip(*slides, strict=True))
    every = np.sort(Halved()(score, time))[::-1]
    kept = np.sort(np.concatenate(found.statistic))[::-1]
    assert len(kept) >= number
    np.testing.assert_array_equal(kept, every[: len(kept)])
    assert every[len(kept)] < found.threshold


@pytest.fixture
def registered() -> Iterator[Callable[[str, type[Ranking]], None]]:
    known = dict(RANKINGS)
    yield lambda name, ranking: register(name)(ranking)
    RANKINGS.clear()
    RANKINGS.update(known)


def test_a_ranking_must_not_raise_the_score(
    setup: Setup, tmp_path: Path, registered: Callable[[str, type[Ranking]], None]
) -> None:
    @dataclasses.dataclass(frozen=True)
    class Louder(Ranking):
        before: float = 0.25

        def statistic(
            self, score: np.ndarray, strain: np.ndarray, taps: np.ndarray, experiment: Experiment
        ) -> np.ndarray:
            return score + 1

    registered("louder", Louder)
    experiment = with_ranking(setup, tmp_path, "louder")
    strain, taps = np.zeros((1, 2, 600)), np.zeros((1, 2, RATE))
    with pytest.raises(ValueError, match=r"ranking louder gives 2\.0 to an event of score 1\.0"):
        rank_pieces(experiment, np.ones(1), strain, taps, np.array([300]))
    with pytest.raises(ValueError, match=r"ranking 'louder' of .* exists already"):
        registered("louder", Louder)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("loudness", {}, "no search.ranking 'loudness': there are consistency, score"),
        ("score", {"befor": 1}, "search.ranking_options has befor: ranking score has before"),
        ("consistency", {"num_bands": 2.5}, "num_bands is 2.5, expected a whole number"),
        ("consistency", {"tolerance": -1}, "a tolerance of 0 or more, found -1"),
    ],
)
def test_what_cannot_be_is_named(
    setup: Setup, tmp_path: Path, name: str, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_ranking(with_ranking(setup, tmp_path, name, **options))


def test_too_many_bands_and_too_short_strain(setup: Setup, tmp_path: Path) -> None:
    experiment = with_ranking(setup, tmp_path, "consistency", num_bands=90)
    with pytest.raises(ValueError, match="independent frequencies, fewer than num_bands 90"):
        make_ranking(experiment).tiles(experiment)
    experiment = with_ranking(setup, tmp_path, "consistency", before=3)
    with pytest.raises(ValueError, match=r"looks at 3\.1 s of strain, but a stretch is 2\.0 s"):
        rank_pieces(
            experiment, np.ones(1), np.zeros((1, 2, 2 * RATE)), np.zeros((1, 2, 4)), np.array([0])
        )


def test_a_ranked_search(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Background, zero lag and injections by one function; the same bytes in branches."""
    monkeypatch.setattr("infer.foreground.GROUP_SIZE", 2)
    monkeypatch.setattr("infer.recovery.GROUP_SIZE", 2)
    experiment = with_ranking(setup, tmp_path, "consistency")
    mine = dataclasses.replace(setup, experiment=tmp_path / "experiment.yaml")
    inputs = setup.inputs | {"experiment": mine.experiment}
    search(repository=setup.streaming, output=tmp_path / "ranked", **inputs)
    search(repository=setup.streaming, output=tmp_path / "plain", **setup.inputs)
    assert digests(in_branches(mine, "streaming", tmp_path / "cut", 2)) == digests(
        tmp_path / "ranked"
    )
    for name in ("background", "zero-lag"):
        ranked, plain = (
            EventSet.read(tmp_path / kind / f"{name}.hdf5") for kind in ("ranked", "plain")
        )
        assert ranked.livetime == plain.livetime
        scores = {(s, *t): x for s, t, x in _rows(plain)}
        for slide, time, statistic in _rows(ranked):
            assert statistic <= scores.get((slide, *time), np.inf)
    zero_lag = EventSet.read(tmp_path / "ranked/zero-lag.hdf5")
    plain = EventSet.read(tmp_path / "plain/zero-lag.hdf5")
    assert len(zero_lag.statistic) == len(plain.statistic)
    assert (zero_lag.statistic < plain.statistic).any()
    # the known event is alike in both detectors, and stays as loud as it was
    loudest = plain.statistic.argmax()
    assert zero_lag.statistic[loudest] == pytest.approx(plain.statistic[loudest], rel=0.02)
    found = RecoveredInjections.read(tmp_path / "ranked/foreground.hdf5")
    scores = RecoveredInjections.read(tmp_path / "plain/foreground.hdf5")
    assert (found.statistic <= scores.statistic).all()
    np.testing.assert_array_equal(found.time, scores.time)
    assert experiment.search.ranking == "consistency"


def _rows(events: EventSet) -> list[tuple[int, tuple[float, ...], float]]:
    return [
        (int(s), tuple(map(float, t)), float(x))
        for s, t, x in zip(events.slide, events.time, events.statistic, strict=True)
    ]
