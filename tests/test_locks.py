"""Every package is locked with hashes, and a lock names no index."""

import re
import tomllib
from pathlib import Path

import pytest

from aframe.environment import packages

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = [REPOSITORY, *packages()]


def test_every_library_and_stage_is_a_package():
    folders = {path for kind in ("libs", "projects") for path in (REPOSITORY / kind).iterdir()}
    assert {path for path in folders if path.is_dir()} == set(packages())


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda p: p.name)
def test_a_lock_holds_hashes_and_no_address(folder):
    text = (folder / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|(^|\s)-e ", text)
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    for block in blocks:
        assert re.match(r"[A-Za-z0-9_.\[\]-]+==\S+", block), block.splitlines()[0]
        assert "--hash=sha256:" in block, block.splitlines()[0]
    locked = {re.split(r"[=\[]", block)[0].lower() for block in blocks}
    assert not {name for name in locked if name.startswith("aframe")}


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda p: p.name)
def test_every_dependency_is_in_the_lock(folder):
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[<>=\[;! ~]", item)[0].lower().replace("_", "-") for item in wanted}
    text = (folder / "requirements.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9.-]+)==", text, re.MULTILINE))
    assert {name for name in names if not name.startswith("aframe-")} <= locked
    assert project["requires-python"] == ">=3.11,<3.14"
    assert project["license"] == "MIT"


def test_no_torch_where_none_is_needed():
    for folder in (REPOSITORY, REPOSITORY / "libs/ledger", REPOSITORY / "projects/evaluate"):
        assert not re.search(r"^torch==", (folder / "requirements.lock").read_text(), re.M)
