"""Integration and clustering against what their definitions say, value by value."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from infer.events import cluster, integrate


@settings(deadline=None, derandomize=True)
@given(size=st.integers(1, 9), count=st.integers(9, 60), seed=st.integers(0, 99))
def test_integration_is_the_running_mean(size: int, count: int, seed: int) -> None:
    scores = np.random.default_rng(seed).standard_normal((2, count)).astype(np.float32)
    found = integrate(scores, size)
    assert found.shape == (2, count - size + 1)
    assert found.dtype == np.float32
    for i in range(found.shape[1]):
        np.testing.assert_allclose(found[:, i], scores[:, i : i + size].mean(axis=1), atol=1e-6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    values=st.lists(st.integers(0, 5), min_size=1, max_size=40),
    holes=st.lists(st.booleans(), min_size=40, max_size=40),
    reach=st.integers(1, 6),
)
def test_clusters_are_the_loudest_around(values: list[int], holes: list[bool], reach: int) -> None:
    statistic = np.array(values, dtype=np.float32)
    counts = np.array(holes[: len(values)])
    places = cluster(statistic, counts, reach)
    assert counts[places].all()
    assert (np.diff(places) > reach).all()
    masked = np.where(counts, statistic, -np.inf)
    for place in places:
        around = masked[max(0, place - reach) : place + reach + 1]
        assert masked[place] == around.max()
    # the loudest of all is always an event, and no isolated peak is lost
    if counts.any():
        assert masked[places].max() == masked.max()
        for place in np.flatnonzero(counts):
            around = np.delete(
                masked[max(0, place - reach) : place + reach + 1], min(place, reach)
            )
            if (masked[place] > around).all():
                assert place in places
