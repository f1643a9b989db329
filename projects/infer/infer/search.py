"""The search of one fold."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from ledger import EventSet, InjectionSet, RecoveredInjections, StrainIndex, staged
from preprocessing import WhiteningRecipe, filter_signals
from preprocessing.slides import FrameTimeline, Stretch, slide_shifts
from runtime import Experiment, load_experiment, make_provenance, progress, require_same
from runtime.provenance import SAME_MODEL

from infer.events import cluster, integrate
from infer.exclusion import left_out_windows
from infer.repository import Repository
from infer.scorers import Scorer, make_scorer
from infer.stretches import SearchStretch, search_stretches

log = logging.getLogger("infer")

DETAIL_LENGTH = 4.0
"""Length of the whitened strain and of the scores stored with a loud event [s]."""


@dataclass
class Found:
    """Events of slides, gathered.

    Attributes:
        statistic: Loudness of each event.
        time: GPS time of coalescence in each detector [s].
        slide: Index of the slide.
        livetime: Livetime of each slide [s].
        shift: Shift of each detector in each slide [s].
    """

    statistic: list[np.ndarray] = field(default_factory=list)
    time: list[np.ndarray] = field(default_factory=list)
    slide: list[np.ndarray] = field(default_factory=list)
    livetime: list[float] = field(default_factory=list)
    shift: list[tuple[float, ...]] = field(default_factory=list)


class Searcher:
    """Scores slides of prepared strain and finds their events.

    Args:
        scorer: Holds the frames of all stretches.
        timeline: Says which of them may be scored.
        experiment: The experiment.
        delay: Time from coalescence to the end of what the loudest evidence looks at [s].
    """

    def __init__(
        self, scorer: Scorer, timeline: FrameTimeline, experiment: Experiment, delay: float
    ) -> None:
        self.scorer = scorer
        self.timeline = timeline
        self.experiment = experiment
        search = experiment.search
        self.mean_size = max(1, round(search.integration_length * search.scores_per_second))
        self.reach = round(search.cluster_length * search.scores_per_second)
        self.offset = scorer.evidence_length - delay

    def statistic(self, evidence: np.ndarray) -> np.ndarray:
        """Integrated scores of evidence, (batch, frame) to (batch, score)."""
        return integrate(self.scorer.scores(evidence), self.mean_size)

    @property
    def evidence_frames(self) -> int:
        """Values of the evidence behind one integrated score."""
        scorer = self.scorer
        return scorer.score_frames + (self.mean_size - 1) * scorer.stride

    def slide(self, shifts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Integrated scores of a slide, whether each counts, and the evidence behind them."""
        evidence = self.scorer.evidence(shifts)
        statistic = self.statistic(evidence[None])[0]
        counts = self.timeline.scored(shifts)[:: self.scorer.stride][: len(statistic)]
        return statistic, counts, evidence

    def times(
        self, places: np.ndarray, evidence: np.ndarray, shifts: tuple[int, ...]
    ) -> np.ndarray:
        """GPS time of coalescence in each detector, from the loudest evidence of each event."""
        reach = np.arange(self.evidence_frames)
        frames = np.minimum(places[:, None] * self.scorer.stride + reach, len(evidence) - 1)
        loudest = frames[np.arange(len(places)), evidence[frames].argmax(axis=1)]
        return np.stack(
            [
                self.timeline.gps(self.timeline.partner(loudest, shift)) + self.offset
                for shift in shifts
            ],
            axis=1,
        )

    def events(self, found: Found, number: int, shifts: tuple[int, ...]) -> np.ndarray:
        """Add the events of a slide; returns its integrated scores."""
        statistic, counts, evidence = self.slide(shifts)
        places = cluster(statistic, counts, self.reach)
        found.statistic.append(statistic[places].astype(np.float64))
        found.time.append(self.times(places, evidence, shifts))
        found.slide.append(np.full(len(places), number, dtype=np.int32))
        rate = self.timeline.frame_rate
        found.livetime.append(int(counts.sum()) * self.scorer.stride / rate)
        found.shift.append(tuple(s / rate for s in shifts))
        return statistic


