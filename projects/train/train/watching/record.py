"""One validation as it is kept: its figures of merit, and the data of its drawings."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from train.watching.examples import Example
from train.watching.figures import (
    LEVELS,
    LOUDEST,
    MISSED,
    NOISE,
    RECALL,
    SCORES,
    example_name,
)
from train.watching.scores import Scores, recall_by_snr, roc, score_histogram

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Record:
    """A validation.

    Attributes:
        epoch: Epoch after which it was made, from 0.
        step: Steps of the optimizer before it.
        measures: Figures of merit by name; None for those that are not finite.
        says: What is to be seen, by group of drawings; a group that is not here has no data.
        titles: Titles of the figures by name; a figure that is not here has no data.
        data: Columns by name of their data source, float32, in base64.
    """

    epoch: int
    step: int
    measures: dict[str, float | None]
    says: dict[str, str]
    titles: dict[str, str]
    data: dict[str, dict[str, str]]


def make_record(
    epoch: int,
    step: int,
    measures: Mapping[str, float],
    scores: Scores,
    examples: Mapping[str, Sequence[Example]],
    ifos: Sequence[str],
) -> Record:
    """Keep what is drawn of a validation.

    Args:
        epoch: Epoch after which it was made.
        step: Steps of the optimizer before it.
        measures: Figures of merit by name.
        scores: Scores.
        examples: Kernels by group of drawings.
        ifos: Detectors.
    """
    data, titles = _score_columns(scores)
    levels = scores.thresholds()
    name, threshold = next(iter(levels.items()))
    missed = int((scores.foreground <= threshold).sum())
    total = len(scores.foreground)
    says = {
        SCORES: f"{len(scores.background):,} blocks of background in {scores.livetime:,.0f} s and "
        f"{total:,} injections. The shaded part of the ROC is what the partial area counts.",
        MISSED: f"{missed:,} of {total:,} injections do not score above {threshold:.4g} "
        f"({LEVELS[name]}). These are the loudest of them, by SNR.",
        LOUDEST: "The injections with the largest scores.",
        NOISE: "The background with the largest scores, slid as it was scored.",
    }
    for group, found in examples.items():
        for number, example in enumerate(found):
            name = example_name(group, number)
            data[name] = {"time": example.time}
            for i, ifo in enumerate(ifos):
                data[name][f"strain {ifo}"] = example.strain[i]
                data[name][f"gradient {ifo}"] = example.gradient[i]
            place = [] if example.coalescence is None else [example.coalescence]
            data[f"{name} coalescence"] = {"time": np.array(place)}
            titles[f"{name} strain"] = _title(example)
            titles[f"{name} gradient"] = "input gradient"
    return Record(
        epoch=epoch,
        step=step,
        measures={n: v if math.isfinite(v) else None for n, v in measures.items()},
        says={g: says[g] for g in says if g == SCORES or examples.get(g)},
        titles=titles,
        data={source: {c: encode(v) for c, v in cs.items()} for source, cs in data.items()},
    )


def encode(values: Any) -> str:
    """Numbers as base64 of little-endian float32."""
    return base64.b64encode(np.asarray(values).astype("<f4").tobytes()).decode()


def decode(text: str) -> np.ndarray:
    """What `encode` made."""
    return np.frombuffer(base64.b64decode(text), "<f4")


def _score_columns(scores: Scores) -> tuple[dict[str, Columns], dict[str, str]]:
    """Data of the drawings of all scores, and their titles."""
    rate, recall = roc(scores)
    data: dict[str, Columns] = {"roc": {"rate": rate, "recall": recall}}
    levels = scores.thresholds()
    for name in LEVELS:
        binned = recall_by_snr(scores, levels[name]) if name in levels else None
        data[f"recall {name}"] = {
            column: np.array([]) if binned is None else getattr(binned, column)
            for column in RECALL
        }
        if name != "loudest":
            above = [(scores.background > levels[name]).mean()] if name in levels else []
            found = [scores.recall(levels[name])] if name in levels else []
            data[f"roc {name}"] = {"rate": np.array(above), "recall": np.array(found)}
    edges, *fractions = score_histogram(scores)
    bottom = 0.4 / max(len(scores.background), len(scores.foreground))
    for name, values in zip(("background", "injections"), fractions, strict=True):
        some = values > 0
        data[f"histogram {name}"] = {
            "left": edges[:-1][some],
            "right": edges[1:][some],
            "top": values[some],
            "bottom": np.full(some.sum(), bottom),
        }
    titles = {
        "roc": f"ROC, area under the whole {scores.area():.4f}",
        "histogram": "Scores (last bin: all louder injections)",
        "recall": "Recall by SNR, 68 % intervals",
    }
    return data, titles


def _title(example: Example) -> str:
    if example.row is None:
        return f"score {example.score:.4g}"
    return f"score {example.score:.4g}, SNR {example.snr:.1f}, injection {example.row}"
