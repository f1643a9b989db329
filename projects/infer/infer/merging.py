"""Join what branches found to the products of a search."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ledger import EventSet, Product, ProductError, Provenance, RecoveredInjections
from ledger.product import read_provenance
from runtime import Experiment, require_same

from infer.foreground import joined_foreground
from infer.found import event_set, joined, number_kept

GENERATOR = "infer search"


def part_name(verb: str, branch: int, branches: int) -> str:
    """What a part says it was made by."""
    return f"infer {verb} {branch} of {branches}"


def check_parts(experiment: Experiment, verb: str, paths: Sequence[Path]) -> Provenance:
    """See that parts are those of all branches of one search.

    Args:
        experiment: The experiment that all must have been made with.
        verb: The verb that made them.
        paths: The parts, in the order of their branches.

    Returns:
        The provenance of the first.

    Raises:
        FileNotFoundError: A part is missing.
        ProductError: A part is broken, or is of other settings, inputs or code.
    """
    origins = []
    for branch, path in enumerate(paths):
        require_same(path, experiment, tuple(experiment.settings()))
        origin = read_provenance(path)
        expected = part_name(verb, branch, len(paths))
        if origin.generator != expected:
            raise ProductError(
                f"{path} was made by {origin.generator}, expected {expected}: give the parts of "
                "all branches in their order"
            )
        origins.append(origin)
        _require_same_origin(origin, path, origins[0], paths[0])
    return origins[0]


def _require_same_origin(found: Provenance, path: Path, expected: Provenance, other: Path) -> None:
    shared = set(found.parents) & set(expected.parents)
    if found.code_version != expected.code_version or any(
        found.parents[name] != expected.parents[name] for name in shared
    ):
        raise ProductError(
            f"{path} was made from other inputs, or by other code, than {other}: make all parts "
            "again"
        )


def join_results(
    experiment: Experiment,
    backgrounds: Callable[[], Iterable[EventSet]],
    zero_lag: EventSet,
    foregrounds: Sequence[RecoveredInjections],
) -> dict[str, Product]:
    """Join what branches found.

    Args:
        experiment: The experiment.
        backgrounds: Gives the events of the slides, branch by branch; called twice, so that no
            more than one of them and what is kept need to be in memory.
        zero_lag: Events of the zero lag.
        foregrounds: Recovered injections, branch by branch; empty for none.

    Returns:
        The products of a search, by the names of their files.
    """
    # one exact sum, the same however the slides were cut
    livetime = math.fsum(time for part in backgrounds() for time in part.slide_livetime)
    found = joined(backgrounds(), number_kept(experiment, livetime, zero_lag.livetime))
    spans = {"analysed": zero_lag.analysed, "analysed_label": zero_lag.analysed_label}
    fold = int(zero_lag.slide_fold[0])
    products: dict[str, Product] = {
        "background": event_set(found, "background", experiment, fold, **spans),
        "zero-lag": zero_lag,
    }
    if foregrounds:
        products["foreground"] = joined_foreground(list(foregrounds))
    return products


def write_results(products: dict[str, Product], provenance: Provenance, folder: Path) -> None:
    """Write the products of a search, with one provenance.

    Args:
        products: By the names of their files.
        provenance: Names all inputs of the search.
        folder: Where to; made if it is not there.
    """
    folder.mkdir(exist_ok=True)
    provenance = dataclasses.replace(provenance, generator=GENERATOR)
    for name, product in products.items():
        product.write(folder / f"{name}.hdf5", provenance)


def join_parts(
    experiment: Experiment,
    slides: Sequence[Path],
    zero_lag: Path,
    injections: Sequence[Path],
) -> tuple[dict[str, Product], Provenance]:
    """Join the files that branches wrote.

    Args:
        experiment: The experiment.
        slides: Parts of the background, in the order of their branches.
        zero_lag: The zero lag.
        injections: Parts of the injections, in the order of their branches; empty for none.

    Returns:
        The products by the names of their files, and the provenance of all.

    Raises:
        ProductError: A part is broken, is missing, or is of other settings, inputs or code.
    """
    origin = check_parts(experiment, "slides", slides)
    other = check_parts(experiment, "zero-lag", [zero_lag])
    _require_same_origin(other, zero_lag, origin, slides[0])
    if injections:
        full = check_parts(experiment, "injections", injections)
        _require_same_origin(origin, slides[0], full, injections[0])
        origin = dataclasses.replace(origin, parents=full.parents | origin.parents)
    products = join_results(
        experiment,
        lambda: (EventSet.read(path) for path in slides),
        EventSet.read(zero_lag),
        [RecoveredInjections.read(path) for path in injections],
    )
    return products, origin
