"""Whitened strain, its energy in time and frequency, and scores around an event."""

from dataclasses import dataclass

import numpy as np
from bokeh.models import ColorBar, LinearColorMapper, Range1d
from bokeh.plotting import figure
from runtime import Experiment

from evaluate.candidates import Candidate
from evaluate.figures.style import GUIDE, INJECTIONS, finish_legend, ifo_color, new_figure
from evaluate.inputs import FoldResult
from evaluate.qscan import loudest_scan

# What is shown of the whitened strain, to either side of the event [s]: a merger of black holes
# fills a fraction of a second.
HALF_LENGTH = 0.5
MAX_SAMPLES = 4096
# Times at which energies are shown
NUM_COLUMNS = 160
# Noise has an energy of one; colours end here at least, so that noise looks alike on all pages.
LEAST_TOP = 20.0
# Darker than the strain that they are drawn over
SIGNAL_COLORS = ("#000000", "#0b3d66", "#3d1f4a")


@dataclass(frozen=True)
class Detail:
    """What is shown of an event, or of an injection.

    Attributes:
        gps: Its GPS time [s].
        ifos: Detectors.
        rate: Samples per second of the strain.
        whitened: Whitened strain, of shape (ifo, time), centred on the event.
        score: Integrated scores, of shape (score,).
        score_time: Their times after the event's [s].
        signal: The whitened signal alone, as `whitened`; None if it is not known.
    """

    gps: float
    ifos: tuple[str, ...]
    rate: float
    whitened: np.ndarray
    score: np.ndarray
    score_time: np.ndarray
    signal: np.ndarray | None = None


def has_detail(event: Candidate, result: FoldResult) -> bool:
    """Whether the search kept strain and scores of an event.

    Args:
        event: The event.
        result: Results of its fold.
    """
    return bool(np.any(np.asarray(result.zero_lag.detail) == event.position))


def event_detail(event: Candidate, result: FoldResult) -> Detail:
    """What the search kept of a zero-lag event.

    Args:
        event: An event with detail.
        result: Results of its fold.
    """
    events = result.zero_lag
    row = int(np.flatnonzero(np.asarray(events.detail) == event.position)[0])
    score = np.asarray(events.detail_score)[row]
    return Detail(
        gps=event.gps,
        ifos=events.ifos,
        rate=events.detail_rate,
        whitened=np.asarray(events.detail_whitened)[row],
        score=score,
        score_time=(np.arange(len(score)) - len(score) // 2) / events.detail_score_rate,
    )


def detail_figures(detail: Detail, experiment: Experiment) -> dict[str, figure]:
    """Whitened strain, score series and a Q-scan per detector.

    Strain and scans are cut to `HALF_LENGTH` (or less, if these are more than `MAX_SAMPLES`) about
    the event's time; their time axes move together.

    Args:
        detail: What the search kept.
        experiment: The experiment.

    Returns:
        Figures `strain`, `score`, and `scan_<detector>`.
    """
    whitened, rate = detail.whitened, detail.rate
    middle = whitened.shape[1] // 2
    half = min(int(HALF_LENGTH * rate), MAX_SAMPLES // 2, middle)
    shown = slice(middle - half, middle + half)
    time = (np.arange(whitened.shape[1]) - middle)[shown] / rate
    about = f"time from GPS {detail.gps:.3f} [s]"
    strain = new_figure(
        "Whitened strain",
        about,
        "whitened strain [standard deviations]",
        height=260,
        x_range=Range1d(-half / rate, half / rate),
    )
    for i, ifo in enumerate(detail.ifos):
        strain.line(
            time.astype(np.float32),
            whitened[i, shown].astype(np.float32),
            line_color=ifo_color(ifo, i),
            line_alpha=0.85,
            legend_label=ifo,
        )
    if detail.signal is not None:
        for i, ifo in enumerate(detail.ifos):
            strain.line(
                time.astype(np.float32),
                detail.signal[i, shown].astype(np.float32),
                line_color=SIGNAL_COLORS[i % len(SIGNAL_COLORS)],
                line_width=1.5,
                legend_label=f"signal in {ifo}",
            )
    score = new_figure("Integrated score", about, "detection statistic", height=260)
    score.line(
        detail.score_time,
        detail.score.astype(np.float32),
        line_color=INJECTIONS,
        line_width=1.5,
    )
    plots = {"strain": finish_legend(strain, "top_left"), "score": score}
    plots |= _scans(whitened, detail.ifos, rate, shown, about, strain.x_range, experiment)
    for plot in plots.values():
        plot.vspan(x=[0.0], line_color=GUIDE, line_dash="dashed")
    return plots


def _scans(
    whitened: np.ndarray,
    ifos: tuple[str, ...],
    rate: float,
    shown: slice,
    about: str,
    x_range: Range1d,
    experiment: Experiment,
) -> dict[str, figure]:
    size = shown.stop - shown.start
    if not size:
        return {}
    high = min(experiment.lowpass or rate / 2, 0.8 * rate / 2)
    scans = loudest_scan(whitened, rate, experiment.highpass, high, shown)
    # each column the largest energy of its samples, so that nothing short is lost
    step = -(-size // NUM_COLUMNS)
    starts = np.arange(0, size, step)
    energy = np.maximum.reduceat(scans.energy, starts, axis=2).astype(np.float32)
    colors = LinearColorMapper("Viridis256", low=0.0, high=max(LEAST_TOP, float(energy.max())))
    # rows are equal in the logarithm, and lie about their centres
    half_row = np.sqrt(scans.frequency[1] / scans.frequency[0])
    bottom, top = float(scans.frequency[0] / half_row), float(scans.frequency[-1] * half_row)
    plots = {}
    for i, ifo in enumerate(ifos):
        plot = new_figure(
            f"{ifo}: energy in units of the noise's, Q {scans.quality:g}",
            about,
            "frequency [Hz]",
            height=280,
            x_range=x_range,
            y_axis_type="log",
            y_range=Range1d(bottom, top),
        )
        plot.image(
            image=[energy[i]],
            x=-size / 2 / rate,
            y=bottom,
            dw=len(starts) * step / rate,
            dh=top - bottom,
            color_mapper=colors,
        )
        plot.grid.visible = False
        plot.add_layout(ColorBar(color_mapper=colors, width=10, padding=4), "right")
        plots[f"scan_{ifo}"] = plot
    return plots
