"""Slides: livetimes add up, nothing crosses a gap, nothing is used twice."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from preprocessing.slides import FrameTimeline, Stretch, slide_shifts


def brute_force(timeline: FrameTimeline, shifts: tuple[int, ...]) -> np.ndarray:
    """Count windows one by one, from the frames themselves."""
    owner = np.repeat(
        np.arange(len(timeline.stretches)), [s.num_frames for s in timeline.stretches]
    )
    counts = np.zeros(timeline.size, dtype=bool)
    for first in range(timeline.size):
        good = True
        for ifo, shift in enumerate(shifts):
            begin = (first + shift) % timeline.size
            frames = np.arange(begin, begin + timeline.window_size)
            if frames[-1] >= timeline.size or len(set(owner[frames])) > 1:
                good = False
                break
            stretch = timeline.stretches[owner[begin]]
            times = stretch.gps_start + (frames - timeline.offsets[owner[begin]]) / 4
            for start, stop in (*stretch.left_out, *stretch.vetoes.get(ifo, ())):
                good &= not any(t < stop and t + 0.5 > start for t in times)
        counts[first] = good
    return counts


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    window=st.integers(1, 6),
    shift=st.integers(0, 60),
    hole=st.floats(0, 8),
)
def test_scored_windows_are_those_counted_one_by_one(
    sizes: list[int], window: int, shift: int, hole: float
) -> None:
    stretches = [
        Stretch(gps_start=100.0 * i, num_frames=n, left_out=[(100 * i + hole, 100 * i + hole + 1)])
        for i, n in enumerate(sizes)
    ]
    timeline = FrameTimeline(stretches, frame_rate=4, window_size=window, view_length=0.5)
    shifts = (0, shift % timeline.size)
    np.testing.assert_array_equal(timeline.scored(shifts), brute_force(timeline, shifts))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    window=st.integers(1, 6),
    shift=st.integers(0, 60),
    veto=st.floats(0, 6),
    ifos=st.integers(1, 3),
    stride=st.integers(1, 5),
)
def test_livetime_by_runs_is_that_counted_window_by_window(
    sizes: list[int], window: int, shift: int, veto: float, ifos: int, stride: int
) -> None:
    """Also around the row's end, where detectors have vetoes of their own, for any stride."""
    stretches = [
        Stretch(100.0 * i, n, [(100 * i + 3.0, 100 * i + 3.5)], "", {1: [(0.0, 100 * i + veto)]})
        for i, n in enumerate(sizes)
    ]
    timeline = FrameTimeline(stretches, frame_rate=4, window_size=window, view_length=0.5)
    shifts = tuple(j * shift for j in range(ifos))
    counted = brute_force(timeline, shifts)
    np.testing.assert_array_equal(timeline.scored(shifts), counted)
    assert timeline.num_scored(shifts, stride) == counted[::stride].sum()
    runs = timeline.scored_runs(shifts)
    assert (np.diff(runs.ravel()) >= 0).all()
    assert (runs[:, 1] > runs[:, 0]).all()


def test_gps_of_frames() -> None:
    timeline = FrameTimeline([Stretch(10.5, 8), Stretch(100.25, 4)], 4, 2, 0.5)
    np.testing.assert_array_equal(
        timeline.gps(np.array([0, 3, 8, 11])), [10.5, 11.25, 100.25, 101]
    )


def test_slides_are_independent_and_reach_the_livetime() -> None:
    timeline = FrameTimeline([Stretch(0, 6400), Stretch(500, 3200)], 64, 100, 0.5)
    for ifos in (2, 3):
        slides = slide_shifts(timeline, ifos, step=3, livetime=1e9)
        assert slides
        relative = set()
        for shifts in slides:
            for j in range(ifos):
                for k in range(j):
                    relative.add(((j, k), (shifts[j] - shifts[k]) % timeline.size))
        # no pair of detectors meets at the same shift twice, nor within a step of another
        for pair in {p for p, _ in relative}:
            values = np.sort([v for p, v in relative if p == pair])
            assert len(values) == len(slides)
            apart = np.diff([0, *values, timeline.size])
            assert apart.min() >= 3 * 64
    some = slide_shifts(timeline, 2, step=3, livetime=1000)
    total = sum(timeline.scored(s).sum() for s in some) / 64
    assert 1000 <= total < 1000 + 150


def test_one_detector_cannot_be_slid() -> None:
    timeline = FrameTimeline([Stretch(0, 6400)], 64, 100, 0.5)
    assert slide_shifts(timeline, 1, step=3, livetime=1000) == []
