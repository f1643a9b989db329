"""Injections one by one: what is chosen in one figure is marked in the others."""

from dataclasses import dataclass

import numpy as np
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.plotting import figure

from evaluate.figures.style import COLORS, finish_legend, new_figure
from evaluate.findings import Findings
from evaluate.lines import injected
from evaluate.rates import false_alarm_rate

# More points than this make a page heavy and hide one another.
NUM_SHOWN = 3000
NUM_LOUD_MISSED = 300
MISSED = "missed"


@dataclass(frozen=True)
class InjectionFigures:
    """Figures that share their injections.

    Attributes:
        plots: The figures.
        num_shown: Number of injections in them.
        num_accepted: Number of accepted injections.
    """

    plots: list[figure]
    num_shown: int
    num_accepted: int


# Fills the table of chosen injections, of which the page has an empty one.
TELL = """
const names = %s;
const data = source.data;
const told = (name, value) =>
  typeof value === "number" ? value.toPrecision(name === "GPS [s]" ? 13 : 4) : value;
const row = (tag, texts) =>
  "<tr>" + texts.map(text => `<${tag} class="num">${text}</${tag}>`).join("") + "</tr>";
const rows = source.selected.indices.slice(0, 20).map(
  i => row("td", names.map(name => told(name, data[name][i])))
);
document.getElementById("chosen").innerHTML =
  rows.length === 0 ? "" : "<table>" + row("th", names) + rows.join("") + "</table>";
"""


def injection_figures(findings: Findings) -> InjectionFigures | None:
    """Each injection by its masses and distance, and by its loudness.

    Args:
        findings: What was found.

    Returns:
        The figures; None if there is no accepted injection or no supported rate.
    """
    table = injection_table(findings)
    if table is None:
        return None
    rows = shown_rows(table["network SNR"], table["found at [1/yr]"])
    source = ColumnDataSource({name: values[rows] for name, values in table.items()})
    names = [name for name in table if name != "color"]
    source.selected.js_on_change("indices", CustomJS(args={"source": source}, code=TELL % names))
    plots = []
    for x, y in _axes(list(table), findings.experiment.ifos):
        plot = new_figure("Injections", x, y, x_axis_type="log", y_axis_type="log")
        plot.scatter(
            x,
            y,
            source=source,
            size=4,
            color="color",
            fill_alpha=0.55,
            line_alpha=0,
            selection_fill_alpha=1,
            selection_line_color="#000000",
            selection_line_alpha=1,
            nonselection_fill_alpha=0.08,
            legend_group="found at [1/yr]",
        )
        plot.add_tools("tap", "box_select", "lasso_select")
        plot.legend.title = "found at [1/yr]"
        plots.append(finish_legend(plot, "below"))
        plot.legend.click_policy = "none"  # one glyph stands for all entries
        plot.legend.ncols = 5
    return InjectionFigures(plots, len(rows), len(table["network SNR"]))


def injection_table(findings: Findings) -> dict[str, np.ndarray] | None:
    """Columns that describe the accepted injections of all folds, under the labels of axes.

    Args:
        findings: What was found.

    Returns:
        The columns; None if there is no accepted injection or no supported rate.
    """
    supported = {far: some for far, some in findings.recovered.items() if some is not None}
    folds = findings.folds
    values = injected(folds)
    snr = values.pop("optimal network SNR")
    if not len(snr) or not supported:
        return None
    level = np.full(len(snr), MISSED, dtype=object)
    color = np.full(len(snr), COLORS[6], dtype=object)
    for i, far in enumerate(sorted(supported, reverse=True)):
        mask = np.concatenate(supported[far])
        level[mask] = f"{far:g}"
        color[mask] = COLORS[i % 6]
    per_ifo = np.concatenate([result.injections.ifo_snr for result in folds])
    rate = [
        false_alarm_rate(
            result.injections.statistic,
            result.background.statistic,
            result.background.livetime,
            findings.experiment.evaluation.interval,
        ).rate
        for result in folds
    ]
    return {
        "GPS [s]": np.concatenate([result.injections.injection_time for result in folds]),
        "network SNR": snr,
        **{f"SNR in {ifo}": per_ifo[:, i] for i, ifo in enumerate(findings.experiment.ifos)},
        **values,
        **_parameters(findings),
        "statistic": np.concatenate([result.injections.statistic for result in folds]),
        "false-alarm rate [1/yr]": np.concatenate(rate),
        "found at [1/yr]": level,
        "color": color,
    }


def shown_rows(snr: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Which injections are shown, if not all: the loudest missed, and every n-th of the others.

    Args:
        snr: Network SNR of each.
        level: The largest false-alarm rate at which it is found, or `MISSED`.
    """
    if len(snr) <= NUM_SHOWN:
        return np.arange(len(snr))
    missed = np.flatnonzero(level == MISSED)
    loud = missed[np.argsort(-snr[missed], kind="stable")[:NUM_LOUD_MISSED]]
    others = np.setdiff1d(np.arange(len(snr)), loud)
    kept = np.linspace(0, len(others) - 1, NUM_SHOWN - len(loud)).astype(int)
    return np.sort(np.concatenate([loud, others[kept]]))


def _parameters(findings: Findings) -> dict[str, np.ndarray]:
    """Masses, redshift and effective spin, as far as the injections have them."""
    labels = {
        "mass_1_source": "m₁, source frame [M☉]",
        "mass_2_source": "m₂, source frame [M☉]",
        "redshift": "redshift",
    }
    parameters = [result.injections.parameters for result in findings.folds]
    return {
        label: np.concatenate([each[name] for each in parameters])
        for name, label in labels.items()
        if all(name in each for each in parameters)
    }


def _axes(names: list[str], ifos: tuple[str, ...]) -> list[tuple[str, str]]:
    """What to draw against what."""
    pairs = [
        ("chirp mass, source frame [M☉]", "luminosity distance [Mpc]"),
        ("network SNR", "false-alarm rate [1/yr]"),
    ]
    if len(ifos) > 1:
        pairs.append((f"SNR in {ifos[0]}", f"SNR in {ifos[1]}"))
    return [pair for pair in pairs if set(pair) <= set(names)]
