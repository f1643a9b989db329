"""What `python -m deepclean` does, verb by verb."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Literal

import yaml
from cleaning import Cleaned, CleaningExperiment, NoiseEstimator, load_cleaning_experiment
from cleaning.cleaner import HISTORY, LATENCY
from ledger import Provenance, staged
from runtime.provenance import code_version

from deepclean.collect import collect_witnesses
from deepclean.frames import Format, FrameFolder, GuardedReader, open_frames
from deepclean.locking import alone
from deepclean.models import Journal, list_versions, set_state
from deepclean.models import publish as publish_version
from deepclean.models.versions import estimator
from deepclean.online.drops import Drops
from deepclean.online.monitor import Monitor
from deepclean.online.output import Output
from deepclean.online.service import OnlineCleaner
from deepclean.online.source import FrameSource, Stream
from deepclean.online.storage import ColdStorage
from deepclean.online.telemetry import Record, Telemetry
from deepclean.online.verdict import Rules
from deepclean.pieces import Order, choose_devices, clean_span
from deepclean.served import Transport, open_source
from deepclean.simulation import Plant, load_simulation
from deepclean.simulation.frames import write_simulated

log = logging.getLogger("deepclean")

Span = Literal["training", "evaluation"]
POLL = 0.02
"""How often a folder is looked at while nothing comes [s]."""


def load_plant(settings: CleaningExperiment) -> Plant:
    """The simulated detector of an experiment.

    Raises:
        ValueError: The experiment names none.
    """
    if settings.simulation is None:
        raise ValueError(
            f"experiment {settings.name} names no simulation: set simulation to its file, or give "
            "frames of your own to the other verbs"
        )
    simulation = load_simulation(settings.file(settings.simulation))
    return Plant(simulation, settings.load_problem().ifo)


def simulate(
    experiment: Path, output: Path, span: Span = "evaluation", frame_length: int = 1
) -> None:
    """Write simulated frames of strain and witnesses, and the truth beside them.

    Args:
        experiment: Cleaning experiment, or its folder.
        output: Folder for `strain/`, `witness/` and `truth/`, put in place whole.
        span: Which of the experiment's spans.
        frame_length: Length of each file [s].
    """
    settings = load_cleaning_experiment(experiment)
    stretch = settings.training if span == "training" else settings.evaluation
    with staged(Path(output)) as folder:
        # with what a cleaner looks at on either side
        write_simulated(
            load_plant(settings),
            settings.load_problem(),
            folder,
            stretch.start - HISTORY,
            stretch.stop + LATENCY,
            frame_length,
        )


def collect(
    experiment: Path,
    frames: Path,
    output: Path,
    layer: int = 0,
    earlier: list[Path] | None = None,
) -> None:
    """Make the data that a layer's network learns from.

    Args:
        experiment: Cleaning experiment, or its folder.
        frames: Folder with `strain/` and `witness/`.
        output: The file.
        layer: Which layer, from 0.
        earlier: Run folders of the layers before it, whose noise is taken off the strain.
    """
    settings = load_cleaning_experiment(experiment).of_layer(layer)
    problem = settings.load_problem()
    runs = earlier or []
    if len(runs) != layer:
        raise ValueError(
            f"layer {layer} learns what {layer} layers before it have left: give their run "
            f"folders by --earlier, found {len(runs)}"
        )
    before: NoiseEstimator | None = None
    if runs:
        part = problem.model_copy(update={"layers": problem.layers[:layer]})
        before = estimator(part, [Path(run) / "model.pt" for run in runs])
    with GuardedReader() as reader:
        strain, witness = open_frames(problem, frames, reader)
        found = collect_witnesses(settings, strain, witness, before)
    output.parent.mkdir(parents=True, exist_ok=True)
    provenance = Provenance("deepclean collect", code_version(), settings.settings())
    found.write(output, provenance)
    log.info("%s: %d of %d s usable", output, int(found.usable.sum()), len(found.usable))


def publish(
    experiment: Path,
    runs: list[Path],
    store: Path,
    parent: int = 0,
    promote: bool = False,
) -> None:
    """Add trained networks to the versions, as a canary.

    Args:
        experiment: Cleaning experiment, or its folder.
        runs: Run folder of each layer, as `train fit` made them.
        store: Folder of all versions.
        parent: Version that they were fine-tuned from; 0 for none.
        promote: Whether to put it into production without a trial.
    """
    settings = load_cleaning_experiment(experiment)
    measures: dict[str, float] = {}
    for i, run in enumerate(runs):
        description = yaml.safe_load((Path(run) / "model.yaml").read_text())
        measures |= {f"layer_{i}_{k}": float(v) for k, v in description["measures"].items()}
    span = (settings.training.start, settings.training.stop)
    networks = [Path(run) / "model.pt" for run in runs]
    version = publish_version(
        Path(store), settings.file(settings.problem), networks, span, measures, parent
    )
    for i in range(len(runs)):
        found, linear = (measures.get(f"layer_{i}_valid_{n}") for n in ("asd_ratio", "wiener"))
        if found is not None and linear is not None and found >= linear:
            log.warning(
                "layer %d leaves %.4f of the density, the best linear filter %.4f: train longer, "
                "or use a linear network",
                i,
                found,
                linear,
            )
    if promote:
        set_state(Path(store), version, "production", "promoted by hand")
    log.info("published version %d in %s", version, store)


def clean(
    experiment: Path,
    frames: Path,
    store: Path,
    output: Path,
    version: int = 0,
    start: int | None = None,
    stop: int | None = None,
    frame_length: int = 64,
    recorded: Path | None = None,
    transport: Transport = "memory",
    server: str | None = None,
    repository: Path | None = None,
    format: Format = "gwf",
    devices: list[str] | None = None,
    workers: int = 1,
) -> None:
    """Clean a span of frames.

    Args:
        experiment: Cleaning experiment, or its folder.
        frames: Folder with `strain/` and `witness/`.
        store: Folder of all versions.
        output: Folder for the cleaned frames, put in place whole.
        version: Version to clean with; the newest if 0.
        start: First second; that of the evaluation span if None [GPS s].
        stop: Second after the last; that of the evaluation span if None [GPS s].
        frame_length: Length of each file [s].
        recorded: Folder of an online cleaner, to clean with the versions that it used, less what
            it gave up.
        transport: Where networks run: `memory`, `inprocess` (models of a repository, in this
            process), `triton` (on a server).
        server: Triton server, as HOST:PORT; one is started for the repository if None.
        repository: Folder that `export` made.
        format: How the files are written: `gwf`, `hdf5`.
        devices: Where networks in memory run, such as `[cuda:0, cuda:1]`; all accelerators that
            can be used, else the processor, if None.
        workers: Processes on each device; their number changes no result.
    """
    settings = load_cleaning_experiment(experiment)
    output, store = Path(output), Path(store)
    places = choose_devices(devices if transport == "memory" else ["cpu"], workers)
    if len(places) > 1 and transport == "triton" and server is None:
        raise ValueError("several --workers need one server: give --server HOST:PORT")
    first = settings.evaluation.start if start is None else start
    last = settings.evaluation.stop if stop is None else stop
    if version == 0 and recorded is None:
        version = max([0, *(m.version for m in list_versions(store))])
    with staged(output) as folder:
        folder.mkdir(exist_ok=True)
        order = Order(
            settings.load_problem(),
            Path(frames),
            store,
            folder,
            version,
            recorded=None if recorded is None else Path(recorded),
            frame_length=frame_length,
            format=format,
            transport=transport,
            server=server,
            repository=repository,
        )
        written = clean_span(order, first, last, places)
    log.info("%d files in %s", written, output)


def report(
    experiment: Path,
    frames: Path,
    cleaned: Path,
    output: Path,
    truth: Path | None = None,
    start: int | None = None,
    stop: int | None = None,
) -> None:
    """Say what cleaning did to a span: `index.html` and `summary.json`.

    Args:
        experiment: Cleaning experiment, or its folder.
        frames: Folder with `strain/` and `witness/`, as they came.
        cleaned: Folder of the cleaned frames.
        output: Folder of the report, put in place whole.
        truth: Folder of a simulation's truth, for the best that was possible.
        start: First second; that of the evaluation span if None [GPS s].
        stop: Second after the last; that of the evaluation span if None [GPS s].
    """
    # plots are slow to import, and no other verb needs them
    from deepclean.report import Reader, find, render

    settings = load_cleaning_experiment(experiment)
    problem = settings.load_problem()
    first = settings.evaluation.start if start is None else start
    last = settings.evaluation.stop if stop is None else stop
    with staged(Path(output)) as folder, GuardedReader() as reader:
        folder.mkdir(exist_ok=True)
        strain, witness = open_frames(problem, frames, reader)
        after = FrameFolder(Path(cleaned), Reader.channels_of(problem), reader)
        found = find(settings, Reader(problem, strain, witness, after, truth), first, last)
        render(found, folder)
    log.info("report: %s", Path(output) / "index.html")


def online(
    experiment: Path,
    frames: Path,
    store: Path,
    output: Path,
    patience: float = 2.0,
    until: int | None = None,
    early: bool = True,
    transport: Transport = "memory",
    server: str | None = None,
    repository: Path | None = None,
    server_patience: float = 0.5,
) -> None:
    """Clean frames as they appear, for ever.

    Ended at any moment and begun again it goes on with the next second.

    Args:
        experiment: Cleaning experiment, or its folder.
        frames: Folder in whose `strain/` and `witness/` one-second frames appear.
        store: Folder of all versions, whose roles are followed.
        output: Gets `cleaned/`, `early/`, `telemetry/`, `drops.jsonl` and `journal.jsonl`.
        patience: How long a frame is waited for after something later has come [s].
        until: Ends when this second is written [GPS s]; never if None.
        early: Whether to write the production channel alone, one second earlier.
        transport: See `clean`.
        server: See `clean`.
        repository: See `clean`.
        server_patience: Time without an answer after which strain is written as it came [s];
            a server that stayed silent is asked again after five times as long.
    """
    settings = load_cleaning_experiment(experiment)
    problem, output = settings.load_problem(), Path(output)
    output.mkdir(parents=True, exist_ok=True)
    telemetry = Telemetry(output / "telemetry")
    with (
        alone(output / ".cleaner", "a cleaner"),
        open_source(
            transport, server, repository, server_patience, 5 * server_patience
        ) as runs_on,
        GuardedReader() as reader,
    ):
        while True:
            try:
                strain, witness = open_frames(problem, frames, reader)
            except FileNotFoundError:
                # the first frame is still to come
                time.sleep(10 * POLL)
                continue
            break
        rates = {name: witness.rates[name] for name in problem.witnesses}
        streams = (
            Stream("strain", strain.folder, strain.rates),
            Stream("witnesses", witness.folder, rates),
        )
        results = Output(output / "cleaned", problem, output / "early" if early else None)
        last = (results.next_second() or 1) - 1
        source = FrameSource(streams, Drops(output / "drops.jsonl"), reader, patience)

        def written(cleaned: Cleaned, compute: float) -> None:
            nonlocal last
            last = cleaned.second
            arrived = source.arrived(cleaned.second)
            latency = 0.0 if arrived is None else time.monotonic() - arrived
            telemetry.add(Record.of(cleaned, compute, latency))

        cleaner = OnlineCleaner(
            problem,
            source,
            results,
            Path(store),
            Journal(output / "journal.jsonl"),
            strain.rates[problem.strain_channel],
            rates,
            written,
            runs_on,
        )
        while until is None or last < until:
            if not cleaner.step():
                time.sleep(POLL)


def monitor(
    store: Path,
    output: Path,
    cold_storage: Path | None = None,
    trial: int = 100,
    carousel: int = 300,
    storage_length: int = 4096,
    period: float = 1.0,
    until: int | None = None,
) -> None:
    """Judge versions, keep the newest cleaned frames, store long stretches.

    Args:
        store: Folder of all versions.
        output: Folder of the online cleaner.
        cold_storage: Folder for long frames; nothing is stored if None.
        trial: Time that a canary is judged over [s].
        carousel: Cleaned frames that are kept [s].
        storage_length: Length of a stored frame [s].
        period: Time between two looks [s].
        until: Ends when this second is cleaned [GPS s]; never if None.
    """
    output = Path(output)
    telemetry = Telemetry(output / "telemetry")
    storage = None if cold_storage is None else ColdStorage(Path(cold_storage), storage_length)
    watch = Monitor(
        Path(store), telemetry, Rules(trial=trial), output / "cleaned", carousel, storage
    )
    while True:
        last = telemetry.last()
        watch.step()
        if until is not None and last is not None and last.second >= until:
            return
        time.sleep(period)
