"""A search in branches: the same bytes for any number of them, and the loudest events kept."""

import hashlib
import itertools
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import FILES, Setup
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from infer.branches import share
from infer.found import ALL, YEAR, Found, event_set, joined, number_kept
from infer.search import frames, injections, merge, search, slides, zero_lag
from ledger import EventSet, ProductError
from runtime import load_experiment

RESULTS = ("background.hdf5", "foreground.hdf5", "injection-details.hdf5", "zero-lag.hdf5")


def digests(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


def in_branches(setup: Setup, kind: str, folder: Path, branches: int) -> Path:
    """Search step by step, the steps cut into branches; returns the folder of the results."""
    common = {
        "experiment": setup.experiment,
        "repository": getattr(setup, kind),
        "strain": setup.folder / "index.hdf5",
    }
    for first in range(min(branches, len(FILES))):
        files = list(range(len(FILES)))[first::branches]
        frames(output=folder / "frames", files=files, **common)
    parts = {"slides": [], "injections": []}
    # the last branch first: no branch needs another
    for branch in reversed(range(branches)):
        for verb, run in (("slides", slides), ("injections", injections)):
            parts[verb].insert(0, folder / f"{verb}-{branch}.hdf5")
            more = {"injections": setup.folder / "injections.hdf5"} if run is injections else {}
            run(
                frames=folder / "frames",
                branch=branch,
                branches=branches,
                output=parts[verb][0],
                **common,
                **more,
            )
    zero_lag(frames=folder / "frames", output=folder / "zero-lag.hdf5", **common)
    merge(
        frames=folder / "frames",
        zero_lag=folder / "zero-lag.hdf5",
        slides=parts["slides"],
        recovered=parts["injections"],
        injections=setup.folder / "injections.hdf5",
        output=folder / "events",
        **common,
    )
    return folder / "events"


@pytest.mark.parametrize("kind", ["streaming", "filtered"])
def test_same_bytes_for_any_number_of_branches(
    setup: Setup, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # so that four injections are two groups
    monkeypatch.setattr("infer.foreground.GROUP_SIZE", 2)
    monkeypatch.setattr("infer.recovery.GROUP_SIZE", 2)
    output = tmp_path / "events"
    search(repository=getattr(setup, kind), output=output, **setup.inputs)
    expected = digests(output)
    assert sorted(expected) == list(RESULTS)
    for branches in (1, 3):
        assert digests(in_branches(setup, kind, tmp_path / str(branches), branches)) == expected
    # livetime, slide by slide and counted from the files, is the same however it was cut
    whole = EventSet.read(output / "background.hdf5")
    cut = [EventSet.read(tmp_path / "3" / f"slides-{i}.hdf5") for i in range(3)]
    assert sum(part.livetime for part in cut) == pytest.approx(whole.livetime, abs=1e-9)
    assert sum(len(part.slide_livetime) for part in cut) == len(whole.slide_livetime)
    assert max(p.livetime for p in cut) - min(p.livetime for p in cut) <= 2 * max(
        whole.slide_livetime
    )


def test_parts_that_do_not_fit_are_refused(setup: Setup, tmp_path: Path) -> None:
    in_branches(setup, "streaming", tmp_path, 2)
    inputs = {
        "experiment": setup.experiment,
        "repository": setup.streaming,
        "strain": setup.folder / "index.hdf5",
        "frames": tmp_path / "frames",
        "zero_lag": tmp_path / "zero-lag.hdf5",
        "output": tmp_path / "merged",
        "slides": [tmp_path / "slides-0.hdf5", tmp_path / "slides-1.hdf5"],
        "injections": setup.folder / "injections.hdf5",
        "recovered": [tmp_path / "injections-0.hdf5", tmp_path / "injections-1.hdf5"],
    }
    with pytest.raises(ValueError, match="--injections and --recovered go together"):
        merge(**(inputs | {"recovered": None}))
    with pytest.raises(ProductError, match=r"slides-1\.hdf5 was made by infer slides 1 of 2"):
        merge(**(inputs | {"slides": inputs["slides"][::-1]}))
    with pytest.raises(ProductError, match=r"slides 0 of 2, expected infer slides 0 of 1"):
        merge(**(inputs | {"slides": inputs["slides"][:1]}))
    with pytest.raises(FileNotFoundError, match=r"slides-7\.hdf5"):
        merge(**(inputs | {"slides": [inputs["slides"][0], tmp_path / "slides-7.hdf5"]}))
    common = {
        "experiment": setup.experiment,
        "repository": setup.streaming,
        "strain": setup.folder / "index.hdf5",
        "frames": tmp_path / "frames",
        "output": tmp_path / "part.hdf5",
    }
    shutil.rmtree(tmp_path / "frames/1")
    with pytest.raises(FileNotFoundError, match=r"frames/1/stretch\.yaml: make it by .infer fra"):
        slides(**common)
    with pytest.raises(ValueError, match="--branch 3 of --branches 3: expected branches from 0"):
        slides(branch=3, branches=3, **common)
    with pytest.raises(ValueError, match=r"--files has 3, but .* has the search files 0 to 2"):
        frames(
            experiment=setup.experiment,
            repository=setup.streaming,
            strain=setup.folder / "index.hdf5",
            output=tmp_path / "frames",
            files=[3],
        )


def test_frames_of_another_network_are_refused(setup: Setup, tmp_path: Path) -> None:
    common = {
        "experiment": setup.experiment,
        "repository": setup.streaming,
        "strain": setup.folder / "index.hdf5",
    }
    frames(output=tmp_path / "frames", **common)
    path = tmp_path / "frames/0/stretch.yaml"
    path.write_text(path.read_text().replace("0" * 64, "1" * 64))
    with pytest.raises(ProductError, match=r"0/stretch\.yaml has network '?1111.*expected '?0000"):
        zero_lag(frames=tmp_path / "frames", output=tmp_path / "zero-lag.hdf5", **common)


@hypothesis_settings(deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.floats(0.5, 100), max_size=40),
    branches=st.integers(1, 50),
)
def test_every_row_belongs_to_one_branch(lengths: list[float], branches: int) -> None:
    rows = [range(len(lengths))[share(lengths, b, branches)] for b in range(branches)]
    assert [i for part in rows for i in part] == list(range(len(lengths)))
    # no branch has more than its share, and the longest row
    for part in rows:
        total = sum(lengths[i] for i in part)
        assert total <= sum(lengths) / branches + max(lengths, default=0) + 1e-6


@hypothesis_settings(deadline=None, derandomize=True)
@given(
    # few values, so that many tie
    values=st.lists(st.integers(0, 12), min_size=1, max_size=60),
    number=st.integers(1, 20),
    cuts=st.lists(st.integers(0, 60), max_size=4),
)
def test_the_loudest_of_parts_are_the_loudest_of_all(
    values: list[int], number: int, cuts: list[int]
) -> None:
    statistic = np.array(values, dtype=np.float64)

    def found(rows: slice) -> Found:
        part = statistic[rows]
        numbers = np.arange(len(statistic), dtype=np.int32)[rows]
        times = np.stack((numbers, numbers), axis=1).astype(np.float64)
        return Found([part], [times], [numbers], [1.0], [(0.0, 1.0)])

    whole = found(slice(None))
    whole.keep_loudest(number)
    # by definition: an event stays if fewer than `number` are louder
    expected = np.array([(statistic > value).sum() < number for value in statistic])
    np.testing.assert_array_equal(np.concatenate(whole.slide), np.flatnonzero(expected))
    assert (whole.threshold == ALL) == (len(statistic) <= number)
    if whole.threshold > ALL:
        assert whole.threshold == statistic[expected].min()
    edges = [0, *sorted(cuts), len(statistic)]
    parts = []
    for first, last in itertools.pairwise(edges):
        part = found(slice(first, last))
        part.keep_loudest(number)
        parts.append(part)
    experiment = load_experiment(Path(__file__).parents[3] / "configs/smoke")
    spans = {"analysed": np.zeros((0, 2)), "analysed_label": []}
    sets = (event_set(p, "background", experiment, 0, **spans) for p in parts)
    merged = joined(sets, number)
    assert merged.threshold == whole.threshold
    for name in ("statistic", "time", "slide"):
        one, other = (np.concatenate(getattr(f, name)) for f in (merged, whole))
        np.testing.assert_array_equal(one, other)


def exact_threshold(far: float, statistic: np.ndarray, years: float) -> float | None:
    """Quietest event at which the count over the livetime does not exceed the rate, by search."""
    counts = np.array([(statistic >= value).sum() for value in statistic])
    allowed = statistic[counts / years <= far]
    return allowed.min() if len(allowed) else None


@hypothesis_settings(deadline=None, derandomize=True, max_examples=50)
@given(
    seed=st.integers(0, 9999),
    size=st.integers(1, 400),
    levels=st.integers(5, 1000),
    years=st.floats(1e-4, 3e-3),
)
def test_thresholds_are_those_of_all_events(
    seed: int, size: int, levels: int, years: float
) -> None:
    """At every rate asked for, from the kept events as from all, ties included."""
    experiment = load_experiment(Path(__file__).parents[3] / "configs/smoke")
    statistic = np.random.default_rng(seed).integers(0, levels, size).astype(np.float64)
    # so long a zero lag that the rates alone decide
    number = number_kept(experiment, years * YEAR, 1e12)
    numbers = np.zeros(size, dtype=np.int32)
    found = Found([statistic], [np.zeros((size, 2))], [numbers], [1.0], [(0.0, 1.0)])
    found.keep_loudest(number)
    kept = np.concatenate(found.statistic)
    largest = max(experiment.evaluation.false_alarm_rates)
    for far in (largest, largest / 10, largest / 77):
        if far * years >= size:
            continue  # more is allowed than was found, and all is kept
        expected = exact_threshold(far, statistic, years)
        assert exact_threshold(far, kept, years) == expected


def test_only_the_loudest_are_stored(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored events are those of a search that keeps all, above the threshold it states."""
    search(repository=setup.streaming, output=tmp_path / "all", **setup.inputs)
    monkeypatch.setattr("infer.background.number_kept", lambda *_: 7)
    monkeypatch.setattr("infer.merging.number_kept", lambda *_: 7)
    search(repository=setup.streaming, output=tmp_path / "some", **setup.inputs)
    whole, some = (EventSet.read(tmp_path / n / "background.hdf5") for n in ("all", "some"))
    assert whole.threshold == ALL
    assert len(whole.statistic) > 20
    assert len(some.statistic) == 7
    assert some.threshold == some.statistic.min() == np.sort(whole.statistic)[-7]
    loud = whole.statistic >= some.threshold
    np.testing.assert_array_equal(some.time, whole.time[loud])
    np.testing.assert_array_equal(some.slide_livetime, whole.slide_livetime)
    assert digests(in_branches(setup, "streaming", tmp_path / "cut", 3)) == digests(
        tmp_path / "some"
    )


def test_scores_are_kept_on_request(setup: Setup, tmp_path: Path) -> None:
    """At the time they say: the loudest score near an event is the event's statistic."""
    common = {
        "experiment": setup.experiment,
        "repository": setup.streaming,
        "strain": setup.folder / "index.hdf5",
    }
    frames(output=tmp_path / "frames", **common)
    common["frames"] = tmp_path / "frames"
    zero_lag(output=tmp_path / "zero.hdf5", scores=tmp_path / "unslid.hdf5", **common)
    slides(
        output=tmp_path / "slides.hdf5",
        scores=tmp_path / "slid.hdf5",
        scored_slides=[2],
        **common,
    )
    for name, series, number in (("zero", "unslid", 0), ("slides", "slid", 2)):
        events = EventSet.read(tmp_path / f"{name}.hdf5")
        livetime = events.slide_livetime[max(0, number - 1)]
        with h5py.File(tmp_path / f"{series}.hdf5") as file:
            assert list(file) == [f"slide-{number}"]
            group = file[f"slide-{number}"]
            assert [group[i].attrs["label"] for i in group] == list(FILES)
            values = [group[i][()] for i in group]
            rates = {group[i].attrs["rate"] for i in group}
            assert rates == {16.0}
            assert all(group[i].chunks for i in group)
            times = [group[i].attrs["gps_start"] + np.arange(len(group[i])) / 16 for i in group]
        values, times = np.concatenate(values), np.concatenate(times)
        assert np.isfinite(values).sum() / 16 == pytest.approx(livetime)
        mine = events.slide == number
        assert mine.any()
        for statistic, gps in zip(events.statistic[mine], events.time[mine, 0], strict=True):
            place = np.flatnonzero(values == np.float32(statistic))
            # what a score looks at ends up to a kernel and an integration after coalescence
            assert (np.abs(times[place] - gps) < 2.0).any()
    with pytest.raises(ValueError, match=r"--scored_slides \[2\] has no effect without --scores"):
        slides(output=tmp_path / "again.hdf5", scored_slides=[2], **common)
