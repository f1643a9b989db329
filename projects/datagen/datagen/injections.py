"""Injections: signals at set times of the strain, loud enough to have a chance."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import priors
from ledger import InjectionSet, StrainIndex
from ledger.strain import Role
from priors.draws import NumberedDraws
from runtime import (
    Experiment,
    generator_for,
    load_experiment,
    make_provenance,
    progress,
    require_same,
)
from runtime.provenance import SAME_STRAIN
from waveforms import SignalModel, detector_responses, signal_model

from datagen.injector import Injector
from datagen.merging import joined, read_parts
from datagen.slots import Slots, find_slots, no_slots

log = logging.getLogger("datagen")

VERBS: dict[Role, str] = {"search": "injections", "validation": "validation-waveforms"}


def make_injections(
    experiment: str | Path,
    strain: str | Path,
    fold: int,
    output: str | Path,
    role: Role,
    branch: int = 0,
    branches: int = 1,
) -> None:
    """Make the injections for the files of a role, or for a part of them.

    The parts that all branches make are together, joined by `merge_injections`, the same bytes
    for any number of branches.

    Args:
        experiment: Experiment file or its folder.
        strain: Strain index.
        fold: Which fold.
        output: File to write.
        role: `search` or `validation`.
        branch: Which part of the files.
        branches: How many parts there are.

    Raises:
        ValueError: No such fold, branch or population, no room for a signal, or none loud enough.
        ledger.ProductError: The strain is of other detectors or another sample rate.
    """
    settings = load_experiment(experiment)
    signals = settings.waveforms
    folder = Path(settings.source).parent
    population = priors.load_population(signals.prior, signals.redshift_max, folder)
    index = StrainIndex.read(strain)
    require_same(strain, settings, SAME_STRAIN)
    if not 0 <= fold < index.num_folds:
        raise ValueError(f"no fold {fold}: {strain} has folds 0 to {index.num_folds - 1}")
    if not 0 <= branch < branches:
        raise ValueError(f"no branch {branch}: there are branches 0 to {branches - 1}")
    files = index.files(strain, role, fold)
    verb = VERBS[role]
    stream = f"{verb}/{fold}"
    model = signal_model(signals, settings.sample_rate)
    sets = []
    for number in progress(range(len(files)), f"files of {verb}", unit="file"):
        if number * branches // len(files) != branch:
            continue
        slots = find_slots(settings, index, files[number], role, fold, number)
        if slots is None:
            log.info("%s has no room for an injection", files[number].label)
            slots = no_slots(settings)
        sets.append(_fill(settings, slots, population, model, stream, number))
    if not sets:
        raise ValueError(
            f"{strain}: no {role} file of fold {fold} for branch {branch} of {branches}: it has "
            f"{len(files)}"
        )
    injections = joined(sets)
    if branches == 1:
        _require_some(injections, strain, role, settings)
    provenance = make_provenance(
        f"datagen {verb}", settings, seed=settings.seed, parents={"strain": strain}
    )
    injections.write(output, provenance)
    report(injections, verb)


def merge_injections(experiment: str | Path, parts: Sequence[Path], output: str | Path) -> None:
    """Join the parts that the branches of `make_injections` made.

    Args:
        experiment: Experiment file or its folder.
        parts: The parts, in the order of their branches.
        output: File to write: the same bytes as one branch alone makes.

    Raises:
        ledger.ProductError: A part is broken or of other settings or strain than the first.
        ValueError: There is no injection in any of them.
    """
    settings = load_experiment(experiment)
    sets, provenance = read_parts(settings, parts, InjectionSet)
    injections = joined(sets)
    verb = injections.stream.split("/", maxsplit=1)[0]
    _require_some(injections, parts[0], verb, settings)
    injections.write(output, provenance)
    report(injections, verb)


def _fill(
    experiment: Experiment,
    slots: Slots,
    population: priors.Population,
    model: SignalModel,
    stream: str,
    number: int,
) -> InjectionSet:
    """The injections of one file."""
    draws = NumberedDraws(
        population, lambda chunk: generator_for(experiment.seed, stream, number, chunk)
    )
    injector = Injector(experiment, slots, draws, model)
    total = len(slots.time)
    for _ in progress(injector.fill(), f"file {number}", total=total, unit="injection"):
        pass
    parameters = draws.take(injector.draw)
    stored = experiment.injections.storage == "waveforms"
    response = np.zeros((0, len(experiment.ifos), model.size), dtype=np.float32)
    if stored and len(slots.time):
        response = detector_responses(model, parameters, slots.time, experiment.ifos)
    rejected = injector.rejected
    nothing = np.zeros(0)
    draw = np.concatenate([np.zeros(0, dtype=np.int64), *rejected.draw])
    order = np.argsort(draw)
    failures = sorted(injector.failures.items())
    return InjectionSet(
        ifos=experiment.ifos,
        sample_rate=experiment.sample_rate,
        coalescence=model.coalescence,
        snr_threshold=experiment.injections.snr_threshold,
        volume=0.0 if population.redshift_max is None else population.volume,
        stream=stream,
        time=slots.time,
        shift=slots.shift,
        snr=np.sqrt(np.square(injector.ifo_snr).sum(axis=1)),
        ifo_snr=injector.ifo_snr,
        file=np.full(len(slots.time), number),
        draw=injector.draw,
        parameters=parameters,
        response=response,
        rejected=draws.take(draw[order]) if stored else {},
        rejected_snr=np.concatenate([nothing, *rejected.snr])[order],
        rejected_by=np.concatenate([nothing, *rejected.by])[order],
        rejected_file=np.full(len(draw), number),
        rejected_draw=draw[order],
        failed_file=np.full(len(failures), number),
        failed_draw=np.array([draw for draw, _ in failures], dtype=np.int64),
        failed_reason=[reason for _, reason in failures],
    )


def _require_some(
    injections: InjectionSet, source: str | Path, role: str, experiment: Experiment
) -> None:
    if not len(injections.time):
        raise ValueError(
            f"{source}: no file for {role} has room for an injection; each needs more than "
            f"{experiment.shortest_segment} s, and time away from known events"
        )


def report(injections: InjectionSet, verb: str) -> None:
    """Log how many draws were accepted, rejected by what, and failed."""
    by = np.bincount(np.asarray(injections.rejected_by, dtype=int), minlength=3)
    log.info(
        "%s: %d accepted of %d draws (%.1f %%); rejected by bound %d, by estimate %d, by optimal "
        "SNR %d",
        verb,
        len(injections.time),
        injections.num_drawn,
        100 * len(injections.time) / max(1, injections.num_drawn),
        *by,
    )
    if len(injections.failed_draw):
        log.warning(
            "%s: %d draws gave no physical waveform and were drawn again; the first: %s",
            verb,
            len(injections.failed_draw),
            injections.failed_reason[0],
        )
