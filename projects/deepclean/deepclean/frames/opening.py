"""The folders that hold a problem's frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepclean.frames.folder import FrameFolder
from deepclean.frames.guarded import GuardedReader

if TYPE_CHECKING:
    # the process that reads frames is to start quickly, without torch
    from cleaning import Problem


def open_frames(
    problem: Problem, frames: Path, reader: GuardedReader
) -> tuple[FrameFolder, FrameFolder]:
    """Strain and witness frames of a folder, with all channels of the problem.

    Args:
        problem: Names the channels.
        frames: Folder with `strain/` and `witness/`; the state vector is among the witnesses.
        reader: Reads the files.

    Raises:
        FileNotFoundError: There is no such folder, or no frame file in it.
        FrameError: No file can be read, or channels are missing.
    """
    state = () if problem.state_channel is None else (problem.state_channel,)
    return (
        FrameFolder(Path(frames) / "strain", [problem.strain_channel], reader),
        FrameFolder(Path(frames) / "witness", [*problem.witnesses, *state], reader),
    )
