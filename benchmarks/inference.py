"""Strain to events, step by step: seconds of data per second, and the cost of a further slide.

Run with the environment of `projects/infer`; see README.md.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from infer.background import find_background
from infer.foreground import find_foreground
from infer.found import Found
from infer.prepared import NOTHING, Prepared, read_prepared, write_prepared
from infer.scorers import make_scorer
from infer.searcher import Searcher
from infer.serving import served
from infer.session import Repository, Session
from infer.zero_lag import find_zero_lag
from ledger import InjectionSet
from runtime import Experiment, load_experiment

DAY = 86400.0
YEAR = 365.25 * DAY
# Slides timed at once; as many share what is read.
NUM_SLIDES = 32
# Injections timed at once.
NUM_INJECTIONS = 256


@dataclass(frozen=True)
class Cost:
    """What some work takes.

    Attributes:
        wall: Wall time [s].
        processor: Time of this process's threads [s]; what a server takes is not in it.
    """

    wall: float
    processor: float

    def per(self, count: float) -> Cost:
        """The cost of each of so many."""
        return Cost(self.wall / count, self.processor / count)


def timed(repeats: int, *works: Callable[[], object]) -> list[Cost]:
    """Median cost of each work after one run that is not counted, all in turn."""
    found: list[list[Cost]] = [[] for _ in works]
    for repeat in range(repeats + 1):
        for work, costs in zip(works, found, strict=True):
            begun, used = time.perf_counter(), time.process_time()
            work()
            if repeat:
                wall = time.perf_counter() - begun
                costs.append(Cost(wall, time.process_time() - used))
    return [
        Cost(
            statistics.median(c.wall for c in costs), statistics.median(c.processor for c in costs)
        )
        for costs in found
    ]


def changed(experiment: Experiment, **settings: float) -> Experiment:
    """The experiment with other settings of the search."""
    search = experiment.search.model_copy(update=settings)
    return experiment.model_copy(update={"search": search})


def score_windows(prepared: Prepared, rate: int, seconds: float) -> None:
    """Score the same network on each window by itself, as networks without towers are."""
    network = prepared.session.models.network
    stretch = prepared.stretches[0]
    size = round(seconds * network["sample_rate"])
    hop = round(network["sample_rate"] / rate)
    values = np.asarray(stretch.whitened[:, :size])
    view = np.lib.stride_tricks.sliding_window_view(values, network["kernel_size"], axis=-1)
    windows = np.moveaxis(view[:, ::hop], 1, 0)
    scorer = prepared.session.scorer
    for first in range(0, len(windows), 128):
        part = np.ascontiguousarray(windows[first : first + 128])
        scorer.scores(scorer.evidence_of(part, stretch.taps[:1]))


def search_slides(searcher: Searcher, count: int) -> None:
    """Find the events of neighbouring slides, far from where both detectors are together."""
    ifos, size = len(searcher.experiment.ifos), searcher.timeline.size
    step = round(searcher.experiment.search.slide_step * searcher.timeline.frame_rate)
    shifts = [size // 10 + i * step for i in range(count)]
    slides = [tuple(j * shift for j in range(ifos)) for shift in shifts]
    for _ in searcher.events_of_slides(Found(), 1, slides):
        pass


def report(what: str, duration: float, cost: Cost) -> None:
    """Print how much data a second of either time is enough for."""
    wall, processor = duration / cost.wall, duration / cost.processor
    print(f"{what:<30} {wall:8.0f} s of data per s, {processor:8.0f} per s of processor")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, help="folder of a finished search")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--transport", choices=["inprocess", "triton"], default="inprocess")
    arguments = parser.parse_args()
    folder, repeats = arguments.version, arguments.repeats
    experiment = load_experiment(folder / "stages/ExportLocal-0/experiment.yaml")
    strain = folder / "strain/index.hdf5"
    repository = folder / "repository-0"
    with (
        tempfile.TemporaryDirectory(dir=folder) as work,
        served(repository, arguments.transport, None) as address,
        Repository(repository, experiment, address) as models,
    ):

        def prepare(rate: int, livetime: float = 0.0) -> Prepared:
            settings = changed(experiment, scores_per_second=rate)
            if livetime:
                settings = changed(settings, background_livetime=livetime)
            session = Session(settings, models, make_scorer(models, rate))
            write_prepared(session, strain, Path(work) / str(rate), 0)
            return read_prepared(session, strain, Path(work) / str(rate), 0)

        prepared = prepare(64)
        duration = sum(s.size for s in prepared.stretches) / experiment.sample_rate
        slid = NUM_SLIDES * duration
        size = sum(f.stat().st_size for f in (Path(work) / "64").rglob("*.npy"))
        print(
            f"{duration:.0f} s of {len(experiment.ifos)} detectors at "
            f"{experiment.sample_rate:.0f} Hz, {torch.get_num_threads()} threads, "
            f"{arguments.transport}, median of {repeats} runs, "
            f"load {os.getloadavg()[0]:.1f} before"
        )
        print(f"on disk meanwhile              {size / duration / 1e3:8.1f} kB per s of data")
        searcher = prepared.searcher()
        signals = InjectionSet.read(folder / "injections-0.hdf5")
        part = min(prepared.stretches[0].size / experiment.sample_rate, 400.0)
        branches = math.ceil(len(signals.time) / NUM_INJECTIONS)
        towers, four, many, slides, single, background, foreground, slow = timed(
            repeats,
            lambda: prepare(64),
            lambda: find_zero_lag(prepare(4)),
            lambda: find_zero_lag(prepare(64)),
            lambda: search_slides(searcher, NUM_SLIDES),
            lambda: search_slides(searcher, 1),
            lambda: find_background(prepare(64, slid), NOTHING),
            lambda: find_foreground(prepared, signals, 0, branches),
            lambda: score_windows(prepared, 4, part),
        )
        found = len(find_foreground(prepared, signals, 0, branches).statistic)
    slide, slow = slides.per(NUM_SLIDES), slow.per(part / duration)
    report("read, PSD, whiten, towers", duration, towers)
    report("zero lag,    4 scores per s", duration, four)
    report("zero lag,   64 scores per s", duration, many)
    report(f"background, {NUM_SLIDES} slides, 64 per s", slid, background)
    report("windows alone, 4 per s", duration, slow)
    report("a further slide, 64 per s", duration, slide)
    report("a slide by itself, 64 per s", duration, single)
    seen = 2 * (experiment.kernel_length + experiment.search.integration_length)
    report(f"foreground, {seen:.0f} s per injection", found * seen, foreground)
    print(f"injections                     {found / foreground.wall:8.0f} per s")
    print(
        f"a slide costs 1/{many.wall / slide.wall:.1f} of searching slid data from the start "
        f"(1/{many.processor / slide.processor:.1f} in processor time), and"
    )
    print(f"1/{16 * slow.wall / slide.wall:.0f} of scoring each window of it, 64 per s")
    # on the frames of one day each slide gives nearly a day
    print(f"a year of background from a day {YEAR / (duration / slide.wall) / 60:7.1f} min")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"largest resident memory        {memory:8.2f} GB")


if __name__ == "__main__":
    main()
