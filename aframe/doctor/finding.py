"""What was found of one thing that a pipeline may use."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# A controller that is down lets its commands wait for minutes.
PATIENCE = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing on the machine.

    Attributes:
        name: What it is.
        there: Whether it can be used.
        found: What was found, in a few words; never the value of a key.
        enables: What it is for, or how to get it.
        required: Whether `make sandbox` needs it.
    """

    name: str
    there: bool
    found: str
    enables: str
    required: bool = False

    @property
    def state(self) -> Literal["there", "missing", "needed"]:
        """In a word: `needed` is missing, and required."""
        if self.there:
            return "there"
        return "needed" if self.required else "missing"


def ask(command: Sequence[str]) -> tuple[bool, str]:
    """Run a short command.

    Returns:
        Whether it is there and ended well, and the first line of what it said.
    """
    program = shutil.which(command[0])
    if program is None:
        return False, f"no {command[0]}"
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"{command[0]} gives no answer within {PATIENCE:g} s"
    except OSError as error:
        return False, f"{command[0]} does not run: {error.strerror}"
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    said = lines[0] if lines else ""
    if done.returncode:
        return False, f"{command[0]} fails: {said or f'exit code {done.returncode}'}"
    return True, said
