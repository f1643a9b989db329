"""Which services a live installation runs, and where each finds its files."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Folders of a live installation.

    Attributes:
        root: The folder that holds all of it.
    """

    root: Path

    @property
    def frames(self) -> Path:
        """Frames as they come."""
        return self.root / "frames"

    @property
    def store(self) -> Path:
        """All versions."""
        return self.root / "models"

    @property
    def trainings(self) -> Path:
        """What the trainer works on."""
        return self.root / "trainings"

    @property
    def turn(self) -> Path:
        """Lock of the cleaner that works; another one waits for it."""
        return self.root / ".turn"

    @property
    def cold(self) -> Path:
        """Long stretches of what was cleaned."""
        return self.root / "cold"

    @property
    def address(self) -> Path:
        """File that says where the status page is."""
        return self.root / "status.url"


def verb(name: str, turn: Path | None = None, **options: object) -> list[str]:
    """Command line of a verb; options that are None are left out.

    Args:
        name: The verb.
        turn: Lock of those of which one at a time works, the others waiting; none if None.
        options: Its options.
    """
    module = ["deepclean"] if turn is None else ["deepclean.live.turn", str(turn)]
    words = [sys.executable, "-P", "-m", *module, name]
    for option, value in options.items():
        if value is not None:
            words += [f"--{option}", _shown(value)]
    return words


def _shown(value: object) -> str:
    """A value as a command line takes it."""
    if isinstance(value, float) and math.isinf(value):
        return ".inf"
    return str(value).lower() if isinstance(value, bool) else str(value)
