"""Snapshotter and averager against plain numpy."""

from math import ceil

import numpy as np
import pytest
import torch
from hermes.quiver.streaming import OnlineAverager, Snapshotter
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.integers(1, 12)


def windows_of(stream: np.ndarray, snapshot_size: int, stride_size: int) -> np.ndarray:
    """Windows (window, channel, time) that end at each stride, zeros before the stream."""
    padded = np.concatenate([np.zeros_like(stream[:, :1]).repeat(snapshot_size, 1), stream], 1)
    ends = range(stride_size, stream.shape[1] + 1, stride_size)
    return np.stack([padded[:, end : end + snapshot_size] for end in ends])


def cut(module: Snapshotter, stream: np.ndarray) -> list[np.ndarray]:
    """Outputs of all updates of a stream, joined."""
    state = torch.zeros(1, len(stream), module.snapshot_size, dtype=torch.from_numpy(stream).dtype)
    answers = []
    for update in np.split(stream, stream.shape[1] // module.update_size, axis=1):
        *outputs, state = module(torch.from_numpy(update[None].copy()), state)
        answers.append([output.numpy() for output in outputs])
    return [np.concatenate(group) for group in zip(*answers, strict=True)]


@settings(max_examples=60, deadline=None)
@given(
    snapshot_size=sizes,
    stride_size=sizes,
    batch_size=st.integers(1, 5),
    channels=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    num_updates=st.integers(1, 5),
    dtype=st.sampled_from(["float16", "float32", "float64", "int8", "int64", "bool"]),
)
def test_snapshots_are_the_sliding_windows(
    snapshot_size: int,
    stride_size: int,
    batch_size: int,
    channels: list[int],
    num_updates: int,
    dtype: str,
) -> None:
    module = Snapshotter(snapshot_size, stride_size, batch_size, channels)
    rng = np.random.default_rng(snapshot_size)
    shape = (module.num_channels, num_updates * batch_size * stride_size)
    stream = (rng.standard_normal(shape) * 50).astype(dtype)
    expected = windows_of(stream, snapshot_size, stride_size)
    first = 0
    for count, found in zip(channels, cut(module, stream), strict=True):
        part = expected[:, first : first + count] if count else expected[:, first]
        np.testing.assert_array_equal(found, part)
        assert found.dtype == dtype
        first += max(1, count)


def average_of(windows: np.ndarray, update_size: int, num_updates: int) -> np.ndarray:
    """Mean over the windows of what they say of each sample; (channel, time), from the start."""
    num_windows, channels, _ = windows.shape
    lead = (num_updates - 1) * update_size
    total = np.zeros((channels, lead + num_windows * update_size))
    for j, window in enumerate(windows):
        start = j * update_size
        total[:, start : start + num_updates * update_size] += window[
            :, window.shape[1] - num_updates * update_size :
        ]
    return total[:, : num_windows * update_size] / num_updates


def join(module: OnlineAverager, windows: np.ndarray, first: int = 0) -> np.ndarray:
    """Stream of all updates from number `first` on."""
    size = module.state_size
    shape = (1, size) if module.num_channels is None else (1, module.num_channels, size)
    state = torch.zeros(shape, dtype=torch.from_numpy(windows).dtype)
    answers = []
    for batch in np.split(windows, len(windows) // module.batch_size)[first:]:
        answer, state = module(torch.from_numpy(batch.copy()), state)
        answers.append(answer.numpy()[0])
    return np.concatenate(answers, axis=-1)


@settings(max_examples=60, deadline=None)
@given(
    update_size=st.integers(1, 5),
    num_updates=st.integers(1, 6),
    batch_size=st.integers(1, 5),
    num_channels=st.one_of(st.none(), st.integers(1, 3)),
    extra=st.integers(0, 4),
    count=st.integers(1, 5),
)
def test_averages_are_means_over_the_overlaps(
    update_size: int,
    num_updates: int,
    batch_size: int,
    num_channels: int | None,
    extra: int,
    count: int,
) -> None:
    module = OnlineAverager(update_size, num_updates, batch_size, num_channels)
    rng = np.random.default_rng(count)
    size = num_updates * update_size + extra
    windows = rng.standard_normal((count * batch_size, num_channels or 1, size))
    expected = average_of(windows, update_size, num_updates)
    found = join(module, windows if num_channels else windows[:, 0])
    np.testing.assert_allclose(
        found if num_channels else found[None], expected, rtol=1e-12, atol=1e-12
    )


def test_what_all_windows_agree_on_is_what_comes_out() -> None:
    """Windows cut from a stream and averaged give the stream back, late by what is stated."""
    stride, updates, batch = 4, 3, 2
    stream = np.random.default_rng(0).standard_normal((2, 80))
    cutter = Snapshotter(16, stride, batch, [2])
    (windows,) = cut(cutter, stream)
    found = join(OnlineAverager(stride, updates, batch, 2), windows)
    delay = (updates - 1) * stride
    np.testing.assert_allclose(found[:, delay:], stream[:, : 80 - delay], rtol=1e-14)


@settings(max_examples=40, deadline=None)
@given(snapshot_size=sizes, stride_size=sizes, batch_size=st.integers(1, 4))
def test_a_snapshotter_forgets_exactly_after_its_memory(
    snapshot_size: int, stride_size: int, batch_size: int
) -> None:
    module = Snapshotter(snapshot_size, stride_size, batch_size)
    memory = ceil(module.reach / batch_size)
    updates = memory + 3
    stream = 1.0 + np.random.default_rng(1).random((1, updates * module.update_size))
    (whole,) = cut(module, stream)
    last = whole[-batch_size:]
    for kept in range(updates):
        # begins anew `kept` updates before the last one
        (later,) = cut(module, stream[:, (updates - 1 - kept) * module.update_size :])
        assert np.array_equal(later[-batch_size:], last) == (kept >= memory)
    # and the first answers that look at the zeros before the stream are as many
    looks = [bool((part == 0).any()) for part in np.split(whole, updates)]
    assert looks == [k < memory for k in range(updates)]


@settings(max_examples=40, deadline=None)
@given(num_updates=st.integers(1, 8), batch_size=st.integers(1, 4))
def test_an_averager_forgets_exactly_after_its_memory(num_updates: int, batch_size: int) -> None:
    module = OnlineAverager(2, num_updates, batch_size, 1)
    memory = ceil(module.reach / batch_size)
    updates = memory + 3
    rng = np.random.default_rng(2)
    windows = 1 + rng.random((updates * batch_size, 1, 2 * num_updates)).astype(np.float32)
    size = module.update_size * batch_size
    last = join(module, windows)[:, -size:]
    for kept in range(updates):
        later = join(module, windows, first=updates - 1 - kept)[:, -size:]
        # to the last bit: sums are taken in the order of the windows
        assert np.array_equal(later, last) == (kept >= memory)


def test_sums_do_not_depend_on_the_batch() -> None:
    windows = np.random.default_rng(3).standard_normal((24, 2, 40)).astype(np.float32)
    one = join(OnlineAverager(4, 7, 1, 2), windows)
    for batch_size in (2, 3, 8, 24):
        np.testing.assert_array_equal(join(OnlineAverager(4, 7, batch_size, 2), windows), one)


@pytest.mark.parametrize("name", ["snapshot_size", "stride_size", "batch_size"])
def test_sizes_are_above_zero(name: str) -> None:
    sizes = {"snapshot_size": 4, "stride_size": 2, "batch_size": 1, name: 0}
    with pytest.raises(ValueError, match=f"{name} is 0"):
        Snapshotter(**sizes)
    if name == "batch_size":
        with pytest.raises(ValueError, match=f"{name} is 0"):
            OnlineAverager(2, 2, 0)
