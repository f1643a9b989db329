"""The commands in the documentation: tasks, options, targets and files that they name exist."""

import importlib
import itertools
import pkgutil
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY
from runtime.experiment import FetchedStrain, SimulatedStrain

import aframe.pipelines
import aframe.tasks
from aframe.__main__ import make_parser
from aframe.environment import packages

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
# What luigi and law take besides a task's parameters.
COMMON = {"--workers", "--print-status", "--remove-output", "--help"}
SITES = ("laptop", "slurm", "ldg", "kubernetes")


@dataclass(frozen=True)
class Command:
    """A command of a page, and where it stands."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def blocks(page: Path) -> list[str]:
    """Blocks of code: those between fences, and those indented by four spaces."""
    text = page.read_text()
    fenced = re.findall(r"(?ms)^```(?:console|bash|sh)?\n(.*?)^```", text)
    text = re.sub(r"(?ms)^```.*?^```", "", text)
    indented = re.findall(r"(?m)(?:^ {4}.*\n(?:\n(?= {4}))?)+", text)
    return fenced + [re.sub("(?m)^ {4}", "", block) for block in indented]


def commands(page: Path) -> list[Command]:
    """Commands that begin with a program that is looked at."""
    found = []
    for block in blocks(page):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                continue  # not of a shell
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            for program in ("law", "make", "aframe", "python"):
                if words and words[0].removeprefix(".venv/bin/") == program:
                    found.append(Command(page.name, (program, *words[1:])))
    return found


COMMANDS = [command for page in PAGES for command in commands(page)]


def select(*beginning: str) -> list[Command]:
    return [found for found in COMMANDS if found.words[: len(beginning)] == beginning]


def find_task(name: str) -> type:
    """The class that `law run NAME` runs; `aframe.X` is any task of `aframe.tasks`."""
    module, _, last = name.rpartition(".")
    if module != "aframe":
        return getattr(importlib.import_module(module), last)
    for part in pkgutil.iter_modules(aframe.tasks.__path__):
        loaded = importlib.import_module(f"aframe.tasks.{part.name}")
        if hasattr(loaded, last):
            return getattr(loaded, last)
    raise AttributeError(f"no task {name}")


@pytest.mark.parametrize("command", select("law", "run"), ids=str)
def test_tasks_and_their_options(command):
    _, _, name, *rest = command.words
    task = find_task(name)
    parameters = {f"--{p.replace('_', '-')}" for p, _ in task.get_params()}
    parameters |= {f"--{p.replace('_', '-')}" for p in getattr(task, "interactive_params", ())}
    options = [word.partition("=")[0] for word in rest if word.startswith("--")]
    assert set(options) <= parameters | COMMON
    values = dict(itertools.pairwise(rest))
    experiment = values.get("--experiment", "quickstart")
    if "/" not in experiment and not experiment.isupper():
        assert (REPOSITORY / "configs" / experiment / "experiment.yaml").is_file()


@pytest.mark.parametrize("command", select("make"), ids=str)
def test_targets(command):
    makefile = (REPOSITORY / "Makefile").read_text()
    _, target, *settings = command.words
    assert re.search(rf"(?m)^{target}:", makefile)
    for setting in settings:
        variable = setting.partition("=")[0]
        # one that a script of the target reads is named in the head of the Makefile
        assert re.search(rf"\$\(+{variable}\)|{variable}=", makefile), setting


@pytest.mark.parametrize("command", select("aframe"), ids=str)
def test_verbs(command):
    given = make_parser().parse_args(command.words[1:])
    if given.verb == "init":
        assert (REPOSITORY / "configs" / given.source / "experiment.yaml").is_file()


@pytest.mark.parametrize("command", select("python", "-m"), ids=str)
def test_modules(command):
    _, _, module, *rest = command.words
    folders = {folder.name.replace("-", "_"): folder for folder in packages()}
    first, *others = module.split(".")
    root = REPOSITORY / first if first == "aframe" else folders[first] / first
    path = root.joinpath(*others)
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
    if module == "aframe.environment":
        for word in rest:
            assert word.startswith("--") or (REPOSITORY / word / "pyproject.toml").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("name", SITES)
def test_a_page_for_a_site_begins_with_its_commands(name):
    page = REPOSITORY / "docs" / f"{name}.md"
    title, empty, first = page.read_text().splitlines()[:3]
    assert title.startswith("# ")
    assert empty == ""
    assert first.startswith("    ")
    assert len(commands(page)) >= 4


def test_settings_of_strain_exist():
    """Those in the page on the Data Grid."""
    found = [block for block in blocks(REPOSITORY / "docs" / "ldg.md") if "provider:" in block]
    assert found
    for block in found:
        text = block.partition("\n\n")[0]
        known = {*FetchedStrain.model_fields, *SimulatedStrain.model_fields}
        assert set(yaml.safe_load(text)["strain"]) <= known


def test_what_the_checks_would_find():
    """Commands are found at all, and tasks and options are really looked up."""
    assert len(select("law", "run")) > 15
    assert len(select("make")) > 8
    with pytest.raises(AttributeError):
        find_task("aframe.TrainLocally")
    with pytest.raises(AssertionError):
        test_tasks_and_their_options(
            Command("x", ("law", "run", "aframe.TrainLocal", "--experimnt", "quickstart"))
        )
