"""Run every check: lint, types, each package's tests in its own environment, the root's.

Packages are tested side by side, one thread each, as many as there are cores (four at most); what
the tests of a package print appears when they have ended. Prints one closing line, `N passed, N
failed, N skipped`, and exits non-zero if anything failed. `--lint` stops after lint and types.
Further arguments go to each pytest.
"""

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aframe.environment import REPOSITORY, SetupError, ensure, packages
from aframe.sandbox import THREADING

BIN = Path(sys.prefix) / "bin"


@dataclass
class Count:
    """How many checks ended how."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: "Count") -> None:
        """Add another count to this one."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def say(line: str) -> None:
    """Write a line at once, in order with the output of the commands."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def check(name: str, *command: str | Path) -> Count:
    """Run a command that passes or fails as a whole."""
    say(f"\n=== {name}")
    code = subprocess.run([*map(str, command)], cwd=REPOSITORY, check=False).returncode
    return Count(passed=int(code == 0), failed=int(code != 0))


def lint() -> Count:
    """Ruff's two checks, and mypy on the orchestration and each library."""
    total = Count()
    total.add(check("ruff check", BIN / "ruff", "check", "."))
    total.add(check("ruff format", BIN / "ruff", "format", "--check", "."))
    libraries = [path / path.name for path in sorted((REPOSITORY / "libs").iterdir())]
    typed = [str(path) for path in libraries if path.is_dir()]
    total.add(check("mypy", BIN / "mypy", "aframe", *typed))
    return total


def run_pytest(name: str, python: Path, tests: Path, extra: list[str]) -> Count:
    """Run a folder of tests, show what they print, and count them from pytest's own report."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        # -P: the tests see what is installed, not what happens to lie in the current folder.
        command = [python, "-P", "-u", "-m", "pytest", "-c", REPOSITORY / "pyproject.toml"]
        command += ["--rootdir", REPOSITORY, f"--junitxml={report}", tests, *extra]
        done = subprocess.run(
            [*map(str, command)],
            cwd=REPOSITORY,
            env=os.environ | THREADING | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        say(f"\n=== {name}: tests, {time.monotonic() - begun:.0f} s\n{done.stdout}")
        if not report.exists():
            say(f"{name}: pytest ended with exit code {done.returncode} and no report")
            return Count(failed=1)
        suite = ElementTree.parse(report).getroot().find("testsuite")
    numbers = {key: int(suite.get(key, 0)) if suite is not None else 0 for key in SUITE_KEYS}
    failed = numbers["failures"] + numbers["errors"]
    if done.returncode and not failed:
        say(f"{name}: pytest ended with exit code {done.returncode}")
        failed = 1
    passed = numbers["tests"] - numbers["failures"] - numbers["errors"] - numbers["skipped"]
    return Count(passed=max(passed, 0), failed=failed, skipped=numbers["skipped"])


def make_environments() -> tuple[dict[Path, Path], Count]:
    """Python of each package's environment, and a failure for each that cannot be made."""
    pythons, failures = {}, Count()
    for package in packages():
        try:
            pythons[package] = ensure(package)
        except SetupError as error:
            say(f"{package.relative_to(REPOSITORY)}: {error}")
            failures.add(Count(failed=1))
    return pythons, failures


def tests_size(package: Path) -> int:
    """Bytes of a package's tests: with the longest first, none is left over alone at the end."""
    return sum(path.stat().st_size for path in (package / "tests").rglob("*.py"))


SUITE_KEYS = ("tests", "failures", "errors", "skipped")


def main(arguments: list[str]) -> int:
    """Run all; the exit code is 1 if anything failed."""
    begun = time.monotonic()
    total = lint()
    if "--lint" not in arguments:
        pythons, failures = make_environments()
        total.add(failures)
        suites = [("aframe", Path(sys.executable), REPOSITORY / "tests")]
        for package in sorted(pythons, key=tests_size, reverse=True):
            name = str(package.relative_to(REPOSITORY))
            suites.append((name, pythons[package], package / "tests"))
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as pool:
            for count in pool.map(lambda suite: run_pytest(*suite, arguments), suites):
                total.add(count)
    say(f"\nafter {time.monotonic() - begun:.0f} s:")
    say(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return int(total.failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
