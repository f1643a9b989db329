"""Which services a live installation runs, and where each finds its files."""

from __future__ import annotations

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
    def cold(self) -> Path:
        """Long stretches of what was cleaned."""
        return self.root / "cold"

    @property
    def address(self) -> Path:
        """File that says where the status page is."""
        return self.root / "status.url"


def verb(name: str, **options: object) -> list[str]:
    """Command line of a verb; options that are None are left out."""
    words = [sys.executable, "-P", "-m", "deepclean", name]
    for option, value in options.items():
        if value is not None:
            words += [f"--{option}", str(value).lower() if isinstance(value, bool) else str(value)]
    return words
