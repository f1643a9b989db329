"""Shapes of real glitches, cut from strain at the times of a trigger list."""

from __future__ import annotations

import bisect
import csv
import logging
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from ledger import GlitchSet, StrainIndex, StrainSegment
from preprocessing.recipe import WhiteningRecipe
from preprocessing.whitening import whiten
from runtime import load_experiment, make_provenance, progress, require_same
from runtime.provenance import SAME_STRAIN
from scipy import ndimage, signal

log = logging.getLogger("datagen")

# Length of a shape, the trigger in its middle [s].
SHAPE_LENGTH = 2.0
# Part of a shape, at both ends together, over which it is faded out.
FADED = 0.25
# Length of the time-frequency tiles in which a glitch is told from noise [s].
TILE_LENGTH = 1 / 16
# Tiles as loud as the quietest one kept, in one shape of pure noise, on average.
FALSE_TILES = 0.01


@dataclass(frozen=True)
class Trigger:
    """A time at which there may be a glitch.

    Attributes:
        ifo: Detector.
        time: GPS time [s].
        snr: Loudness by whoever made the list; 0 if not told.
    """

    ifo: str
    time: float
    snr: float


def read_triggers(path: Path) -> list[Trigger]:
    """Read a trigger list.

    Args:
        path: CSV file with the columns `ifo` and `time` (GPS, s), and optionally `snr`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing, a value is no number, or there is no row.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no trigger list {path}: expected a CSV file with ifo,time[,snr]")
    triggers = []
    with path.open(newline="") as file:
        table = csv.DictReader(file, skipinitialspace=True)
        missing = {"ifo", "time"} - set(table.fieldnames or ())
        if missing:
            raise ValueError(
                f"{path} has no column {', '.join(sorted(missing))}: found "
                f"{', '.join(table.fieldnames or ['nothing'])}, expected ifo,time and "
                "optionally snr"
            )
        for row in table:
            try:
                trigger = Trigger(row["ifo"], float(row["time"]), float(row.get("snr") or 0))
            except (TypeError, ValueError):
                trigger = None
            if trigger is None or not (math.isfinite(trigger.time) and math.isfinite(trigger.snr)):
                raise ValueError(
                    f"{path}, line {table.line_num}: time {row['time']!r} and snr "
                    f"{row.get('snr')!r} must be numbers"
                )
            triggers.append(trigger)
    if not triggers:
        raise ValueError(f"{path} lists no trigger")
    return triggers


def apart(triggers: list[Trigger]) -> list[Trigger]:
    """Keep the loudest of triggers that lie closer than half a shape in one detector.

    Trigger generators list a glitch several times. Of equally loud ones the first listed stays.

    Returns:
        The triggers kept, in time order.
    """
    kept: list[Trigger] = []
    times: dict[str, list[float]] = {}
    for trigger in sorted(triggers, key=lambda t: -t.snr):
        taken = times.setdefault(trigger.ifo, [])
        place = bisect.bisect(taken, trigger.time)
        near = taken[max(0, place - 1) : place + 1]
        if all(abs(trigger.time - time) >= SHAPE_LENGTH / 2 for time in near):
            taken.insert(place, trigger.time)
            kept.append(trigger)
    return sorted(kept, key=lambda t: (t.time, t.ifo))


def loud_part(whitened: np.ndarray, sample_rate: float) -> np.ndarray:
    """What stands out of the noise in a stretch of whitened strain.

    Whitened strain of two seconds holds noise of an SNR of tens, which would be injected with
    every glitch. So the stretch is taken apart into time-frequency tiles (short Fourier
    transforms with a Hann window, three quarters overlapping), those as loud as noise are set to
    zero, and the rest is put together again. The power of a tile of noise is exponentially
    distributed with the mean that follows from the whitening, or at frequencies that are always
    louder (a line that wanders) from the median over the stretch; the threshold is such that one
    stretch of pure noise in a hundred has a tile above it. Tiles beside a loud one are kept too,
    so that a glitch keeps its wings. Of a glitch that lasts for more than half of the stretch
    only what stands out of its own median is kept.

    Args:
        whitened: Whitened strain, in which noise has density 2 / sample_rate.
        sample_rate: Sample rate [Hz].

    Returns:
        Of the same size; all zero if nothing stands out.
    """
    tile = round(TILE_LENGTH * sample_rate)
    window = signal.windows.hann(tile, sym=False)
    transform = signal.ShortTimeFFT(window, hop=tile // 4, fs=sample_rate)
    tiles = transform.stft(whitened)
    power = np.square(np.abs(tiles)) / np.square(window).sum()
    noise = np.maximum(1, np.median(power, axis=1, keepdims=True) / math.log(2))
    loud = power > noise * math.log(tiles.size / FALSE_TILES)
    # real, so not exponentially distributed, and outside of any band
    loud[[0, -1]] = False
    if not loud.any():
        return np.zeros(len(whitened))
    # all eight neighbours
    kept = ndimage.binary_dilation(loud, structure=np.ones((3, 3)))
    return transform.istft(tiles * kept, k1=len(whitened))


class Cutter:
    """Cut shapes from the files of a strain index.

    Args:
        index: The index.
        path: Where the index lies.
        recipe: How strain is whitened.
    """

    def __init__(self, index: StrainIndex, path: Path, recipe: WhiteningRecipe) -> None:
        self.index, self.folder, self.rate = index, path.resolve().parent, recipe.sample_rate
        self.size = round(SHAPE_LENGTH * self.rate)
        # One PSD for the whole shape, from before it: whole Welch segments, at least as long.
        length = recipe.fftlength * math.ceil(SHAPE_LENGTH / recipe.fftlength)
        self.recipe = replace(recipe, update_length=length)
        self.window = signal.windows.tukey(self.size, FADED)

    def cut(self, trigger: Trigger) -> tuple[float, np.ndarray] | str:
        """Cut the shape at a trigger.

        Args:
            trigger: The trigger.

        Returns:
            GPS time of the sample in the middle [s] and the whitened shape; or why there is none.
        """
        if trigger.ifo not in self.index.ifos:
            return "of another detector"
        starts, stops = self.index.gps_start, self.index.gps_stop
        holding = np.flatnonzero((starts <= trigger.time) & (trigger.time < stops))
        if not len(holding):
            return "outside the strain"
        number = holding[0]
        middle = round((trigger.time - starts[number]) * self.rate)
        first = middle - self.size // 2 - self.recipe.lead_size
        last = middle + self.size // 2 + self.recipe.filter_size // 2
        if first < 0 or last > round((stops[number] - starts[number]) * self.rate):
            return "too near an edge of the strain"
        path = self.folder / self.index.path[number]
        segment = StrainSegment.read(path, (trigger.ifo,), first, last)
        strain = torch.from_numpy(segment.strain[trigger.ifo]).unsqueeze(0)
        whitened = whiten(strain, self.recipe).values[0].double().numpy()
        shape = loud_part(whitened, self.rate) * self.window
        if not shape.any():
            return "not louder than the noise"
        return starts[number] + middle / self.rate, shape


def cut_glitches(
    experiment: str | Path,
    strain: str | Path,
    triggers: str | Path,
    output: str | Path,
) -> None:
    """Cut glitches out of strain, to be injected into simulated noise.

    Two seconds around each trigger are whitened by the experiment's recipe, with the PSD of the
    strain before them; of that only what stands out of the noise is kept (`loud_part`), faded out
    at the ends. The SNR of a shape is by that PSD, whose scatter makes it too large (by a tenth
    with 7 Welch segments); an injected shape is scaled anew. Of triggers within a second of each
    other the loudest is used. How many are not, and why, is reported.

    Args:
        experiment: Experiment file or its folder.
        strain: Strain index.
        triggers: CSV file with the columns `ifo` and `time` (GPS, s), and optionally `snr`.
        output: File of glitch shapes to write.

    Raises:
        FileNotFoundError: There is no such index or trigger list.
        ValueError: The trigger list cannot be read, or no trigger is usable.
        ledger.ProductError: The strain is of other detectors or another sample rate.
    """
    settings = load_experiment(experiment)
    strain, triggers = Path(strain), Path(triggers)
    index = StrainIndex.read(strain)
    require_same(strain, settings, SAME_STRAIN)
    listed = read_triggers(triggers)
    usable = apart(listed)
    reasons = Counter({"repeated": len(listed) - len(usable)})
    cutter = Cutter(index, strain, WhiteningRecipe.from_settings(settings.settings()))
    found: list[tuple[str, float, np.ndarray]] = []
    for trigger in progress(usable, "glitches", unit="trigger"):
        result = cutter.cut(trigger)
        if isinstance(result, str):
            reasons[result] += 1
        else:
            found.append((trigger.ifo, *result))
    report = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    if not found:
        raise ValueError(
            f"none of the {len(listed)} triggers in {triggers} gives a shape from {strain}: "
            f"{report}; a trigger needs {cutter.recipe.lead + SHAPE_LENGTH / 2} s of strain "
            f"before and {SHAPE_LENGTH / 2 + cutter.recipe.fduration / 2} s after it"
        )
    log.info("%d glitches cut of %d triggers; %s", len(found), len(listed), report or "all used")
    ifos, times, shapes = zip(*found, strict=True)
    shape = np.array(shapes, dtype=np.float32)
    glitches = GlitchSet(
        sample_rate=settings.sample_rate,
        ifo=list(ifos),
        time=np.array(times),
        snr=np.sqrt(np.square(shape, dtype=np.float64).sum(axis=1)),
        shape=shape,
    )
    provenance = make_provenance("datagen cut-glitches", settings, parents={"strain": strain})
    glitches.write(output, provenance)
