"""Strain to events, in seconds of data (of all detectors) per second.

Run with the environment of `projects/infer`; see README.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from infer.events import cluster
from infer.repository import Repository
from infer.scorers import StreamingScorer
from infer.searcher import Searcher, window_frames
from ledger import StrainIndex, StrainSegment
from preprocessing import WhiteningRecipe, whiten
from preprocessing.slides import FrameTimeline, Stretch
from runtime import Experiment, load_experiment


def timed(work: Callable[[], None], repeats: int = 5) -> float:
    """Median wall time after one run that is not counted [s]."""
    work()
    found = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, help="folder of a finished search")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    folder = arguments.version
    repository_path = folder / "repository-0"
    settings = yaml.safe_load((repository_path / "repository.yaml").read_text())
    path = folder / "stages/InferLocal-0/experiment.yaml"
    experiment = load_experiment(path)
    repository = Repository(repository_path, experiment)
    index_path = folder / "strain/index.hdf5"
    file = StrainIndex.read(index_path).files(index_path, "search")[0]
    recipe = WhiteningRecipe.from_settings(settings["network"]["settings"])
    network = settings["network"]
    duration = file.gps_stop - file.gps_start
    print(f"{duration:.0f} s of {len(experiment.ifos)} detectors at {recipe.sample_rate:.0f} Hz,")
    print(f"{torch.get_num_threads()} threads, median of {arguments.repeats} runs")

    def read_and_whiten() -> tuple[float, np.ndarray]:
        segment = StrainSegment.read(file.path, experiment.ifos)
        strain = torch.stack([torch.from_numpy(segment.strain[i]) for i in experiment.ifos])
        return segment.gps_start + recipe.lead, whiten(strain, recipe).values.numpy()

    def streaming(rate: int) -> None:
        start, values = read_and_whiten()
        scorer = StreamingScorer(repository, rate)
        frames = scorer.add(values)
        window = window_frames(scorer, with_rate(rate).search)
        timeline = FrameTimeline([Stretch(start, frames)], 64, window, scorer.view_length)
        searcher = Searcher(scorer, timeline, with_rate(rate), network["delay"])
        statistic, counts, evidence = searcher.slide((0, 0))
        places = cluster(statistic, counts, searcher.reach)
        searcher.times(places, evidence, (0, 0))

    def with_rate(rate: int) -> Experiment:
        search = experiment.search.model_copy(update={"scores_per_second": rate})
        return experiment.model_copy(update={"search": search})

    def windowed(rate: int, seconds: float) -> None:
        _, values = read_and_whiten()
        values = values[:, : round(seconds * recipe.sample_rate)]
        scorer = StreamingScorer(repository, rate)
        hop = round(recipe.sample_rate / rate)
        view = np.lib.stride_tricks.sliding_window_view(values, network["kernel_size"], axis=-1)
        windows = np.moveaxis(view[:, ::hop], 1, 0)
        for first in range(0, len(windows), 128):
            scorer.scores(scorer.evidence_of(np.ascontiguousarray(windows[first : first + 128])))

    white = timed(lambda: read_and_whiten() and None, arguments.repeats)
    four = timed(lambda: streaming(4), arguments.repeats)
    many = timed(lambda: streaming(64), arguments.repeats)
    part = min(duration, 400.0)
    slow = timed(lambda: windowed(4, part), 3) - white
    slow = white + slow * duration / part
    start, values = read_and_whiten()
    scorer = StreamingScorer(repository, 64)
    frames = scorer.add(values)
    timeline = FrameTimeline([Stretch(start, frames)], 64, 100, scorer.view_length)
    searcher = Searcher(scorer, timeline, experiment, network["delay"])
    slide = timed(lambda: searcher.slide((0, 1000)) and None, arguments.repeats)
    print(f"read, PSD, whiten              {duration / white:8.0f} s of data per s")
    print(f"to events,  4 scores per s     {duration / four:8.0f} s of data per s")
    print(f"to events, 64 scores per s     {duration / many:8.0f} s of data per s")
    print(f"window by window, 4 per s      {duration / slow:8.0f} s of data per s")
    print(f"a further slide, 64 per s      {duration / slide:8.0f} s of data per s")
    print(
        f"64 per s costs {many / four:.2f} times 4 per s; streaming is {slow / four:.1f} times as"
    )
    print(f"fast as windows; a slide costs 1/{many / slide:.1f} of starting again")


if __name__ == "__main__":
    main()
