"""Ensembles give what their models give one after the other."""

from __future__ import annotations

import numpy as np
import onnxruntime
from conformance_models import (
    NUM_CHANNELS,
    STRIDE,
    UPDATE_SIZE,
    WINDOWS,
    exported_scores,
    snapshots,
)
from test_conformance_requests import PATIENCE
from test_conformance_sequences import draw


def direct(repository, updates: np.ndarray, version: int = 1) -> np.ndarray:
    """The network on windows that numpy cuts out."""
    session = onnxruntime.InferenceSession(repository / "net" / str(version) / "model.onnx")
    return np.stack([session.run(None, {"window": w})[0] for w in snapshots(updates)])


def test_ensemble_equals_direct_computation(place, open_client):
    """Also holds the version that the step asks for: the newer one gives other numbers."""
    client = open_client("stream")
    assert client.stateful
    updates = draw(10, 30, NUM_CHANNELS, UPDATE_SIZE)
    answers = np.stack(list(client.stream(updates)))
    np.testing.assert_array_equal(answers, direct(place.repository, updates))
    assert not np.array_equal(answers, direct(place.repository, updates, version=2))


def test_sequences_in_an_ensemble_keep_apart(place, open_client):
    client = open_client("stream", in_flight=32)
    updates = [draw(seed, 15, NUM_CHANNELS, UPDATE_SIZE) for seed in (11, 12, 13)]
    numbers = [client.new_sequence() for _ in updates]
    futures = [
        client.infer(
            updates[which][i],
            sequence_id=numbers[which],
            sequence_start=i == 0,
            sequence_end=i == 14,
        )
        for i in range(15)
        for which in range(3)
    ]
    for which in range(3):
        answers = np.stack([f.result(PATIENCE) for f in futures[which::3]])
        np.testing.assert_array_equal(answers, direct(place.repository, updates[which]))


def test_exported_stream_equals_the_network_on_windows(open_client):
    """By the exporters of quiver; the network sees all windows at once in the comparison."""
    client = open_client("exported_stream")
    updates = draw(14, 25, 1, NUM_CHANNELS, STRIDE * WINDOWS)
    scores = np.concatenate(list(client.stream(updates)))
    expected = exported_scores(np.concatenate(updates[:, 0], axis=1))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
