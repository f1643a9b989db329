"""The lines of the report's figures, as numbers that other reports can be laid beside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.dispersion import Dispersion
from evaluate.efficiency import binomial_interval, found_fraction, quantity_edges, snr_edges
from evaluate.findings import Findings
from evaluate.inputs import FoldResult
from evaluate.rates import Interval, false_alarm_rate
from evaluate.sensitivity import TargetSensitivity, curve_rates, found_at

SCHEMA = 1
NUM_RANKS = 300
# Bands of network SNR in which a recall is given against the false-alarm rate
BANDS = ((0.0, 8.0), (8.0, 12.0), (12.0, np.inf))


@dataclass(frozen=True)
class Line:
    """A line with a band about it; arrays of equal shape (point,).

    Attributes:
        name: What it stands for.
        x: Places.
        y: Values.
        low: Lower end of the band.
        high: Upper end of the band.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Lines:
    """All lines.

    Attributes:
        volume: Sensitive volume [Gpc^3] of each target against false-alarm rate [1/yr], with one
            standard deviation.
        recall: Fraction of the accepted injections found against false-alarm rate [1/yr], of all
            and by network SNR, with the binomial interval.
        found: For each quantity the fraction of accepted injections found in bins of it, one line
            per false-alarm rate, with the binomial interval.
        background: Rate of background events [1/yr] at or above a statistic, one line per fold,
            with its interval.
    """

    volume: list[Line]
    recall: list[Line]
    found: dict[str, list[Line]]
    background: list[Line]

    def write(self, path: Path) -> None:
        """Write as JSON.

        Args:
            path: File to write.
        """
        content = {"schema": SCHEMA, **asdict(self)}
        path.write_text(json.dumps(content, default=np.ndarray.tolist, allow_nan=False) + "\n")


