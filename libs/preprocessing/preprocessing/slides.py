"""Which feature frames meet in a time slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Stretch:
    """A gapless run of feature frames.

    Attributes:
        gps_start: GPS time at which the first frame's view begins [s].
        num_frames: Number of frames.
        left_out: GPS windows that no score may look at, half open [s].
        label: Name of the data, for reports.
        vetoes: The same as `left_out` for the data of one detector, by its place in `shifts`.
    """

    gps_start: float
    num_frames: int
    left_out: Sequence[tuple[float, float]] = ()
    label: str = ""
    vetoes: Mapping[int, Sequence[tuple[float, float]]] = field(default_factory=dict)


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
        self.usable = self._usable(view_length, None)
        vetoed = sorted({ifo for stretch in self.stretches for ifo in stretch.vetoes})
        self._usable_of = {ifo: self._usable(view_length, ifo) for ifo in vetoed}
        self._runs: dict[int, np.ndarray] = {}

    def _usable(self, view_length: float, ifo: int | None) -> np.ndarray:
        usable = np.zeros(self.size, dtype=bool)
        for stretch, offset in zip(self.stretches, self.offsets[:-1], strict=True):
            count = max(0, stretch.num_frames - self.window_size + 1)
            here = np.ones(count, dtype=bool)
            begin = stretch.gps_start + np.arange(count) / self.frame_rate
            end = begin + (self.window_size - 1) / self.frame_rate + view_length
            vetoes = () if ifo is None else stretch.vetoes.get(ifo, ())
            for start, stop in (*stretch.left_out, *vetoes):
                # both ends are in order, so what a window takes is one run
                first = np.searchsorted(end, start, side="right")
                here[first : np.searchsorted(begin, stop, side="left")] = False
            usable[offset : offset + count] = here
        return usable

    def usable_of(self, ifo: int) -> np.ndarray:
        """Whether the window that begins at each frame may be scored, by one detector's data."""
        return self._usable_of.get(ifo, self.usable)

    def gps(self, frame: np.ndarray) -> np.ndarray:
        """GPS time at which the view of each frame begins [s]."""
        place = np.searchsorted(self.offsets, frame, side="right") - 1
        starts = np.array([s.gps_start for s in self.stretches])
        return starts[place] + (frame - self.offsets[place]) / self.frame_rate

    def partner(self, frame: np.ndarray, shift: int) -> np.ndarray:
        """Frame of a shifted detector that meets each frame of the unshifted one."""
        return (frame + shift) % self.size

    def scored_runs(self, shifts: Sequence[int]) -> np.ndarray:
        """Runs of frames of the first detector at which a window begins that counts in a slide.

        The cost grows with the number of runs, not of frames.

        Args:
            shifts: Shift of each detector, in frames; that of the first is 0.

        Returns:
            Array of shape (run, 2): first frame and frame after the last, increasing.
        """
        edges, steps = [], []
        for ifo, shift in enumerate(shifts):
            runs = self._runs_of(ifo)
            begin = (runs[:, 0] - shift) % self.size
            end = begin + runs[:, 1] - runs[:, 0]
            # what reaches over the row's end goes on at its beginning
            over = end[end > self.size] - self.size
            edges += [begin, np.zeros_like(over), np.minimum(end, self.size), over]
            steps += [1] * (len(begin) + len(over)) + [-1] * (len(end) + len(over))
        places = np.concatenate(edges)
        order = np.argsort(places, kind="stable")
        places = places[order]
        # a run of all detectors lasts until the next edge of any
        all_here = np.cumsum(np.array(steps)[order])[:-1] == len(shifts)
        all_here &= places[1:] > places[:-1]
        return np.stack((places[:-1][all_here], places[1:][all_here]), axis=1)

    def _runs_of(self, ifo: int) -> np.ndarray:
        """Runs of a detector's usable frames, of shape (run, 2)."""
        if ifo not in self._runs:
            usable = self.usable_of(ifo)
            edges = np.flatnonzero(np.diff(usable, prepend=False, append=False))
            self._runs[ifo] = edges.reshape(-1, 2)
        return self._runs[ifo]

    def num_scored(self, shifts: Sequence[int], stride: int = 1) -> int:
        """How many windows count in a slide.

        Args:
            shifts: Shift of each detector, in frames; that of the first is 0.
            stride: Frames between two windows, the first of which begins with the row.
        """
        # windows that begin before each edge
        before = -(-self.scored_runs(shifts) // stride)
        return int((before[:, 1] - before[:, 0]).sum())

    def scored(self, shifts: Sequence[int]) -> np.ndarray:
        """Whether the window that begins at each frame of the first detector counts in a slide.

        Args:
            shifts: Shift of each detector, in frames; that of the first is 0.
        """
        counts = np.zeros(self.size, dtype=bool)
        for begin, end in self.scored_runs(shifts):
            counts[begin:end] = True
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
        time = timeline.num_scored(shifts, stride) * stride / timeline.frame_rate
        if time > 0:
            slides.append(shifts)
            reached += time
        if reached >= livetime:
            break
    return slides
