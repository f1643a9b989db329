"""Who may import whom, read from the sources."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
LIBRARIES = sorted(path.name for path in (REPOSITORY / "libs").iterdir() if path.is_dir())
STAGES = sorted(path.name for path in (REPOSITORY / "projects").iterdir() if path.is_dir())

# Distributions whose modules have another name.
MODULES = {
    "pyyaml": {"yaml"},
    "lalsuite": {"lal", "lalsimulation", "lalframe", "LALSimulation"},
    "docstring-parser": {"docstring_parser"},
    "aframe-ledger": {"ledger"},
    "aframe-runtime": {"runtime"},
    "aframe-priors": {"priors"},
    "aframe-preprocessing": {"preprocessing"},
    "aframe-waveforms": {"waveforms"},
    "aframe-architectures": {"architectures"},
    "aframe-hermes": {"hermes"},
    "aframe-cleaning": {"cleaning"},
    "nvidia-pytriton": {"pytriton", "triton_python_backend_utils", "c_python_backend_utils"},
    "scikit-learn": {"sklearn"},
    "jinja2": {"jinja2"},
    "protobuf": {"google"},
    "grpcio": {"grpc"},
}


def imported(*folders: Path) -> dict[str, set[str]]:
    """Top-level modules that the sources in some folders import, with the files that do."""
    found: dict[str, set[str]] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                where = found.setdefault(name.split(".")[0], set())
                where.add(str(path.relative_to(REPOSITORY)))
    return found


def project_table(package: Path) -> dict[str, Any]:
    """The parsed `pyproject.toml` of a package."""
    return tomllib.loads((package / "pyproject.toml").read_text())


def module_of(package: Path) -> str:
    """Name of the module that a package holds."""
    return project_table(package)["tool"]["uv"]["build-backend"]["module-name"]


def sources(kind: str, name: str) -> dict[str, set[str]]:
    """Imports of a package and its tests; its environment lies beside them and does not count."""
    package = REPOSITORY / kind / name
    return imported(package / module_of(package), package / "tests")


def assert_none(found: dict[str, set[str]], forbidden) -> None:
    bad = {name: sorted(found[name]) for name in found if name in forbidden}
    assert not bad


def test_the_orchestration_imports_no_stage_and_no_physics():
    found = imported(REPOSITORY / "aframe")
    heavy = {"torch", "ml4gw", "gwpy", "lightning", "bilby", "lal", "lalsimulation", "scipy"}
    others = set(LIBRARIES) - {"ledger", "runtime"}
    assert_none(found, heavy | set(STAGES) | others)


def test_the_orchestration_does_not_load_them_either():
    """Also not through the libraries that it uses."""
    code = (
        "import sys, aframe.tasks, aframe.pipelines.sandbox; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'ml4gw', 'gwpy', 'lightning')))"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_import_no_stage_and_no_orchestration(name):
    assert_none(sources("libs", name), {*STAGES, "aframe", "law", "luigi"})


@pytest.mark.parametrize("name", STAGES)
def test_stages_import_neither_each_other_nor_law(name):
    forbidden = (set(STAGES) - {name}) | {"aframe", "law", "luigi"}
    assert_none(sources("projects", name), forbidden)


@pytest.mark.parametrize(
    "folder",
    [
        *(f"libs/{name}" for name in LIBRARIES),
        *(f"projects/{name}" for name in STAGES),
        ".",
    ],
)
def test_every_import_is_a_declared_dependency(folder):
    package = REPOSITORY / folder
    project = project_table(package)["project"]
    name = module_of(package)
    declared = set(sys.stdlib_module_names) | {name}
    extras = project.get("optional-dependencies", {})
    optional = [item for extra, items in extras.items() if extra != "test" for item in items]
    for requirement in [*project["dependencies"], *optional]:
        match = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert match
        distribution = match.group().lower()
        declared |= MODULES.get(distribution, {distribution.replace("-", "_")})
    found = imported(package / name)
    undeclared = {module: sorted(found[module]) for module in found if module not in declared}
    assert not undeclared