def _event_set(
    found: Found, kind: str, experiment: Experiment, fold: int, **detail: object
) -> EventSet:
    ifos = len(experiment.ifos)
    contents: dict[str, object] = {
        "detail": np.zeros(0, dtype=np.int32),
        "detail_whitened": np.zeros((0, ifos, 0), dtype=np.float32),
        "detail_score": np.zeros((0, 0), dtype=np.float32),
    }
    contents |= detail
    return EventSet(
        kind=kind,
        ifos=experiment.ifos,
        threshold=-1e30,
        statistic=np.concatenate(found.statistic or [np.zeros(0)]),
        time=np.concatenate(found.time or [np.zeros((0, ifos))]),
        slide=np.concatenate(found.slide or [np.zeros(0, dtype=np.int32)]),
        fold=np.full(sum(map(len, found.statistic)), fold, dtype=np.int16),
        slide_shift=np.array(found.shift).reshape(-1, ifos),
        slide_fold=np.full(len(found.livetime), fold, dtype=np.int16),
        slide_livetime=np.array(found.livetime),
        detail_rate=experiment.sample_rate,
        detail_score_rate=float(experiment.search.scores_per_second),
        **contents,  # type: ignore[arg-type]
    )


def _details(
    zero_lag: Found,
    scores: np.ndarray,
    searcher: Searcher,
    stretches: list[SearchStretch],
    experiment: Experiment,
) -> dict[str, np.ndarray]:
    """Whitened strain and scores around the loudest events."""
    statistic = np.concatenate(zero_lag.statistic)
    times = np.concatenate(zero_lag.time)[:, 0]
    loudest = np.argsort(-statistic, kind="stable")[: experiment.evaluation.num_loudest]
    half = round(DETAIL_LENGTH / 2 * experiment.sample_rate)
    rate = experiment.search.scores_per_second
    half_scores = round(DETAIL_LENGTH / 2 * rate)
    starts = searcher.timeline.gps(np.arange(len(scores)) * searcher.scorer.stride)
    # a score is shown at the time at which what it looks at ends
    length = (searcher.evidence_frames - 1) / searcher.timeline.frame_rate
    shown = starts + length + searcher.scorer.evidence_length
    whitened, series = [], []
    for event in loudest:
        owner = max(
            (s for s in stretches if s.gps_start <= times[event]), key=lambda s: s.gps_start
        )
        values = owner.stretch.values.numpy()
        centre = round((times[event] - owner.gps_start) * experiment.sample_rate)
        padded = np.pad(values, ((0, 0), (half, half)))
        whitened.append(padded[:, centre : centre + 2 * half])
        place = int(np.abs(shown - times[event]).argmin())
        around = np.clip(np.arange(place - half_scores, place + half_scores), 0, len(scores) - 1)
        series.append(scores[around])
    return {
        "detail": loudest.astype(np.int32),
        "detail_whitened": np.array(whitened, dtype=np.float32).reshape(
            len(loudest), len(experiment.ifos), 2 * half
        ),
        "detail_score": np.array(series, dtype=np.float32).reshape(len(loudest), 2 * half_scores),
    }


