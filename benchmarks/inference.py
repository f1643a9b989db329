"""Strain to events, step by step: seconds of data per second, and the cost of a further slide.

Run with the environment of `projects/infer`; see README.md.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from infer.found import Found
from infer.prepared import Prepared, read_prepared, write_prepared
from infer.scorers import make_scorer
from infer.searcher import Searcher
from infer.serving import served
from infer.session import Repository, Session
from infer.zero_lag import find_zero_lag
from runtime import Experiment, load_experiment

DAY = 86400.0
YEAR = 365.25 * DAY


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median wall time after one run that is not counted [s]."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def with_rate(experiment: Experiment, rate: int) -> Experiment:
    """The experiment with another rate of scores."""
    search = experiment.search.model_copy(update={"scores_per_second": rate})
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


def search_slide(searcher: Searcher, shift: int) -> None:
    """Find the events of one slide."""
    ifos = len(searcher.experiment.ifos)
    searcher.events(Found(), 1, tuple(j * shift for j in range(ifos)))


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

        def prepare(rate: int) -> Prepared:
            settings = with_rate(experiment, rate)
            session = Session(settings, models, make_scorer(models, rate))
            write_prepared(session, strain, Path(work) / str(rate), 0)
            return read_prepared(session, strain, Path(work) / str(rate), 0)

        def search(rate: int) -> None:
            find_zero_lag(prepare(rate))

        prepared = prepare(64)
        duration = sum(s.size for s in prepared.stretches) / experiment.sample_rate
        frames = sum(prepared.frames)
        size = sum(f.stat().st_size for f in (Path(work) / "64").rglob("*.npy"))
        print(
            f"{duration:.0f} s of {len(experiment.ifos)} detectors at "
            f"{experiment.sample_rate:.0f} Hz, {torch.get_num_threads()} threads, "
            f"{arguments.transport}, median of {repeats} runs"
        )
        print(f"on disk meanwhile              {size / duration / 1e3:8.1f} kB per s of data")
        searcher = prepared.searcher()
        # a tenth of the row, far from where both detectors are together
        slide = timed(lambda: search_slide(searcher, frames // 10), repeats)
        towers = timed(lambda: prepare(64), repeats)
        four = timed(lambda: search(4), repeats)
        many = timed(lambda: search(64), repeats)
        part = min(prepared.stretches[0].size / experiment.sample_rate, 400.0)
        slow = timed(lambda: score_windows(prepared, 4, part), min(repeats, 3)) * duration / part
    print(f"read, PSD, whiten, towers      {duration / towers:8.0f} s of data per s")
    print(f"to events,  4 scores per s     {duration / four:8.0f} s of data per s")
    print(f"to events, 64 scores per s     {duration / many:8.0f} s of data per s")
    print(f"windows alone, 4 per s         {duration / slow:8.0f} s of data per s")
    print(f"a further slide, 64 per s      {duration / slide:8.0f} s of data per s")
    print(f"a slide costs 1/{many / slide:.1f} of searching slid data from the start, and")
    print(f"1/{16 * slow / slide:.0f} of scoring each window of it, 64 per s")
    # on the frames of one day each slide gives nearly a day
    print(f"a year of background from a day {YEAR / (duration / slide) / 60:7.1f} min")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"largest resident memory        {memory:8.2f} GB")


if __name__ == "__main__":
    main()