def read_lines(path: Path) -> Lines:
    """Read what `Lines.write` wrote.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It does not hold the lines of a report.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path}: expected the lines of a report there; make the report again"
        )
    try:
        content = json.loads(path.read_text())
        if content.pop("schema") != SCHEMA:
            raise KeyError("schema")
        return Lines(
            found={name: _lines(some) for name, some in content.pop("found").items()},
            **{name: _lines(some) for name, some in content.items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not hold the lines of a report of schema {SCHEMA} ({error!r}): make the "
            "report again"
        ) from error


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    arrays = [field.name for field in fields(Line) if field.name != "name"]
    return [
        Line(name=row["name"], **{key: np.array(row[key], dtype=float) for key in arrays})
        for row in rows
    ]


def draw_lines(findings: Findings) -> Lines:
    """The lines of a search's figures.

    Args:
        findings: What was found.
    """
    interval = findings.experiment.evaluation.interval
    pairs = [
        _volume_line(f"{pair.pair[0]:g} + {pair.pair[1]:g} M☉", pair)
        for pair in findings.volumes.pairs
    ]
    populations = [_volume_line(p.population, p) for p in findings.volumes.populations]
    return Lines(
        volume=pairs + populations,
        recall=_recall(findings, interval),
        found=_found(findings, interval),
        background=[
            _background(result, dispersion, interval)
            for result, dispersion in zip(findings.folds, findings.dispersions, strict=True)
        ],
    )


def injected(folds: Sequence[FoldResult]) -> dict[str, np.ndarray]:
    """What accepted injections are told apart by, under the label of an axis.

    Args:
        folds: Results of all folds.

    Returns:
        Values of the injections of all folds, one fold after the other; without what is not among
        the parameters of each fold.
    """
    values = {"optimal network SNR": [result.injections.snr for result in folds]}
    parameters = [result.injections.parameters for result in folds]
    if all("luminosity_distance" in each for each in parameters):
        values["luminosity distance [Mpc]"] = [each["luminosity_distance"] for each in parameters]
    names = ("mass_1_source", "mass_2_source")
    if all(name in each for each in parameters for name in names):
        values["chirp mass, source frame [M☉]"] = [
            chirp_mass(*(each[name] for name in names)) for each in parameters
        ]
    return {name: np.concatenate(some) for name, some in values.items()}


def chirp_mass(mass_1: np.ndarray, mass_2: np.ndarray) -> np.ndarray:
    """(m1 m2)^(3/5) / (m1 + m2)^(1/5), in the frame and the unit of the masses."""
    return (mass_1 * mass_2) ** 0.6 / (mass_1 + mass_2) ** 0.2


def ranked_positions(size: int) -> np.ndarray:
    """Positions of the first hundred of a ranking, and ever fewer of the rest.

    Args:
        size: Length of the ranking.
    """
    first = np.arange(min(size, 100))
    rest = np.geomspace(100, max(size, 100), NUM_RANKS).astype(int) - 1
    return np.unique(np.concatenate([first, rest[rest < size]]))


def rate_line(
    name: str,
    statistic: np.ndarray,
    livetime: float,
    interval: float,
    loud_first: np.ndarray,
    interval_of: Interval,
) -> Line:
    """Rate of events [1/yr] at or above some of their statistics, the loudest first.

    Args:
        name: Name of the line.
        statistic: Statistics of all events.
        livetime: Time in which they are [s].
        interval: Probability content of the intervals.
        loud_first: The statistics in descending order.
        interval_of: Interval of the mean of a count.
    """
    at = loud_first[ranked_positions(len(loud_first))]
    far = false_alarm_rate(at, statistic, livetime, interval, interval_of=interval_of)
    return Line(name, at, far.rate, far.lower, far.upper)


def _background(result: FoldResult, dispersion: Dispersion, interval: float) -> Line:
    statistic = np.asarray(result.background.statistic)
    loud_first = -np.sort(-statistic)
    livetime = result.background.livetime
    name = f"fold {result.fold}"
    return rate_line(name, statistic, livetime, interval, loud_first, dispersion.interval)


def _volume_line(name: str, target: TargetSensitivity) -> Line:
    volume = np.array([point.volume for point in target.curve])
    std = np.array([point.std or 0.0 for point in target.curve])
    return Line(name, target.curve_far, volume, np.maximum(volume - std, 0), volume + std)


def _recall(findings: Findings, interval: float) -> list[Line]:
    folds = findings.folds
    snr = np.concatenate([result.injections.snr for result in folds])
    rates = curve_rates(folds, findings.experiment.evaluation.false_alarm_rates)
    found = found_at(rates.tolist(), folds, findings.experiment.search.cluster_length)
    masks = np.array([np.concatenate(some) for some in found if some is not None], dtype=bool)
    lines = []
    for low, high in ((0.0, np.inf), *BANDS):
        inside = (low <= snr) & (snr < high)
        if not inside.any():
            continue
        if (low, high) == (0.0, np.inf):
            name = "all accepted"
        elif not low:
            name = f"SNR below {high:g}"
        else:
            name = f"SNR {low:g} to {high:g}" if np.isfinite(high) else f"SNR of {low:g} or more"
        num_found = masks[:, inside].sum(axis=1)
        num_total = np.full(len(rates), np.count_nonzero(inside))
        ends = binomial_interval(num_found, num_total, interval)
        lines.append(Line(name, rates, num_found / num_total, *ends))
    return lines


def _found(findings: Findings, interval: float) -> dict[str, list[Line]]:
    supported = {far: some for far, some in findings.recovered.items() if some is not None}
    lines: dict[str, list[Line]] = {}
    for name, values in injected(findings.folds).items():
        if not len(values):
            continue
        edges = snr_edges(values) if "SNR" in name else quantity_edges(values)
        middle = np.sqrt(edges[:-1] * edges[1:])
        lines[name] = []
        for far, found in supported.items():
            result = found_fraction(values, np.concatenate(found), edges, interval)
            some = result.num_total > 0
            lines[name].append(
                Line(
                    f"{far:g} / yr",
                    middle[some],
                    result.fraction[some],
                    result.lower[some],
                    result.upper[some],
                )
            )
    return lines
