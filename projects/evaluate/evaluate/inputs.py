"""What the search hands over: read, and refused if it does not belong together."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ledger import EventSet, ProductError, RecoveredInjections, StrainIndex, read_provenance
from ledger.product import product_id
from runtime import Experiment, require_same
from runtime.provenance import SAME_MODEL, SAME_STRAIN

# Settings in which the products must agree with the experiment. Those of `evaluation` may
# differ: a report with other false-alarm rates needs no new search.
SAME_SEARCH = (*SAME_MODEL, "strain", "folds", "waveforms", "injections", "search")
SAME_INDEX = (*SAME_STRAIN, "strain", "folds")


@dataclass(frozen=True)
class FoldResult:
    """Results of the search of one fold.

    Attributes:
        fold: Which fold of the experiment.
        background: Events of the time slides.
        zero_lag: Events of the data as they are.
        injections: Recovered injections; none of them, drawn or accepted, if there was no search
            for any.
        ids: Product id of each file, by its name without suffix.
    """

    fold: int
    background: EventSet
    zero_lag: EventSet
    injections: RecoveredInjections
    ids: Mapping[str, str]

    @property
    def injected(self) -> bool:
        """Whether injections were searched for."""
        return "foreground" in self.ids


def read_results(
    folders: Sequence[Path], experiment: Experiment, strain: Path
) -> tuple[StrainIndex, list[FoldResult]]:
    """Read the strain index and the results of all folds.

    Args:
        folders: One folder for each fold, in any order, with `background.hdf5`, `zero-lag.hdf5`
            and, in all or in none, `foreground.hdf5`.
        experiment: The experiment.
        strain: The strain index.

    Returns:
        The index, and the folds in order.

    Raises:
        FileNotFoundError: A file is missing.
        ProductError: A file is not the product it should be, was made with other settings or
            from other strain, is of another fold than its neighbours, or holds nothing.
    """
    index = StrainIndex.read(strain)
    require_same(strain, experiment, SAME_INDEX)
    results = [_read_fold(folder, experiment, product_id(strain), strain) for folder in folders]
    results.sort(key=lambda result: result.fold)
    found = [result.fold for result in results]
    if found != list(range(experiment.folds)):
        raise ProductError(
            f"--results holds folds {found}, but {experiment.source} has folds "
            f"{list(range(experiment.folds))}: give the folder of each fold once"
        )
    without = [result.fold for result in results if not result.injected]
    if 0 < len(without) < len(results):
        raise FileNotFoundError(
            f"no foreground.hdf5 in the results of fold {without[0]}, but in those of another: "
            "search all folds with injections, or none"
        )
    _require_disjoint(results)
    return index, results


def _read_fold(folder: Path, experiment: Experiment, index_id: str, strain: Path) -> FoldResult:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder {folder}: expected the results of `infer search` there, with "
            "background.hdf5, zero-lag.hdf5 and, where there are injections, foreground.hdf5"
        )
    paths = {name: folder / f"{name}.hdf5" for name in ("background", "foreground", "zero-lag")}
    injected = paths["foreground"].exists()
    if not injected:
        del paths["foreground"]
    background = EventSet.read(paths["background"])
    injections = (
        RecoveredInjections.read(paths["foreground"]) if injected else _no_injections(experiment)
    )
    zero_lag = EventSet.read(paths["zero-lag"])
    for path in paths.values():
        require_same(path, experiment, SAME_SEARCH)
    _require_parents(paths, index_id, strain)
    for name, events in (("background", background), ("zero-lag", zero_lag)):
        if events.kind != name:
            raise ProductError(
                f"{paths[name]} holds events of kind {events.kind!r}, expected {name!r}"
            )
        if not events.livetime > 0:
            raise ProductError(
                f"{paths[name]} has a livetime of {events.livetime} s: nothing was searched. "
                "Give longer strain or, for the background, a smaller search.slide_step"
            )
    if not len(background.statistic):
        raise ProductError(
            f"{paths['background']} holds no event in {background.livetime:.6g} s: without "
            "background no event has a false-alarm rate. Search again with a lower threshold of "
            f"stored events (it is {background.threshold}) or a longer search.background_livetime"
        )
    if len(background.ifos) > 1:
        shift = np.asarray(background.slide_shift)
        unshifted = np.flatnonzero((shift == shift[:, :1]).all(axis=1))
        if len(unshifted):
            raise ProductError(
                f"{paths['background']}: slide {unshifted[0]} shifts all detectors alike, so the "
                "background holds the zero lag; search again without this slide"
            )
    num_drawn = len(injections.snr) + len(injections.rejected_snr)
    if injected and not num_drawn:
        raise ProductError(
            f"{paths['foreground']} holds no injections, neither accepted nor rejected: make "
            "some with `datagen injections` and search again"
        )
    return FoldResult(
        fold=_one_fold(paths, background, zero_lag, injections),
        background=background,
        zero_lag=zero_lag,
        injections=injections,
        ids={name: product_id(path) for name, path in paths.items()},
    )


def _no_injections(experiment: Experiment) -> RecoveredInjections:
    """Recovered injections where none were searched for."""
    empty = np.empty(0)
    return RecoveredInjections(
        ifos=experiment.ifos,
        snr_threshold=experiment.injections.snr_threshold,
        volume=0.0,
        statistic=empty,
        time=empty,
        injection_time=empty,
        snr=empty,
        ifo_snr=np.empty((0, len(experiment.ifos))),
        fold=np.empty(0, dtype=np.int16),
        parameters={},
        stream="",
        rejected={},
        rejected_snr=empty,
        rejected_file=np.empty(0, dtype=np.int32),
        rejected_draw=np.empty(0, dtype=np.int64),
    )


def _one_fold(
    paths: Mapping[str, Path],
    background: EventSet,
    zero_lag: EventSet,
    injections: RecoveredInjections,
) -> int:
    columns = {
        "background": np.concatenate([background.slide_fold, background.fold]),
        "foreground": injections.fold,
        "zero-lag": np.concatenate([zero_lag.slide_fold, zero_lag.fold]),
    }
    expected = int(columns["background"][0])
    for name, column in columns.items():
        others = sorted({int(fold) for fold in np.unique(column)} - {expected})
        if others:
            raise ProductError(
                f"{paths[name]} holds fold {others[0]}, but {paths['background']} begins with "
                f"fold {expected}: one folder holds one fold, because each fold has a network of "
                "its own and their statistics cannot be compared"
            )
    return expected


def _require_parents(paths: Mapping[str, Path], index_id: str, strain: Path) -> None:
    """Stop if the three files were made from different inputs, or from other strain."""
    first = paths["background"]
    known = {"strain": (index_id, strain)}
    for path in paths.values():
        for role, identity in sorted(read_provenance(path).parents.items()):
            expected, where = known.setdefault(role, (identity, first))
            if identity != expected:
                raise ProductError(
                    f"{path} was made from {role} {identity[:12]}, but that of {where} is "
                    f"{expected[:12]}: search again with the same inputs"
                )


def _require_disjoint(results: Sequence[FoldResult]) -> None:
    """Stop if a time was searched twice: its events would need a trials factor."""
    spans = sorted(
        (float(start), float(stop), result.fold)
        for result in results
        for start, stop in np.asarray(result.zero_lag.analysed)
    )
    for left, right in itertools.pairwise(spans):
        if left[1] > right[0]:
            raise ProductError(
                f"[{right[0]}, {min(left[1], right[1])}) was searched twice, in fold {left[2]} "
                f"and in fold {right[2]}: each time belongs to the search of one fold"
            )


def read_stages(path: Path) -> dict[str, float]:
    """Read the wall time of each stage.

    Args:
        path: JSON file with a mapping from stage to seconds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It does not hold such a mapping.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: expected the wall time of each stage there")
    try:
        stages = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(stages, dict):
        raise ValueError(f"{path} holds a {type(stages).__name__}, expected {{stage: seconds}}")
    for name, seconds in stages.items():
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not number or not 0 <= seconds < np.inf:
            raise ValueError(f"{path}: {name} took {seconds!r}, expected seconds")
    return {name: float(seconds) for name, seconds in stages.items()}
