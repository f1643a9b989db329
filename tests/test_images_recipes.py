"""What images are built from, checked without building: `test_images.py` builds some."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from aframe.environment import REPOSITORY

DEFINITIONS = sorted(REPOSITORY.glob("projects/*/apptainer.def"))
# In place of apptainer, or docker: writes down what it is asked for, and makes a file.
FAKE = """#!{python}
import json, os, sys
from pathlib import Path
arguments = sys.argv[1:]
mount = next((a.partition(":")[0] for a in arguments if a.endswith(":/mnt")), None)
place = Path(arguments[-1]) if Path(arguments[-1]).is_dir() else Path.cwd()
with open({record!r}, "a") as record:
    record.write(json.dumps({{
        "arguments": arguments,
        "files": sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()),
        "settings": Path(mount, "settings").read_text() if mount else "",
    }}) + "\\n")
if "broken" in arguments[-1]:
    sys.exit("no space left")
if arguments[-1].endswith(".def"):
    Path(arguments[-2]).touch()
"""


def section(text: str, name: str) -> str:
    """A section of a definition file, without its heading."""
    found = re.search(rf"^%{name}\n((?:(?!%).*\n?)*)", text, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.parent.name)
def test_a_definition_says_what_it_is_and_checks_itself(path):
    project, text = path.parent.name, path.read_text()
    assert section(text, "test").strip()
    for word in ("reads", "writes"):
        assert re.search(rf"^ +{word} +\S", section(text, "help"), re.MULTILINE)
    assert re.search(rf"^ +apptainer run .*{project}\.sif ", section(text, "help"), re.MULTILINE)
    labels = dict(line.split(maxsplit=1) for line in section(text, "labels").splitlines() if line)
    assert labels["org.opencontainers.image.title"] == f"aframe-{project}"
    assert labels["org.opencontainers.image.version"] == "{{ VERSION }}"
    assert labels["org.opencontainers.image.revision"] == "{{ COMMIT }}"
    assert section(text, "post").split("\n")[0].endswith(f"/install-stage.sh {project}")
    # each file that is copied is one of the repository, and lies at the same place in the image
    for line in section(text, "files").splitlines():
        if line.strip():
            source, target = line.split()
            assert target == f"/opt/aframe/{source}"
            assert (REPOSITORY / source).exists()


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.parent.name)
def test_docker_takes_the_steps_of_the_definition(path):
    dockerfile = (REPOSITORY / "apptainer" / "Dockerfile").read_text()
    programs = set(re.findall(r"awk '([^']+)'", dockerfile))
    assert len(programs) == 1
    steps = subprocess.run(
        ["awk", programs.pop(), str(path)], check=True, capture_output=True, text=True
    ).stdout
    assert steps == section(path.read_text(), "post")
    assert steps.strip()


def test_docker_sets_the_variables_of_the_base():
    base = section((REPOSITORY / "apptainer" / "base.def").read_text(), "environment")
    exported = set(re.findall(r"(?:export| )\s*([A-Z_]+)=(?=\S)", base))
    dockerfile = (REPOSITORY / "apptainer" / "Dockerfile").read_text()
    environment = re.search(r"^ENV ((?:.*\\\n)*.*)", dockerfile, re.MULTILINE)
    assert environment is not None
    assert exported <= set(re.findall(r"([A-Z_]+)=", environment[1]))


class Tree:
    """A repository of three projects, two of them with an image, and programs that only note."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        self.record = folder / "record"
        self.programs = folder / "bin"
        shutil.copytree(REPOSITORY / "apptainer", self.folder / "apptainer")
        for name in ("alpha", "broken", "unpackaged"):
            project = self.folder / "projects" / name
            (project / name).mkdir(parents=True)
            (project / name / "__init__.py").write_text("")
            (project / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
            for left_out in (".venv/big", "tests/test_it.py", f"{name}/__pycache__/old.pyc"):
                (project / left_out).parent.mkdir(parents=True, exist_ok=True)
                (project / left_out).write_text("")
        for name in ("alpha", "broken"):
            (self.folder / "projects" / name / "apptainer.def").write_text("Bootstrap: scratch\n")
        (self.folder / "libs" / "low").mkdir(parents=True)
        (self.folder / "libs" / "low" / "low.py").write_text("")
        (self.folder / "requirements.lock").write_text("")
        self.programs.mkdir()
        for name in ("apptainer", "docker"):
            program = self.programs / name
            program.write_text(FAKE.format(python=sys.executable, record=str(self.record)))
            program.chmod(0o755)

    def build(self, *projects: str, **settings: str) -> subprocess.CompletedProcess:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_", "SSL_"))}
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", str(self.folder / "apptainer" / "build.sh"), *projects],
            env={**kept, "PATH": path, "AFRAME_CONTAINER_ROOT": "", **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[dict]:
        calls = [json.loads(line) for line in self.record.read_text().splitlines()]
        self.record.unlink()
        return calls

    @property
    def images(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "images").glob("*.sif"))


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_each_project_with_a_definition_is_built_once_on_one_base(tree):
    shutil.rmtree(tree.folder / "projects" / "broken")
    done = tree.build(APPTAINER_FLAGS="--fakeroot --sandbox")
    assert done.returncode == 0, done.stderr
    base, alpha = tree.calls
    assert tree.images == ["alpha.sif", "base.sif"]
    assert base["arguments"][-1] == "apptainer/base.def"
    assert alpha["arguments"][-1] == "projects/alpha/apptainer.def"
    assert alpha["files"] == [
        *sorted(f"apptainer/{path.name}" for path in (REPOSITORY / "apptainer").iterdir()),
        "libs/low/low.py",
        "projects/alpha/alpha/__init__.py",
        "projects/alpha/apptainer.def",
        "projects/alpha/pyproject.toml",
        "requirements.lock",
    ]
    assert {"--fakeroot", "--sandbox", "VERSION=1.2.3"} <= set(alpha["arguments"])
    assert f"BASE={tree.folder}/images/base.sif" in alpha["arguments"]
    # the base stays as long as it is made from the same
    tree.build("alpha")
    assert len(tree.calls) == 1
    tree.build("alpha", BASE_FROM="python:3.12-slim")
    base, alpha = tree.calls
    assert "FROM=python:3.12-slim" in base["arguments"]


def test_a_failed_build_leaves_the_image_that_was_there(tree):
    (tree.folder / "images").mkdir()
    (tree.folder / "images" / "broken.sif").write_text("old")
    assert tree.build("broken").returncode != 0
    assert (tree.folder / "images" / "broken.sif").read_text() == "old"


def test_settings_of_the_package_index_are_for_the_build_alone(tree, tmp_path):
    certificates = tmp_path / "bundle.crt"
    certificates.write_text("certificate")
    (tmp_path / "cache").mkdir()
    tree.build(
        "alpha", UV_DEFAULT_INDEX="https://index/a b", UV_CACHE_DIR=str(tmp_path / "cache"),
        SSL_CERT_FILE=str(certificates), HIDDEN="1",
    )  # fmt: skip
    _, call = tree.calls
    assert f"{tmp_path}/cache:/mnt/cache" in call["arguments"]
    script = f"set -eu\n{call['settings']}\nenv"
    found = subprocess.run(
        ["sh", "-c", script], env={}, check=True, capture_output=True, text=True
    ).stdout
    variables = dict(line.split("=", 1) for line in found.splitlines())
    assert variables["UV_DEFAULT_INDEX"] == "https://index/a b"
    assert variables["UV_CACHE_DIR"] == "/mnt/cache"
    assert variables["SSL_CERT_FILE"] == "/mnt/certificates.crt"
    assert "HIDDEN" not in call["settings"]
    assert "index" not in " ".join(call["arguments"])


def test_what_has_no_definition_is_refused(tree):
    done = tree.build("unpackaged")
    assert done.returncode == 1
    assert "no projects/unpackaged/apptainer.def: there are projects/alpha/" in done.stderr
    assert not tree.record.exists()


def test_docker_builds_from_the_same_files(tree):
    done = tree.build("alpha", ENGINE="docker", BASE_FROM="cuda:12", DOCKER_FLAGS="--network=host")
    assert done.returncode == 0, done.stderr
    (call,) = tree.calls
    assert {"--network=host", "BASE=cuda:12", "PROJECT=alpha", "VERSION=1.2.3"} <= set(
        call["arguments"]
    )
    assert "projects/alpha/alpha/__init__.py" in call["files"]
    assert not any(".venv" in path or "tests" in path for path in call["files"])


def test_packages_that_an_image_needs(tmp_path):
    """`packages.py`, on this environment and the root package."""
    script = REPOSITORY / "apptainer" / "packages.py"

    def ask(*arguments: object) -> list[str]:
        done = subprocess.run(
            [sys.executable, str(script), *map(str, arguments)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.split()

    local = [Path(line) for line in ask("local", REPOSITORY / "projects" / "evaluate")]
    assert local[-1] == REPOSITORY / "projects" / "evaluate"
    assert set(local[:-1]) == {REPOSITORY / "libs" / n for n in ("ledger", "priors", "runtime")}
    for number, folder in enumerate(local):
        table = tomllib.loads((folder / "pyproject.toml").read_text())
        for source in table.get("tool", {}).get("uv", {}).get("sources", {}).values():
            assert (folder / source["path"]).resolve() in local[:number]
    unneeded = ask("unneeded", REPOSITORY, sys.prefix)
    assert {"pytest", "ruff", "mypy"} <= set(unneeded)
    assert not {"law", "luigi", "numpy", "h5py", "uv", "aframe-runtime"} & set(unneeded)
