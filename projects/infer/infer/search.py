"""The search of one fold."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
from ledger import InjectionSet, RecoveredInjections, StrainIndex, staged
from preprocessing import WhiteningRecipe
from preprocessing.slides import FrameTimeline, Stretch, slide_shifts
from preprocessing.stretches import load_stretches
from runtime import Experiment, load_experiment, make_provenance, progress, require_same
from runtime.provenance import SAME_MODEL
from waveforms import injection_responses

from infer.details import details
from infer.exclusion import left_out_windows
from infer.recovery import recover
from infer.repository import Repository
from infer.scorers import make_scorer
from infer.searcher import Found, Searcher, event_set, window_frames
from infer.serving import Transport, served

log = logging.getLogger("infer")


def search(
    experiment: Path,
    repository: Path,
    strain: Path,
    injections: Path,
    output: Path,
    fold: int = 0,
    exclude: Path | None = None,
    transport: Transport = "inprocess",
    server: str | None = None,
) -> None:
    """Search the strain of one fold: time slides, injections, zero lag.

    Args:
        experiment: Experiment file or its folder.
        repository: Model repository of `export`.
        strain: Strain index.
        injections: Injections into the strain to be searched.
        output: Folder for background.hdf5, zero-lag.hdf5 and foreground.hdf5, put in place whole.
        fold: Fold of the experiment.
        exclude: File of windows to leave out of the background, two columns of GPS times [s].
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: An input was made with other settings or is broken.
        ServerError: The server does not start, or has died.
        ValueError: The strain is too short for a score or for a slide.
    """
    settings = load_experiment(experiment)
    with (
        served(Path(repository), transport, server) as address,
        Repository(Path(repository), settings, address) as models,
    ):
        _search(settings, models, strain, injections, output, fold, exclude)


def _search(
    settings: Experiment,
    models: Repository,
    strain: Path,
    injections: Path,
    output: Path,
    fold: int,
    exclude: Path | None,
) -> None:
    """Search with models that are at hand; see `search`."""
    require_same(injections, settings, (*SAME_MODEL, "injections", "waveforms"))
    signals = InjectionSet.read(injections)
    index = StrainIndex.read(strain)
    left_out = left_out_windows(index, exclude)
    recipe = WhiteningRecipe.from_settings(settings.settings())
    scorer = make_scorer(models, settings.search.scores_per_second)

    window = window_frames(scorer, settings.search)
    shortest = scorer.view_length + (window - 1) / scorer.frame_rate
    stretches, runs = [], []
    for item in load_stretches(Path(strain), settings, "search", fold, shortest):
        frames = scorer.add(item.stretch)
        stretches.append(item)
        runs.append((item.gps_start, frames, item.file.label))

    def timeline(windows: list[tuple[float, float]]) -> FrameTimeline:
        return FrameTimeline(
            [Stretch(start, frames, windows, label) for start, frames, label in runs],
            scorer.frame_rate,
            window,
            scorer.view_length,
        )

    quiet, everything = timeline(left_out), timeline([])
    slides = slide_shifts(
        quiet,
        len(settings.ifos),
        settings.search.slide_step,
        settings.search.background_livetime,
        scorer.stride,
    )
    if not slides and len(settings.ifos) > 1:
        raise ValueError(
            f"{quiet.size / quiet.frame_rate:.0f} s of searched strain allow no time slide of "
            f"{settings.search.slide_step} s: search more strain or lower search.slide_step"
        )
    background = Found()
    searcher = Searcher(scorer, quiet, settings, models.network["delay"])
    for number, shifts in enumerate(progress(slides, "slides", unit="slide"), start=1):
        searcher.events(background, number, shifts)

    zero_lag = Found()
    unslid = Searcher(scorer, everything, settings, models.network["delay"])
    scores = unslid.events(zero_lag, 0, (0,) * len(settings.ifos))
    spans = {
        "analysed": np.array(
            [
                (s.gps_start, s.gps_start + s.stretch.values.shape[-1] / recipe.sample_rate)
                for s in stretches
            ]
        ).reshape(-1, 2),
        "analysed_label": [s.file.label for s in stretches],
    }
    responses = injection_responses(signals, settings.waveforms)
    statistic, time = recover(signals, responses, stretches, searcher, settings)

    parents = {"strain": strain, "injections": injections}
    provenance = make_provenance("infer search", settings, None, parents)
    network = {"network": models.network["sha256"]}
    provenance = dataclasses.replace(provenance, parents={**provenance.parents, **network})
    with staged(output) as folder:
        folder.mkdir()
        event_set(background, "background", settings, fold, **spans).write(
            folder / "background.hdf5", provenance
        )
        loudest = details(zero_lag, scores, unslid, stretches, settings)
        event_set(zero_lag, "zero-lag", settings, fold, **spans, **loudest).write(
            folder / "zero-lag.hdf5", provenance
        )
        RecoveredInjections(
            ifos=settings.ifos,
            snr_threshold=signals.snr_threshold,
            volume=signals.volume,
            statistic=statistic,
            time=time,
            injection_time=signals.time,
            snr=signals.snr,
            ifo_snr=signals.ifo_snr,
            fold=np.full(len(time), fold, dtype=np.int16),
            parameters=signals.parameters,
            rejected=signals.rejected,
            rejected_snr=signals.rejected_snr,
            rejected_file=signals.rejected_file,
            rejected_draw=signals.rejected_draw,
            stream=signals.stream,
        ).write(folder / "foreground.hdf5", provenance)
    log.info(
        "fold %d: %.0f s of zero lag with %d events; %d slides, %.1f d of background with %d "
        "events; %d injections",
        fold,
        sum(zero_lag.livetime),
        sum(map(len, zero_lag.statistic)),
        len(slides),
        sum(background.livetime) / 86400,
        sum(map(len, background.statistic)),
        len(time),
    )
