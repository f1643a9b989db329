"""Cleaned frames."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cleaning import Cleaned, Problem

from deepclean.frames import frame_name, list_frames, write_frame

DESCRIPTION = "DEEPCLEAN"
EARLY = "DEEPCLEAN_EARLY"
STATE_RATE = 16
"""Rate of the channels that say what was done [Hz]."""
GOOD, CLEANED, DROPPED = 1, 2, 4
"""Bits of the state: the gate held the second for good; OUT_DQ is cleaned in all of it; witnesses
were missing in it."""


@dataclass(frozen=True)
class Output:
    """A folder of cleaned frames.

    Attributes:
        folder: Where they go.
        problem: What was cleaned.
        early: Folder for frames with the production channel alone, one second earlier; none if
            None.
    """

    folder: Path
    problem: Problem
    early: Path | None = None

    @property
    def site(self) -> str:
        """Letter of the site."""
        return self.problem.ifo[0]

    def channel(self, suffix: str) -> str:
        """Full name of an output channel."""
        return f"{self.problem.strain_channel}_DEEPCLEAN_{suffix}"

    def next_second(self) -> int | None:
        """Second after the last that was written [GPS s]; None if nothing was."""
        if not self.folder.is_dir():
            return None
        frames = [name.stop for name in list_frames(self.folder)]
        return max(frames, default=None)

    def tidy(self) -> None:
        """Remove what an earlier writer was ended in the middle of."""
        for folder in (self.folder, self.early):
            for path in [] if folder is None else folder.glob(".*.partial"):
                path.unlink(missing_ok=True)

    def channels(self, cleaned: Cleaned) -> dict[str, np.ndarray]:
        """Samples of a second by the names of their channels."""
        whole = bool(np.array_equal(cleaned.out_dq, cleaned.production))
        bits = GOOD * cleaned.good + CLEANED * (whole and cleaned.production_version > 0)
        bits += DROPPED * cleaned.dropped

        def flat(value: int) -> np.ndarray:
            return np.full(STATE_RATE, value, dtype=np.int32)

        prefix = f"{self.problem.ifo}:DEEPCLEAN"
        return {
            self.channel("PRODUCTION_OUT_DQ"): cleaned.out_dq,
            self.channel("PRODUCTION"): cleaned.production,
            self.channel("CANARY"): cleaned.canary,
            f"{prefix}-STATE": flat(bits),
            f"{prefix}-VERSION_PRODUCTION": flat(cleaned.production_version),
            f"{prefix}-VERSION_CANARY": flat(cleaned.canary_version),
        }

    def history(self, cleaned: Cleaned) -> dict[str, str]:
        """What is kept with a frame, as text: what made it, and what the gate measured."""
        content = {
            "problem": self.problem.name,
            "problem_digest": self.problem.digest,
            "production": cleaned.production_version,
            "canary": cleaned.canary_version,
            "ratios": cleaned.ratios.inside,
            "canary_ratios": cleaned.canary_ratios.inside,
        }
        return {"deepclean": json.dumps(content)}

    def write(self, cleaned: Cleaned) -> Path:
        """Write a second; returns its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / frame_name(self.site, DESCRIPTION, cleaned.second)
        write_frame(path, cleaned.second, 1, self.channels(cleaned), self.history(cleaned))
        return path

    def write_early(self, second: int, production: np.ndarray) -> Path | None:
        """Write the production channel alone, if it is asked for; returns its file."""
        if self.early is None:
            return None
        self.early.mkdir(parents=True, exist_ok=True)
        path = self.early / frame_name(self.site, EARLY, second)
        write_frame(path, second, 1, {self.channel("PRODUCTION"): production})
        return path
