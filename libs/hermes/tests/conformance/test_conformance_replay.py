"""The server is killed under load: several callers see what an unbroken run gives, bit for bit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conformance_models import NUM_CHANNELS, OLDEST, UPDATE_SIZE, add_fading, add_stream
from conftest import KINDS, open_place
from hermes.aeriel.client import InferenceClient
from test_conformance_sequences import draw, updates_of

NUM_UPDATES = 150


@pytest.fixture(scope="module", params=KINDS)
def mortal(request, tmp_path_factory):
    """A place of its own, since its server is killed."""
    root = tmp_path_factory.mktemp("mortal") / "repository"
    add_stream(root)
    add_fading(root, "fading", OLDEST)
    with open_place(request.param, root, ["stream", "fading"], "none") as place:
        yield place


def test_all_streams_go_on_when_the_server_is_killed_under_load(mortal):
    """Read by number and from a source that is read once; a model with memory, one without end."""
    strain = draw(30, NUM_UPDATES, NUM_CHANNELS, UPDATE_SIZE)
    numbers = updates_of(31, NUM_UPDATES)
    with (
        InferenceClient(mortal.address, "stream", in_flight=8) as client,
        InferenceClient(mortal.address, "fading", in_flight=8) as other,
    ):
        sources = [
            lambda: client.stream(strain),
            lambda: client.stream(iter(strain), in_flight=3),
            lambda: other.stream(numbers),
        ]
        unbroken = [np.stack(list(source())) for source in sources]

        count = 0
        counting = threading.Lock()
        enough = threading.Event()

        def follow(source):
            nonlocal count
            answers = []
            for answer in source():
                answers.append(answer)
                with counting:
                    count += 1
                    if count == NUM_UPDATES:  # a third of all
                        enough.set()
            return np.stack(answers)

        def kill():
            assert enough.wait(60)
            mortal.lose(client._transport, other._transport)

        with ThreadPoolExecutor(4) as threads:
            killing = threads.submit(kill)
            broken = list(threads.map(follow, sources))
            killing.result()
        # Something was sent again, or nothing was lost and this test says nothing.
        assert client.latencies.count + other.latencies.count > 6 * NUM_UPDATES
    for whole, mended in zip(unbroken, broken, strict=True):
        np.testing.assert_array_equal(mended, whole)
