"""The search of one fold: all of it in one process, or its steps."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path
from typing import cast

from ledger import (
    EventSet,
    InjectionSet,
    Product,
    Provenance,
    RecoveredInjections,
    StrainIndex,
    staged,
)
from runtime import load_experiment, make_provenance, require_same
from runtime.provenance import SAME_MODEL

from infer.background import find_background
from infer.branches import require_branch
from infer.exclusion import LeftOut, find_left_out
from infer.foreground import find_foreground
from infer.injection_details import find_injection_details
from infer.merging import join_parts, join_results, part_name, write_results
from infer.prepared import Prepared, read_prepared, write_prepared
from infer.series import score_series
from infer.serving import Transport
from infer.session import Session, opened
from infer.zero_lag import find_zero_lag

log = logging.getLogger("infer")


def search(
    experiment: Path,
    repository: Path,
    strain: Path,
    output: Path,
    injections: Path | None = None,
    fold: int = 0,
    exclude: Path | None = None,
    scores: Path | None = None,
    transport: Transport = "inprocess",
    server: str | None = None,
) -> None:
    """Search the strain of one fold: time slides, injections, zero lag.

    Args:
        experiment: Experiment file or its folder.
        repository: Model repository of `export`.
        strain: Strain index.
        output: Folder for background.hdf5 and zero-lag.hdf5 and, with injections, foreground.hdf5
            and injection-details.hdf5; put in place whole.
        injections: Injections into the strain to be searched; none if None.
        fold: Fold of the experiment.
        exclude: File of windows to leave out of the background, beside those of known events and
            of `search.vetoes`: two columns of GPS times [s].
        scores: File for the scores of the zero lag; not kept if None.
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: An input was made with other settings or is broken.
        ServerError: The server does not start, or has died.
        ValueError: The strain is too short for a score or for a slide.
    """
    with opened(experiment, repository, transport, server) as session:
        signals = None if injections is None else _read_injections(session, injections)
        left_out = _left_out(session, strain, exclude)
        provenance = _provenance(session, "search", strain, injections, left_out)
        # frames lie on disk for as long as the search lasts, since they may exceed memory
        with staged(output) as folder, score_series(scores, provenance) as series:
            write_prepared(session, strain, folder / "frames", fold)
            prepared = read_prepared(session, strain, folder / "frames", fold)
            background = find_background(prepared, left_out)
            products = join_results(
                session.experiment,
                lambda: [background],
                find_zero_lag(prepared, series, left_out),
                [] if signals is None else [find_foreground(prepared, signals)],
            )
            if signals is not None:
                products |= _details(prepared, signals, products)
            shutil.rmtree(folder / "frames")
            write_results(products, provenance, folder)
    _report(products, fold)


def frames(
    experiment: Path,
    repository: Path,
    strain: Path,
    output: Path,
    fold: int = 0,
    files: list[int] | None = None,
    transport: Transport = "inprocess",
    server: str | None = None,
) -> None:
    """Whiten the strain of one fold and pass it through the towers, to be searched by the others.

    Args:
        experiment: Experiment file or its folder.
        repository: Model repository of `export`.
        strain: Strain index.
        output: Folder for a folder of each file, called by its number.
        fold: Fold of the experiment.
        files: Numbers of the files among those searched, in time order; all if None.
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: An input was made with other settings or is broken.
        ServerError: The server does not start, or has died.
        ValueError: There is no such file.
    """
    with opened(experiment, repository, transport, server) as session:
        write_prepared(session, strain, Path(output), fold, files)


def slides(
    experiment: Path,
    repository: Path,
    strain: Path,
    frames: Path,
    output: Path,
    fold: int = 0,
    branch: int = 0,
    branches: int = 1,
    exclude: Path | None = None,
    scores: Path | None = None,
    scored_slides: list[int] | None = None,
    transport: Transport = "inprocess",
    server: str | None = None,
) -> None:
    """Search the time slides of a branch.

    Args:
        experiment: Experiment file or its folder.
        repository: Model repository of `export`.
        strain: Strain index.
        frames: Folder that `frames` made.
        output: File for the events.
        fold: Fold of the experiment.
        branch: Which part of the slides, from 0.
        branches: Of how many parts, alike in livetime.
        exclude: File of windows to leave out, beside those of known events and of
            `search.vetoes`: two columns of GPS times [s].
        scores: File for the scores of slides; not kept if None.
        scored_slides: Numbers of the slides, from 1, whose scores are kept; all of the branch's if
            None.
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: An input was made with other settings or is broken.
        ServerError: The server does not start, or has died.
        ValueError: There is no such branch, or the strain is too short for a slide.
    """
    require_branch(branch, branches)
    with opened(experiment, repository, transport, server) as session:
        left_out = _left_out(session, strain, exclude)
        prepared = read_prepared(session, strain, frames, fold)
        name = part_name("slides", branch, branches)
        provenance = _provenance(session, name, strain, left_out=left_out)
        with score_series(scores, provenance, scored_slides) as series:
            events = find_background(prepared, left_out, branch, branches, series)
        events.write(output, provenance)


def zero_lag(
    experiment: Path,
    repository: Path,
    strain: Path,
    frames: Path,
    output: Path,
    fold: int = 0,
    exclude: Path | None = None,
    scores: Path | None = None,
    transport: Transport = "inprocess",
    server: str | None = None,
) -> None:
    """Search the data as they are.

    Args:
        experiment: Experiment file or its folder.
        repository: Model repository of `export`.
        strain: Strain index.
        frames: Folder that `frames` made.
        output: File for the events.
        fold: Fold of the experiment.
        exclude: The file that `slides` is given; here, events are marked.
        scores: File for the scores; not kept if None.
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: An input was made with other settings or is broken.
        ServerError: The server does not start, or has died.
    """
    with opened(experiment, repository, transport, server) as session:
        left_out = _left_out(session, strain, exclude)
        prepared = read_prepared(session, strain, frames, fold)
        provenance = _provenance(session, part_name("zero-lag", 0, 1), strain, left_out=left_out)
        with score_series(scores, provenance) as series:
            events = find_zero_lag(prepared, series, left_out)
        events.write(output, provenance)


def injections(
    experiment: Path,
    repository: Path,
    strain: Path,
    frames: Path,
    injections: Path,
    output: Path,
    fold: int = 0,
    branch: int = 0,
    branches: int = 1,
    transport: Transport = "inprocess",
    server: str | None = None,
) -> None:
    """Search for the injections of a branch.

    Args:
        experiment: Experiment file or its folder.
        repository: Model repository of `export`.
        strain: Strain index.
        frames: Folder that `frames` made.
        injections: Injections into the strain to be searched.
        output: File for what the search gives for them.
        fold: Fold of the experiment.
        branch: Which part of the injections, from 0.
        branches: Of how many parts.
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: An input is missing.
        ProductError: An input was made with other settings or is broken.
        ServerError: The server does not start, or has died.
        ValueError: There is no such branch, or an injection lies outside the strain.
    """
    require_branch(branch, branches)
    with opened(experiment, repository, transport, server) as session:
        signals = _read_injections(session, injections)
        prepared = read_prepared(session, strain, frames, fold)
        found = find_foreground(prepared, signals, branch, branches)
        name = part_name("injections", branch, branches)
        found.write(output, _provenance(session, name, strain, injections))


def merge(
    experiment: Path,
    repository: Path,
    strain: Path,
    frames: Path,
    slides: list[Path],
    zero_lag: Path,
    output: Path,
    injections: Path | None = None,
    recovered: list[Path] | None = None,
    fold: int = 0,
    transport: Transport = "inprocess",
    server: str | None = None,
) -> None:
    """Join what the branches found: the same bytes as `search` makes, for any number of branches.

    Args:
        experiment: Experiment file or its folder.
        repository: Model repository of `export`.
        strain: Strain index.
        frames: Folder that `frames` made.
        slides: What `slides` made, in the order of the branches.
        zero_lag: What `zero-lag` made.
        output: Folder for background.hdf5 and zero-lag.hdf5 and, with injections, foreground.hdf5
            and injection-details.hdf5; put in place whole.
        injections: Injections into the strain that was searched; none if None.
        recovered: What `injections` made, in the order of the branches.
        fold: Fold of the experiment.
        transport: Where the networks run: in this process, or on a Triton server.
        server: A Triton server that serves the repository, as HOST:PORT; with the transport
            `triton` one is started on this machine if None.

    Raises:
        FileNotFoundError: A part is missing.
        ProductError: A part is broken, or of other settings, inputs or code than the others.
        ServerError: The server does not start, or has died.
        ValueError: There are injections, but nothing that was found of them, or the other way.
    """
    if (injections is None) != (not recovered):
        raise ValueError(
            "--injections and --recovered go together: give the injections and what `infer "
            "injections` made of them, or neither"
        )
    settings = load_experiment(experiment)
    products, provenance = join_parts(settings, slides, zero_lag, recovered or [])
    if injections is not None:
        with opened(experiment, repository, transport, server) as session:
            signals = _read_injections(session, injections)
            prepared = read_prepared(session, strain, frames, fold)
            products |= _details(prepared, signals, products)
    with staged(output) as folder:
        write_results(products, provenance, folder)
    _report(products, fold)


def _details(
    prepared: Prepared, signals: InjectionSet, products: dict[str, Product]
) -> dict[str, Product]:
    """What is shown of some injections, as a product by its name."""
    found = cast("RecoveredInjections", products["foreground"])
    background = cast("EventSet", products["background"])
    return {"injection-details": find_injection_details(prepared, signals, found, background)}


def _left_out(session: Session, strain: Path, exclude: Path | None) -> LeftOut:
    return find_left_out(StrainIndex.read(strain), session.experiment, exclude)


def _read_injections(session: Session, path: Path) -> InjectionSet:
    require_same(path, session.experiment, (*SAME_MODEL, "injections", "waveforms"))
    return InjectionSet.read(path)


def _provenance(
    session: Session,
    generator: str,
    strain: Path,
    injections: Path | None = None,
    left_out: LeftOut | None = None,
) -> Provenance:
    parents = {"strain": strain} | ({} if injections is None else {"injections": injections})
    provenance = make_provenance(generator, session.experiment, None, parents)
    more = {"network": session.models.network["sha256"]}
    if left_out is not None:
        more["left_out"] = left_out.digest
    return dataclasses.replace(provenance, parents={**provenance.parents, **more})


def _report(products: dict[str, Product], fold: int) -> None:
    background = cast("EventSet", products["background"])
    unslid = cast("EventSet", products["zero-lag"])
    foreground = products.get("foreground")
    log.info(
        "fold %d: %.0f s of zero lag with %d events; %d slides, %.1f d of background with %d "
        "events above %g; %s",
        fold,
        unslid.livetime,
        len(unslid.statistic),
        len(background.slide_livetime),
        background.livetime / 86400,
        len(background.statistic),
        background.threshold,
        f"{len(cast('RecoveredInjections', foreground).statistic)} injections"
        if foreground
        else "no injections",
    )
