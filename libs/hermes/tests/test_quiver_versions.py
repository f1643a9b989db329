"""Which versions are served, and which stay."""

from pathlib import Path

import pytest
import torch
from hermes import quiver as qv
from hermes.quiver import versions
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc.model_config_pb2 import ModelConfig


@pytest.fixture
def model(tmp_path: Path) -> qv.Model:
    repo = qv.ModelRepository(tmp_path / "models")
    model = repo.add("net", qv.Platform.ONNX)
    net = torch.nn.Linear(3, 2)
    model.export_version(net, input_shapes={"x": [None, 3]}, output_names=["y"])
    for _ in range(3):
        model.export_version(net)
    return model


def read(model: qv.Model) -> qv.Model:
    return qv.ModelRepository(model.repository.store.root).models[model.name]


def test_policies_of_the_server(model: qv.Model) -> None:
    path = Path(model.config_path)
    text = path.read_text()
    for policy, served in (
        ("", [4]),
        ("version_policy { latest { } }", [4]),
        ("version_policy { latest { num_versions: 2 } }", [3, 4]),
        ("version_policy { all { } }", [1, 2, 3, 4]),
        ("version_policy { specific { versions: [ 3, 1, 9 ] } }", [1, 3]),
    ):
        path.write_text(text + policy)
        assert read(model).served_versions == served
        assert read(model).resolve() == served[-1]
    with pytest.raises(qv.RepositoryError, match=r"version 2 is not served; there are \[1, 2"):
        read(model).resolve(2)


def test_pinned_versions_stay_and_are_served(model: qv.Model) -> None:
    model.pin(2)
    assert read(model).pinned_versions == [2]
    assert read(model).served_versions == [2, 4]
    with pytest.raises(qv.RepositoryError, match="version 2 is pinned: unpin it"):
        model.retire(2)
    assert model.keep_latest(1) == [1, 3]
    assert model.versions == [2, 4]
    model.export_version(torch.nn.Linear(3, 2))
    assert model.versions == [2, 4, 5]
    assert model.resolve() == 5  # the newest, as before
    model.unpin(2)
    model.retire(2)
    assert model.versions == [4, 5]
    with pytest.raises(qv.RepositoryError, match="has no version 2, it has 4, 5"):
        model.pin(2)


def test_promoted_until_another_is(model: qv.Model) -> None:
    model.promote(2)
    assert read(model).resolve() == 2
    model.export_version(torch.nn.Linear(3, 2))
    assert read(model).resolve() == 2
    assert model.keep_latest(1) == [1, 3, 4]
    assert model.versions == [2, 5]
    model.pin(5)  # kept, but -1 is still 2
    assert read(model).served_versions == [2]
    model.promote(5)
    assert read(model).served_versions == [2, 5]
    model.promote(2)
    assert read(model).resolve() == 2
    model.promote(-1)
    assert read(model).resolve() == 5
    assert model.export_version(torch.nn.Linear(3, 2)) == 6
    assert read(model).resolve() == 6


def test_retired_versions(model: qv.Model) -> None:
    model.retire(4)
    assert not model.config.HasField("version_policy")
    assert (model.versions, read(model).resolve()) == ([1, 2, 3], 3)
    model.retire(3, keep_files=True)
    model.pin(1)
    assert model.versions == [1, 2, 3]
    assert read(model).served_versions == [1, 2]
    with pytest.raises(qv.RepositoryError, match="no version 8"):
        model.retire(8)
    with pytest.raises(qv.RepositoryError, match="cannot keep 0 versions"):
        model.keep_latest(0)


def test_the_last_served_version_stays(model: qv.Model) -> None:
    model.promote(1)
    for version in (2, 3, 4):
        model.retire(version)
    with pytest.raises(qv.RepositoryError, match="only one served"):
        model.retire(1)
    assert (model.versions, model.served_versions) == ([1], [1])


actions = st.lists(
    st.tuples(
        st.sampled_from(["pin", "unpin", "promote", "follow", "retire", "export"]),
        st.integers(1, 6),
        st.booleans(),
    ),
    max_size=20,
)


@settings(max_examples=150, deadline=None)
@given(actions=actions, policy=st.sampled_from(["", "all", "latest"]))
def test_whatever_is_done(actions: list[tuple[str, int, bool]], policy: str) -> None:
    """Something is always served, -1 is the promoted version, pinned ones are never removed."""
    config = ModelConfig()
    if policy == "all":
        config.version_policy.all.SetInParent()
    if policy == "latest":
        config.version_policy.latest.num_versions = 2
    there, promoted, pinned = [1, 2], None, set()
    for action, number, keep_files in actions:
        if action == "export":
            versions.admit(config, there[-1] + 1)
            there.append(there[-1] + 1)
            if promoted is None:
                assert versions.served(config, there)[-1] == there[-1]
        elif action == "follow":
            versions.promote(config, there, -1)
            promoted = None
            assert versions.served(config, there)[-1] == there[-1]
        elif number not in there:
            continue
        elif action == "pin":
            versions.pin(config, there, number)
            pinned.add(number)
        elif action == "unpin":
            versions.unpin(config, number)
            pinned.discard(number)
        elif action == "promote":
            versions.promote(config, there, number)
            promoted = number
        else:
            try:
                versions.withdraw(config, there, number, keep_files)
            except qv.RepositoryError:
                assert number in pinned or versions.served(config, there) == [number]
                continue
            assert number not in pinned
            if promoted == number:
                promoted = versions.served(config, there)[-1]
            if not keep_files:
                there.remove(number)
            assert number not in versions.served(config, there)
        served = versions.served(config, there)
        assert served
        assert pinned <= set(there)
        assert set(versions.pinned(config)) == pinned
        if promoted is not None:
            assert served[-1] == promoted
            assert {v for v in pinned if v <= promoted} <= set(served)
