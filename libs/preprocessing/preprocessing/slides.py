"""Which feature frames meet in a time slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stretch:
    """A gapless run of feature frames.

    Attributes:
        gps_start: GPS time at which the first frame's view begins [s].
        num_frames: Number of frames.
        left_out: GPS windows that no score may look at, half open [s].
        label: Name of the data, for reports.
    """

    gps_start: float
    num_frames: int
    left_out: Sequence[tuple[float, float]] = ()
    label: str = ""


class FrameTimeline:
    """All frames of a search in one row, and which windows of them may be scored.

    A window is a run of `window_size` frames; it counts where all of them come from one stretch
    and none looks at a time that is left out.

    Args:
        stretches: Runs of frames, in time order.
        frame_rate: Frames per second [Hz].
        window_size: Frames that one score looks at, integration included.
        view_length: Time that one frame looks at, from its own time on [s].
    """

    def __init__(
        self,
        stretches: Sequence[Stretch],
        frame_rate: float,
        window_size: int,
        view_length: float,
    ) -> None:
        self.stretches = list(stretches)
        self.frame_rate = frame_rate
        self.window_size = window_size
        self.offsets = np.cumsum([0, *(s.num_frames for s in stretches)])
        self.size = int(self.offsets[-1])
        self.usable = np.zeros(self.size, dtype=bool)
        for stretch, offset in zip(self.stretches, self.offsets[:-1], strict=True):
            count = max(0, stretch.num_frames - window_size + 1)
            usable = np.ones(count, dtype=bool)
            begin = stretch.gps_start + np.arange(count) / frame_rate
            end = begin + (window_size - 1) / frame_rate + view_length
            for start, stop in stretch.left_out:
                usable &= (end <= start) | (begin >= stop)
            self.usable[offset : offset + count] = usable

    def gps(self, frame: np.ndarray) -> np.ndarray:
        """GPS time at which the view of each frame begins [s]."""
        place = np.searchsorted(self.offsets, frame, side="right") - 1
        starts = np.array([s.gps_start for s in self.stretches])
        return starts[place] + (frame - self.offsets[place]) / self.frame_rate

    def partner(self, frame: np.ndarray, shift: int) -> np.ndarray:
        """Frame of a shifted detector that meets each frame of the unshifted one."""
        return (frame + shift) % self.size

    def scored(self, shifts: Sequence[int]) -> np.ndarray:
        """Whether the window that begins at each frame of the first detector counts in a slide.

        Args:
            shifts: Shift of each detector, in frames; that of the first is 0.
        """
        counts = np.ones(self.size, dtype=bool)
        for shift in shifts:
            counts &= np.roll(self.usable, -shift)
        return counts


def slide_shifts(
    timeline: FrameTimeline, num_ifos: int, step: float, livetime: float, stride: int = 1
) -> list[tuple[int, ...]]:
    """Circular shifts for a background, all at least `step` apart from each other and from zero.

    Detector j is shifted by j times the shift of the slide, so that every pair of detectors is
    slid by the step or more in every slide. Slides are taken in order until their livetimes
    reach what is asked for, or no independent slide is left.

    Args:
        timeline: Frames of the search.
        num_ifos: Number of detectors.
        step: Smallest distance of two slides [s].
        livetime: Livetime to reach [s].
        stride: Frames between two scores, for counting livetime.

    Returns:
        For each slide the shifts of all detectors, in frames. Empty for a single detector,
        which cannot be slid.
    """
    if num_ifos < 2:
        return []
    frames = int(np.ceil(step * timeline.frame_rate))
    slides: list[tuple[int, ...]] = []
    reached = 0.0
    # the furthest detector must not come around to within a step of its start
    last = (timeline.size - frames) // (frames * (num_ifos - 1))
    for number in range(1, last + 1):
        shifts = tuple(j * number * frames for j in range(num_ifos))
        time = np.count_nonzero(timeline.scored(shifts)[::stride]) * stride / timeline.frame_rate
        if time > 0:
            slides.append(shifts)
            reached += time
        if reached >= livetime:
            break
    return slides
