"""Make the environment of a package, one `.venv` beside its `pyproject.toml`.

`python -m aframe.environment projects/train ...` makes environments, and does nothing where they
are up to date; `python -m aframe.environment --lock [PACKAGE ...]` writes `requirements.lock`.
Only the standard library and the uv of the root environment are needed.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11"
# While an environment is being made its stamp says so: what a kill leaves behind is recognised.
UNFINISHED = "unfinished"


class SetupError(RuntimeError):
    """An environment cannot be made; the message says why and what to do."""


def packages(repository: Path = REPOSITORY) -> list[Path]:
    """Folders of all local packages: libraries first, then stages."""
    folders = [*sorted(repository.glob("libs/*")), *sorted(repository.glob("projects/*"))]
    return [path for path in folders if (path / "pyproject.toml").is_file()]


def project_table(folder: Path) -> dict[str, Any]:
    """The parsed `pyproject.toml` of a package.

    Raises:
        SetupError: The folder holds none, or it is not TOML.
    """
    path = folder / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        known = ", ".join(str(p.relative_to(REPOSITORY)) for p in packages())
        raise SetupError(f"no package in {folder}: packages are {known}") from None
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path} is not TOML: {error}") from None


def local_libraries(folder: Path) -> list[Path]:
    """Local packages that a package is built on, those below first.

    Follows the path entries of `[tool.uv.sources]` through all levels.
    """
    found: list[Path] = []

    def visit(package: Path) -> None:
        sources = project_table(package).get("tool", {}).get("uv", {}).get("sources", {})
        for source in sources.values():
            if "path" in source:
                library = (package / source["path"]).resolve()
                if library not in found:
                    visit(library)
                    found.append(library)

    visit(folder.resolve())
    return found


def fingerprint(folder: Path) -> str:
    """Digest of all that decides what is in an environment.

    Raises:
        SetupError: The package has no lock.
    """
    lock = folder / "requirements.lock"
    if not lock.exists():
        raise SetupError(
            f"{lock} is missing: write it with `python -m aframe.environment --lock {folder}`"
        )
    digest = hashlib.sha256(f"{sys.version_info[:3]} {folder}".encode())
    digest.update(lock.read_bytes())
    for package in (folder, *local_libraries(folder)):
        digest.update((package / "pyproject.toml").read_bytes())
    return digest.hexdigest()


def find_uv() -> str:
    """The uv of the environment that this runs in.

    Raises:
        SetupError: There is none.
    """
    uv = Path(sys.prefix) / "bin" / "uv"
    if not uv.exists():
        raise SetupError(f"no uv in {uv.parent}: run `make setup` and use .venv/bin/python")
    return str(uv)


def run_uv(*arguments: str | Path, cwd: Path | None = None) -> None:
    """Run uv, its own progress on stderr.

    Callers name the Python to act on with `-p`: it wins over UV_PYTHON and an active environment.

    Raises:
        SetupError: uv failed; its own words stand above.
    """
    command = [find_uv(), *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, stdout=sys.stderr, check=False)
    if result.returncode:
        raise SetupError(
            f"`uv {' '.join(command[1:4])} ...` failed with exit code {result.returncode}; "
            "what uv said stands above. Is a package index reachable?"
        )


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a package's environment for oneself; others wait."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{folder.name}: another process is making the environment, waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def say(line: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"environment: {line}\n")
    sys.stderr.flush()


def is_current(folder: Path) -> bool:
    """Whether the environment of a package is there and up to date; takes milliseconds."""
    stamp = folder / ".venv" / "aframe-stamp"
    try:
        return stamp.read_text() == fingerprint(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False


def ensure(folder: Path) -> Path:
    """Make a package's environment if it is not up to date.

    Args:
        folder: The package: a library or a stage.

    Returns:
        The environment's Python.

    Raises:
        SetupError: It cannot be made.
    """
    folder = folder.resolve()
    python = folder / ".venv" / "bin" / "python"
    if is_current(folder):
        return python
    project_table(folder)
    with exclusive(folder):
        if not is_current(folder):
            make(folder, python)
    return python


def make(folder: Path, python: Path) -> None:
    """Install the lock, then the local packages on top; the stamp comes last."""
    begun = time.monotonic()
    wanted = fingerprint(folder)
    stamp = folder / ".venv" / "aframe-stamp"
    say(f"{folder.name}: installing {folder / 'requirements.lock'}")
    # An environment without a finished stamp may hold half-written packages: start afresh.
    finished = stamp.exists() and stamp.read_text() != UNFINISHED and python.exists()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not finished or not (folder / ".venv" / "lib" / version).exists():
        run_uv(
            "venv", "--quiet", "--clear", "--no-python-downloads", "--python", sys.executable,
            folder / ".venv",
        )  # fmt: skip
    stamp.write_text(UNFINISHED)
    run_uv("pip", "sync", "-p", python, "--require-hashes", folder / "requirements.lock")
    editable = [part for path in (*local_libraries(folder), folder) for part in ("-e", path)]
    run_uv("pip", "install", "--quiet", "-p", python, "--no-deps", "--offline", *editable)
    stamp.write_text(wanted)
    say(f"{folder.name}: ready after {time.monotonic() - begun:.0f} s")


def lock(folder: Path, upgrade: bool = False) -> None:
    """Write a package's `requirements.lock`: versions and hashes, no index, no local package.

    Args:
        folder: The package.
        upgrade: Take the newest versions; else those of the present lock where they still fit.
    """
    local = [REPOSITORY, *packages()]
    names = [project_table(package)["project"]["name"] for package in local]
    options = [part for name in sorted(names) for part in ("--no-emit-package", name)]
    run_uv(
        "pip", "compile", "--quiet", "pyproject.toml", "--extra", "test", "--universal",
        "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header", "--no-annotate",
        "--no-emit-find-links", *(["--upgrade"] if upgrade else []), *options,
        "-o", "requirements.lock", cwd=folder,
    )  # fmt: skip
    text = (folder / "requirements.lock").read_text()
    say(f"{folder.name}: locked {len(re.findall('^[a-z]', text, re.MULTILINE))} packages")


def main(argv: list[str] | None = None) -> int:
    """Entry point of `python -m aframe.environment`."""
    parser = argparse.ArgumentParser(
        prog="python -m aframe.environment",
        description="Make the environments of packages, or write their locks.",
    )
    parser.add_argument(
        "packages", nargs="*", type=Path, metavar="PACKAGE", help="folder; all if none is given"
    )
    parser.add_argument("--lock", action="store_true", help="write requirements.lock instead")
    parser.add_argument(
        "--upgrade", action="store_true", help="with --lock: take the newest versions"
    )
    args = parser.parse_args(argv)
    folders = [path.resolve() for path in args.packages]
    try:
        if args.lock:
            for folder in folders or [REPOSITORY, *packages()]:
                lock(folder, args.upgrade)
            return 0
        folders = folders or packages()
        old = [folder for folder in folders if not is_current(folder)]
        for number, folder in enumerate(old, 1):
            say(f"{number} of {len(old)}: {folder.name}")
            ensure(folder)
        say(f"{len(folders)} up to date" + (f", {len(old)} of them made now" if old else ""))
    except SetupError as error:
        sys.stderr.write(f"environment: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