def recover(
    injections: InjectionSet,
    stretches: list[SearchStretch],
    searcher: Searcher,
    experiment: Experiment,
) -> tuple[np.ndarray, np.ndarray]:
    """Score each injection in the strain around it.

    The piece of strain reaches one kernel plus integration to either side of the coalescence; its
    loudest integrated score is the injection's statistic. The signal is whitened with the filter
    of the block of its coalescence and added to the whitened strain.

    Args:
        injections: Injections into these stretches.
        stretches: Whitened strain.
        searcher: Scores it.
        experiment: The experiment.

    Returns:
        Statistic and recovered GPS time of each injection.

    Raises:
        ValueError: An injection lies outside the stretches.
    """
    rate = experiment.sample_rate
    search = experiment.search
    reach = round((experiment.kernel_length + search.integration_length) * rate)
    statistic, time = np.empty(len(injections.time)), np.empty(len(injections.time))
    pieces: list[np.ndarray] = []
    begins: list[float] = []
    first = 0
    starts = np.array([s.gps_start for s in stretches])
    for i in progress(range(len(injections.time)), "injections", unit="injection"):
        owner = stretches[max(0, int(np.searchsorted(starts, injections.time[i], "right")) - 1)]
        values = owner.stretch.values
        size = values.shape[-1]
        centre = round((injections.time[i] - owner.gps_start) * rate)
        if not 0 <= centre < size or size < 2 * reach:
            raise ValueError(
                f"injection at GPS {injections.time[i]} lies outside the searched strain: make "
                "the injections from the same strain index and fold"
            )
        begin = min(max(centre - reach, 0), size - 2 * reach)
        piece = values[:, begin : begin + 2 * reach].clone()
        taps = owner.stretch.taps[owner.stretch.block_of(torch.tensor(centre))]
        response = torch.from_numpy(injections.response[i])
        signal = filter_signals(response[None], taps[None])[0]
        lead = round(injections.coalescence * rate) - taps.shape[-1] // 2
        # place of the signal's first sample in the piece
        place = centre - lead - begin
        low, high = max(0, place), min(2 * reach, place + signal.shape[-1])
        piece[:, low:high] += signal[:, low - place : high - place]
        pieces.append(piece.numpy())
        begins.append(owner.gps_start + begin / rate)
        if len(pieces) == 64 or i == len(injections.time) - 1:
            evidence = searcher.scorer.evidence_of(np.stack(pieces))
            scores = searcher.statistic(evidence)
            last = first + len(pieces)
            statistic[first:last] = scores.max(axis=1)
            frame = evidence.argmax(axis=1) / searcher.timeline.frame_rate
            time[first:last] = np.array(begins) + frame + searcher.offset
            first, pieces, begins = last, [], []
    return statistic, time


def search(
    experiment: Path,
    repository: Path,
    strain: Path,
    injections: Path,
    output: Path,
    fold: int = 0,
    exclude: Path | None = None,
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

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: An input was made with other settings or is broken.
        ValueError: The strain is too short for a score or for a slide.
    """
    settings = load_experiment(experiment)
    models = Repository(Path(repository), settings)
    require_same(injections, settings, (*SAME_MODEL, "injections", "waveforms"))
    signals = InjectionSet.read(injections)
    index = StrainIndex.read(strain)
    left_out = left_out_windows(index, exclude)
    recipe = WhiteningRecipe.from_settings(settings.settings())
    scorer = make_scorer(models, settings.search.scores_per_second)

    mean_size = max(
        1, round(settings.search.integration_length * settings.search.scores_per_second)
    )
    window = scorer.score_frames + (mean_size - 1) * scorer.stride
    shortest = scorer.view_length + (window - 1) / scorer.frame_rate
    stretches, runs = [], []
    for item in search_stretches(Path(strain), settings, fold, shortest):
        frames = scorer.add(item.stretch.values.numpy())
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
    statistic, time = recover(signals, stretches, searcher, settings)

    parents = {"strain": strain, "injections": injections}
    provenance = make_provenance("infer search", settings, None, parents)
    network = {"network": models.network["sha256"]}
    provenance = type(provenance)(
        **{**provenance.__dict__, "parents": {**provenance.parents, **network}}
    )
    with staged(output) as folder:
        folder.mkdir()
        _event_set(background, "background", settings, fold, **spans).write(
            folder / "background.hdf5", provenance
        )
        details = _details(zero_lag, scores, unslid, stretches, settings)
        _event_set(zero_lag, "zero-lag", settings, fold, **spans, **details).write(
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
