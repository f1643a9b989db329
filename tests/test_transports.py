"""Where networks run, and what they are exported to: products beside each other, errors early."""

import luigi
import pytest
from runtime import ExperimentError

from aframe.analysis import load_analysis
from aframe.pipelines.sandbox import Sandbox
from aframe.tasks.infer import InferLocal


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    load_analysis.cache_clear()
    luigi.task_register.Register.clear_instance_cache()
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))


def outputs(**options) -> dict[str, str]:
    """Last part of each task's output below the pipeline, by name of the task."""
    task = Sandbox(experiment="smoke", **options)
    found = {}
    for item, _, _ in task.walk_deps():
        for target in luigi.task.flatten(item.output()):
            if hasattr(target, "path"):  # not of all branches together
                found[type(item).__name__] = target.path.rsplit("/", 1)[-1]
    return found


def changed(**options) -> dict[str, str]:
    """Outputs that an option moves."""
    before, after = outputs(), outputs(**options)
    assert set(before) == set(after)
    return {name: after[name] for name in after if after[name] != before[name]}


def test_events_of_a_server_lie_beside_the_others():
    assert changed(transport="triton") == {
        "InferLocal": "events-0-triton",
        "Evaluate": "report-triton",
    }


def test_another_platform_is_another_repository_and_what_follows():
    assert changed(platform="torchscript") == {
        "ExportLocal": "repository-0-torchscript",
        "InferLocal": "events-0-torchscript",
        "Evaluate": "report-torchscript",
    }
    assert changed(platform="torchscript", transport="triton")["InferLocal"] == (
        "events-0-torchscript-triton"
    )


def test_which_server_is_no_part_of_the_result():
    server = {"transport": "triton", "server": "localhost:8001"}
    assert outputs(**server) == outputs(transport="triton")


def test_a_server_without_its_transport_is_refused():
    with pytest.raises(ExperimentError, match="--server localhost:1 has no effect"):
        Sandbox(experiment="smoke", server="localhost:1")


def test_images_are_told_where_the_server_is():
    with pytest.raises(ExperimentError, match="in images needs --server HOST:PORT"):
        Sandbox(experiment="smoke", transport="triton", environment="apptainer")
    with pytest.raises(ExperimentError, match="in images needs --server HOST:PORT"):
        InferLocal(experiment="smoke", transport="triton", image="infer.sif")
