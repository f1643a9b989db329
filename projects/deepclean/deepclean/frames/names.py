"""Names of frame files, and which of them lie in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Format = Literal["gwf", "hdf5"]
"""How frames are written: LIGO's frame format, or HDF5 as gwpy lays it out."""

# LIGO-T010150: site, description, start and duration [GPS s]
_NAME = re.compile(r"([A-Z]+)-(\w+)-(\d+)-(\d+)\.(gwf|hdf5|h5)")


@dataclass(frozen=True, order=True)
class FrameName:
    """What the name of a frame file says.

    Attributes:
        start: First second [GPS s].
        duration: Length [s].
        site: Letter of the site.
        description: What the frames hold.
        path: Where the file lies.
    """

    start: int
    duration: int
    site: str
    description: str
    path: Path

    @property
    def stop(self) -> int:
        """Second after the last [GPS s]."""
        return self.start + self.duration


def frame_name(
    site: str, description: str, start: int, duration: int = 1, format: Format = "gwf"
) -> str:
    """Name of a frame file.

    Args:
        site: Letter of the site, such as `H`.
        description: What it holds, without hyphens.
        start: First second [GPS s].
        duration: Length [s].
        format: How it is written.
    """
    return f"{site}-{description}-{start}-{duration}.{format}"


def parse_frame_name(path: Path) -> FrameName | None:
    """What a file's name says; None if it is no frame file's."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    site, description, start, duration, _ = match.groups()
    return FrameName(int(start), int(duration), site, description, path)


def list_frames(folder: Path) -> list[FrameName]:
    """Frame files of a folder, in time order.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: expected one of frame files")
    return sorted(name for path in folder.iterdir() if (name := parse_frame_name(path)))
