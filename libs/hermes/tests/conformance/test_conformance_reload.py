"""A new version appears while requests come."""

from __future__ import annotations

import shutil
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from conformance_models import write_scale
from conftest import KINDS, START_TIME, open_place
from hermes.aeriel.client import InferenceClient
from test_conformance_requests import PATIENCE


def publish(repository: Path, stage: Path, model: str, version: int, factor: float) -> None:
    """Write a version elsewhere on the same disk and rename it into place."""
    write_scale(stage, version, factor, model, "max_batch_size: 8")
    if version == 1:
        shutil.move(stage / model, repository / model)
    else:
        (stage / model / str(version)).rename(repository / model / str(version))


@pytest.mark.parametrize("kind", KINDS)
def test_new_version_under_load_loses_no_request(tmp_path, kind):
    repository, stage, model = tmp_path / "repository", tmp_path / "stage", "reloaded"
    repository.mkdir()
    publish(repository, stage, model, 1, 2.0)
    with (
        open_place(kind, repository, [model], "poll") as place,
        InferenceClient(place.address, model, in_flight=16, retries=0) as client,
    ):
        x = np.ones((1, 5), np.float32)
        under_way = deque()
        factors = []
        number = 0
        give_up = time.monotonic() + START_TIME
        # until the new version has answered often
        while factors.count(3.0) < 50 and time.monotonic() < give_up:
            number += 1
            under_way.append((number, client.infer(np.float32(number) * x)))
            if number == 50:
                publish(repository, stage, model, 2, 3.0)
            if len(under_way) == 16:
                sent, future = under_way.popleft()
                factors.append(float(future.result(PATIENCE)[0, 0]) / sent)
        factors += [float(future.result(PATIENCE)[0, 0]) / sent for sent, future in under_way]
    assert len(factors) == number
    assert factors.count(2.0) >= 50
    assert factors.count(3.0) >= 50
    assert set(factors) == {2.0, 3.0}
