"""Slides that share work: the same as without, to rounding or to the last bit."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import TwoTower, log_mean_exp
from conftest import RATE, Setup
from hypothesis import given, settings
from hypothesis import strategies as st
from infer.running import running
from infer.scorers import StreamingScorer
from infer.scorers.pooling import pool
from infer.scorers.row import in_blocks
from infer.search import search

IFOS = 3


@settings(deadline=None, derandomize=True)
@given(
    size=st.integers(1, 20),
    count=st.integers(0, 60),
    piece=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_running_windows_are_those_cut_one_by_one(
    size: int, count: int, piece: int, seed: int
) -> None:
    values = np.random.default_rng(seed).standard_normal((2, size + count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("infer.running.PIECE_SIZE", piece)
        sums, largest = (running(values, size, f) for f in (np.add, np.maximum))
        assert running(values[:, : size - 1], size, np.add).shape == (2, 0)
    windows = np.lib.stride_tricks.sliding_window_view(values, size, axis=-1)
    np.testing.assert_array_equal(largest, windows.max(axis=-1))
    np.testing.assert_allclose(sums, windows.sum(axis=-1), atol=1e-12)


def test_a_window_gives_the_same_bits_wherever_it_lies() -> None:
    values = np.random.default_rng(0).standard_normal(70_000).astype(np.float32)
    whole = running(values, 66, np.add)
    for first in (1, 4097, 32_767, 60_001):
        np.testing.assert_array_equal(running(values[first:], 66, np.add), whole[first:])


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (66, 1), (66, 16), (37, 4)])
def test_pooling_is_that_of_the_networks(size: int, stride: int) -> None:
    rng = np.random.default_rng(1)
    evidence = rng.normal(-5, 3, (2, 5000)).astype(np.float32)
    evidence[:, 2000:2100] = 90.0
    expected = log_mean_exp(torch.from_numpy(evidence), size, stride).numpy()
    np.testing.assert_allclose(pool(evidence, size, stride), expected, atol=2e-6)


class Late(Future):
    """An answer that is computed when it is asked for, as late as may be."""

    def __init__(self, head: torch.nn.Module, values: np.ndarray) -> None:
        super().__init__()
        self.head, self.values = head, values

    def result(self, timeout: float | None = None) -> np.ndarray:
        with torch.no_grad():
            return self.head(torch.tensor(self.values)).numpy()


class Part:
    """A model of a repository; notes what it was given."""

    in_flight = 3

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.given: list[np.ndarray] = []

    def submit(self, values: np.ndarray) -> Late:
        self.given.append(values)
        return Late(self.module, values)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return self.submit(values).result()


class Exported:
    """A repository of a network that is not exported."""

    def __init__(self, network: TwoTower) -> None:
        names = ("hop_size", "head_size", "pool_size", "receptive_size")
        self.network = {name: getattr(network, name) for name in names} | {"sample_rate": RATE}
        self.parts = {"towers": Part(network.towers), "head": Part(network.head)}

    def model(self, name: str) -> Part:
        return self.parts[name]


class Made:
    """A stretch of features alone."""

    def __init__(self, scorer: StreamingScorer, values: np.ndarray) -> None:
        self.features = np.stack(list(in_blocks(scorer.features(values))))
        self.num_frames = scorer.num_frames(values.shape[-1])

    def release(self) -> None:
        pass


@pytest.fixture(scope="module")
def network() -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(IFOS, RATE, 1.5, channels=(4, 4, 8), dilations=(1,), features=16).eval()


def test_slides_of_three_detectors_are_slid_data_recomputed(network: TwoTower) -> None:
    """Many slides at once, whose pieces do not divide the row; to 1e-6."""
    repository = Exported(network)
    scorer = StreamingScorer(repository, 64, 4.0, piece_frames=50, num_pieces=3)
    hop, frames = network.hop_size, 1300
    size = (frames - 1) * hop + scorer.view
    values = np.random.default_rng(2).standard_normal((IFOS, size)).astype(np.float32)
    assert scorer.add(Made(scorer, values)) == frames
    slides = [(0, shift, 2 * shift) for shift in (0, 3, 64, 100, 333, 400, 500, 555, 560, 600)]
    found = list(scorer.evidences(slides))
    assert len(found) == len(slides)
    for shifts, evidence in zip(slides, found, strict=True):
        assert evidence.shape == (frames - network.head_size + 1,)
        # as far as no detector comes around the end of the row
        last = frames - max(shifts)
        slid = np.stack(
            [
                values[i, shift * hop : (shift + last - 1) * hop + scorer.view]
                for i, shift in enumerate(shifts)
            ]
        )
        with torch.no_grad():
            expected = network.head(network.towers(torch.from_numpy(slid)[None]))[0].numpy()
        np.testing.assert_allclose(evidence[: len(expected)], expected, atol=1e-6)
        # beyond, the row goes on at its beginning
        joined = np.concatenate(
            [np.roll(scorer_row(scorer, i), -s, -1)[None] for i, s in enumerate(shifts)]
        )[None]
        with torch.no_grad():
            around = network.head(torch.from_numpy(joined))[0].numpy()
        np.testing.assert_allclose(evidence, around, atol=1e-6)


def scorer_row(scorer: StreamingScorer, ifo: int) -> np.ndarray:
    values = np.empty((scorer.row.shape[1], scorer.row.size), dtype=np.float32)
    scorer.row.take(ifo, 0, values)
    return values


def test_a_slide_gives_the_same_bits_whatever_is_scored_beside_it(network: TwoTower) -> None:
    repository = Exported(network)
    scorer = StreamingScorer(repository, 64, 4.0, piece_frames=50, num_pieces=3)
    values = np.random.default_rng(3).standard_normal((IFOS, 6000)).astype(np.float32)
    scorer.add(Made(scorer, values))
    slides = [(0, shift, 2 * shift) for shift in range(0, 110, 10)]
    together = list(scorer.evidences(slides))
    for shifts, evidence in zip(slides, together, strict=True):
        np.testing.assert_array_equal(scorer.evidence(shifts), evidence)
    # so that nobody copies it
    assert not any(values.flags.writeable for values in repository.parts["head"].given)


def test_events_do_not_depend_on_how_many_slides_share_work(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {name: path for name, path in setup.inputs.items() if name != "injections"}
    search(repository=setup.streaming, output=tmp_path / "many", **inputs)
    monkeypatch.setattr("infer.scorers.streaming.SLIDES_TOGETHER", 1)
    search(repository=setup.streaming, output=tmp_path / "one", **inputs)
    one, many = (tmp_path / name / "background.hdf5" for name in ("one", "many"))
    assert one.read_bytes() == many.read_bytes()
