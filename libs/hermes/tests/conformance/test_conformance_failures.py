"""The server dies, or forgets: the caller's output goes on as if it had not; a broken model."""

from __future__ import annotations

import numpy as np
import pytest
from conformance_models import (
    DIRECT,
    MEMORY,
    NUM_CHANNELS,
    UPDATE_SIZE,
    add_broken,
    add_fading,
    add_stream,
    fading,
)
from conftest import KINDS, open_place
from hermes.aeriel.client import InferenceClient
from hermes.errors import InvalidRequest, RepositoryError, SequenceLost, ServerUnavailable
from test_conformance_ensembles import direct
from test_conformance_requests import PATIENCE
from test_conformance_sequences import draw, updates_of


@pytest.fixture(scope="module", params=KINDS)
def frail(request, tmp_path_factory):
    """A place of its own, since its server is killed."""
    root = tmp_path_factory.mktemp("frail") / "repository"
    add_stream(root)
    add_fading(root, "fading", DIRECT)
    add_broken(root, "broken")
    # A server that polls would try to load the broken one again and again.
    with open_place(request.param, root, ["stream", "fading"], "none") as place:
        yield place


def test_output_goes_on_after_the_loss_of_all_states(frail):
    """Of two clients one streams, the other goes on by hand.

    The streamed model remembers 4 updates, which are sent again; the other never forgets, so all
    are.
    """
    updates = draw(20, 40, NUM_CHANNELS, UPDATE_SIZE)
    others = updates_of(21, 12)
    with (
        InferenceClient(frail.address, "stream", in_flight=8) as client,
        InferenceClient(frail.address, "fading", in_flight=4) as other,
    ):
        assert client.memory == MEMORY
        assert other.memory is None
        sequence = other.new_sequence()
        by_hand = [
            other.infer(others[i], sequence_id=sequence, sequence_start=i == 0).result(PATIENCE)
            for i in range(5)
        ]
        answers = []
        for answer in client.stream(updates):
            answers.append(answer)
            if len(answers) == 17:
                frail.lose(client._transport, other._transport)
        with pytest.raises(SequenceLost) as caught:
            other.infer(others[5], sequence_id=sequence).result(PATIENCE)
        assert caught.value.last_answered == 4
        by_hand.extend(other.replay(caught.value, others))
    np.testing.assert_array_equal(np.stack(answers), direct(frail.repository, updates))
    np.testing.assert_array_equal(np.stack(by_hand), fading(others))


def test_broken_model_fails_alone(frail):
    errors = (InvalidRequest, RepositoryError, ServerUnavailable)
    with pytest.raises(errors, match="broken"):
        InferenceClient(frail.address, "broken")
    with InferenceClient(frail.address, "fading") as client:
        updates = updates_of(22, 3)
        np.testing.assert_array_equal(np.stack(list(client.stream(updates))), fading(updates))
