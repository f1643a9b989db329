"""Say which packages of an environment belong into a stage's image.

`packages.py local PROJECT` prints the folders of the local packages that the stage is made of,
those below first. `packages.py unneeded PROJECT ENVIRONMENT` prints what the lock has installed
for tests alone. Runs with the Python of the image, and the `packaging` that is part of pip.
"""

import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name


def find_local(folder: Path) -> Iterator[Path]:
    """Folders of a package and of the local packages below it, by paths in `pyproject.toml`."""
    table = tomllib.loads((folder / "pyproject.toml").read_text())
    for source in table.get("tool", {}).get("uv", {}).get("sources", {}).values():
        if "path" in source:
            yield from find_local((folder / source["path"]).resolve())
    yield folder


def find_unneeded(folder: Path, environment: Path) -> set[str]:
    """Names of what is installed and neither the package nor anything that it needs.

    Args:
        folder: The stage's package.
        environment: The virtual environment.
    """
    places = [str(path) for path in environment.glob("lib/python*/site-packages")]
    installed: dict[str, Distribution] = {
        canonicalize_name(found.name): found for found in distributions(path=places)
    }
    table = tomllib.loads((folder / "pyproject.toml").read_text())
    waiting: list[tuple[str, frozenset[str]]] = [
        (canonicalize_name(table["project"]["name"]), frozenset())
    ]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for text in installed[name].requires or () if name in installed else ():
            wanted = Requirement(text)
            if wanted.marker is None or any(
                wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                entry = (canonicalize_name(wanted.name), frozenset(wanted.extras))
                if entry not in seen:
                    seen.add(entry)
                    waiting.append(entry)
    return set(installed) - {name for name, _ in seen}


if __name__ == "__main__":
    question, project, *rest = sys.argv[1:]
    if question == "local":
        # several packages may be built on one library
        lines = list(dict.fromkeys(map(str, find_local(Path(project).resolve()))))
    else:
        lines = sorted(find_unneeded(Path(project).resolve(), Path(rest[0])))
    sys.stdout.write("".join(f"{line}\n" for line in lines))
