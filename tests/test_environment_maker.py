"""Environments are made once, checked in milliseconds, and made again when half-made."""

import subprocess
import sys
import time

import pytest

from aframe import environment
from aframe.environment import SetupError, ensure, is_current, local_libraries

PYPROJECT = """
[build-system]
requires = ["uv_build>=0.8,<1"]
build-backend = "uv_build"

[project]
name = "aframe-{name}"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = [{dependencies}]

[tool.uv.build-backend]
module-name = "{name}"
module-root = ""

[tool.uv.sources]
{sources}
"""


@pytest.fixture
def package(tmp_path):
    """A package on a library on another library, all without outside dependencies."""

    def make(name, *needs):
        folder = tmp_path / name
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"NAME = '{name}'\n")
        dependencies = ", ".join(f'"aframe-{need}"' for need in needs)
        sources = "\n".join(f'aframe-{need} = {{ path = "../{need}" }}' for need in needs)
        text = PYPROJECT.format(name=name, dependencies=dependencies, sources=sources)
        (folder / "pyproject.toml").write_text(text)
        (folder / "requirements.lock").write_text("")
        return folder

    make("low")
    make("middle", "low")
    return make("top", "middle")


def imports(python, *modules):
    code = "; ".join(f"import {module}" for module in modules)
    return subprocess.run([python, "-P", "-c", code], check=False).returncode == 0


def test_libraries_are_found_through_all_levels(package, tmp_path):
    assert local_libraries(package) == [tmp_path / "low", tmp_path / "middle"]


def test_made_on_first_use_and_left_alone_afterwards(package, capfd):
    assert not is_current(package)
    python = ensure(package)
    assert imports(python, "top", "middle", "low")
    assert "ready after" in capfd.readouterr().err
    stamp = (package / ".venv" / "aframe-stamp").stat().st_mtime_ns
    begun = time.monotonic()
    assert ensure(package) == python
    assert time.monotonic() - begun < 0.1
    assert (package / ".venv" / "aframe-stamp").stat().st_mtime_ns == stamp
    assert capfd.readouterr().err == ""


def test_a_change_of_lock_or_of_a_librarys_pyproject_is_seen(package, tmp_path):
    ensure(package)
    (package / "requirements.lock").write_text("# another\n")
    assert not is_current(package)
    ensure(package)
    assert is_current(package)
    low = tmp_path / "low" / "pyproject.toml"
    low.write_text(low.read_text() + "# another\n")
    assert not is_current(package)


@pytest.mark.parametrize("left", ["unfinished", None])
def test_half_made_is_made_afresh(package, left):
    python = ensure(package)
    stamp = package / ".venv" / "aframe-stamp"
    (package / ".venv" / "rubbish").write_text("of a killed installation")
    if left is None:
        stamp.unlink()
    else:
        stamp.write_text(left)
    assert not is_current(package)
    ensure(package)
    assert is_current(package)
    assert not (package / ".venv" / "rubbish").exists()
    assert imports(python, "top")


def test_two_workers_make_it_once(package):
    code = "import sys; from pathlib import Path; from aframe.environment import ensure; "
    code += "ensure(Path(sys.argv[1]))"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(package)], stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    texts = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("ready after" in text for text in texts) == 1


def test_failures_are_sentences(package, tmp_path, monkeypatch):
    with pytest.raises(SetupError, match=r"no package in .*nowhere: packages are libs/"):
        ensure(tmp_path / "nowhere")
    (package / "requirements.lock").write_text("this is no lock\n")
    with pytest.raises(SetupError, match="failed with exit code"):
        ensure(package)
    assert not is_current(package)
    (package / "requirements.lock").unlink()
    with pytest.raises(SetupError, match=r"requirements.lock is missing: write it with"):
        ensure(package)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(SetupError, match="run `make setup`"):
        environment.find_uv()


def test_uv_python_of_the_caller_changes_nothing(package, monkeypatch):
    monkeypatch.setenv("UV_PYTHON", "/nowhere/python")
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    assert imports(ensure(package), "top")


def test_command_line(package, tmp_path, capfd):
    assert environment.main([str(package)]) == 0
    assert "1 of 1: top" in capfd.readouterr().err
    assert environment.main([str(package)]) == 0
    assert capfd.readouterr().err == "environment: 1 up to date\n"
    assert environment.main([str(tmp_path / "nowhere")]) == 1
    assert capfd.readouterr().err.splitlines()[-1].startswith("environment: no package in")
