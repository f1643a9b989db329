import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
LAW = Path(sys.prefix) / "bin" / "law"
PIPELINE = "aframe.pipelines.sandbox.Sandbox"


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


def law_environment(store: Path, **variables: str) -> dict[str, str]:
    """Variables of a law process with a store of its own and the default configuration."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAW_", "AFRAME_"))}
    return {**kept, "AFRAME_STORE": str(store), **variables}


def run_law(*arguments: str, store: Path, timeout: float = 600, **variables: str):
    """`law run` in the repository's root, as a user would."""
    return subprocess.run(
        [str(LAW), "run", *arguments],
        cwd=REPOSITORY,
        env=law_environment(store, **variables),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture
def mine(tmp_path):
    """Make an experiment from the smallest one, `a.b` for nested settings; gives its folder."""

    def make(changes=None, train: str | None = None, name: str = "mine"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        source = REPOSITORY / "configs" / "smoke"
        content = yaml.safe_load((source / "experiment.yaml").read_text())
        content["name"] = name
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            place = content
            for part in parents:
                place = place[part]
            place[last] = value
        (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
        if train is None:
            shutil.copy(source / "train.yaml", folder / "train.yaml")
        else:
            (folder / "train.yaml").write_text(train)
        return folder

    return make
