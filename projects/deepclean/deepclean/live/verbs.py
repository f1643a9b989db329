"""What `python -m deepclean` does in a live installation, verb by verb."""

from __future__ import annotations

import logging
import shlex
import time
from pathlib import Path

import yaml
from cleaning import load_cleaning_experiment
from ledger import staged

from deepclean.live.services import Layout, verb
from deepclean.live.supervisor import Service, Supervisor
from deepclean.locking import alone
from deepclean.play import Player
from deepclean.status import serve_status
from deepclean.trainer import Trainer, sibling_command
from deepclean.trainings import Trainings
from deepclean.trainings import conclude as conclude_training
from deepclean.trainings.stretches import NothingToDoError
from deepclean.verbs import load_plant

log = logging.getLogger("deepclean")

PATIENCE = 2.0
"""How long a frame is waited for, in the time of the data [s]."""


def play(
    experiment: Path,
    output: Path,
    rate: float = 1.0,
    start: int | None = None,
    duration: int | None = None,
    faults: float = 0.0,
    seed: int = 0,
    keep: int | None = None,
) -> None:
    """Write simulated frames second by second, as an observatory does.

    Ended at any moment and begun again it goes on where it was.

    Args:
        experiment: Cleaning experiment, or its folder.
        output: Gets `strain/` and `witness/`.
        rate: Seconds of data in a second; `.inf` for as fast as it goes.
        start: First second; that of the evaluation span if None [GPS s].
        duration: How much is played; for ever if None [s].
        faults: Probability that a frame comes late, comes twice or is broken.
        seed: Of the faults.
        keep: Newest frames that are kept; all if None.
    """
    settings = load_cleaning_experiment(experiment)
    first = settings.evaluation.start if start is None else start
    player = Player(
        load_plant(settings),
        settings.load_problem(),
        Path(output),
        first,
        rate,
        faults,
        seed,
        keep,
    )
    player.play(None if duration is None else first + duration)


def trainer(
    experiment: Path,
    frames: Path,
    store: Path,
    output: Path,
    train_config: Path | None = None,
    train_command: str | None = None,
    training_duration: int | None = None,
    cadence: int | None = None,
    fine_tune_decay: float = 0.1,
    usable: float = 0.5,
    period: float = 5.0,
    once: bool = False,
) -> None:
    """Train and publish a version whenever enough new data have come.

    Ended at any moment and begun again it goes on with the training that it was at.

    Args:
        experiment: Cleaning experiment, or its folder.
        frames: Folder in whose `strain/` and `witness/` frames appear.
        store: Folder of all versions.
        output: Folder for the trainings.
        train_config: Configuration of the training; `train.yaml` beside the experiment if None.
        train_command: What `train` is run by; the environment of `projects/train` beside this one
            if None.
        training_duration: Data that a training learns from; that of the experiment if None [s].
        cadence: Time from the end of one training's data to that of the next; half of the
            training's duration if None [s].
        fine_tune_decay: Factor of the learning rate where a training goes on from an earlier
            version.
        usable: Part of the data that must be usable.
        period: Time between two looks at the frames [s].
        once: Whether to end when a version was published.
    """
    trainings = _trainings(
        experiment,
        frames,
        store,
        output,
        train_config,
        training_duration,
        cadence,
        fine_tune_decay,
        usable,
    )
    command = sibling_command() if train_command is None else shlex.split(train_command)
    service = Trainer(trainings, command)
    with alone(trainings.folder / ".trainer", "a trainer"):
        while True:
            version = service.step()
            if once and version is not None:
                return
            if version is None:
                time.sleep(period)


def plan(
    experiment: Path,
    frames: Path,
    store: Path,
    output: Path,
    result: Path,
    train_config: Path | None = None,
    training_duration: int | None = None,
    cadence: int | None = None,
    fine_tune_decay: float = 0.1,
    usable: float = 0.5,
) -> None:
    """Decide on the next training, for others to run: its folder gets `plan.yaml`.

    Args:
        experiment: Cleaning experiment, or its folder.
        frames: Folder with `strain/` and `witness/`.
        store: Folder of all versions.
        output: Folder for the trainings.
        result: File that says the training's folder; none where there is nothing to do, and why.
        train_config: See `trainer`.
        training_duration: See `trainer`.
        cadence: See `trainer`.
        fine_tune_decay: See `trainer`.
        usable: See `trainer`.
    """
    trainings = _trainings(
        experiment,
        frames,
        store,
        output,
        train_config,
        training_duration,
        cadence,
        fine_tune_decay,
        usable,
    )
    place, reason = None, ""
    try:
        place = str(trainings.next())
    except NothingToDoError as error:
        reason = str(error)
    with staged(Path(result)) as partial:
        partial.write_text(yaml.safe_dump({"training": place, "reason": reason}))
    log.info("%s", place or f"nothing to do: {reason}")


def _trainings(
    experiment: Path,
    frames: Path,
    store: Path,
    output: Path,
    train_config: Path | None,
    training_duration: int | None,
    cadence: int | None,
    fine_tune_decay: float,
    usable: float,
) -> Trainings:
    settings = load_cleaning_experiment(experiment)
    duration = training_duration or settings.training.duration
    return Trainings(
        Path(experiment),
        Path(frames),
        Path(store),
        Path(output),
        settings.file("train.yaml") if train_config is None else Path(train_config),
        duration,
        cadence or duration // 2,
        fine_tune_decay,
        usable,
    )


def conclude(training: Path, store: Path) -> None:
    """Publish what a planned training has made, as a canary; the last step of its plan.

    Args:
        training: The training's folder.
        store: Folder of all versions.
    """
    version = conclude_training(Path(training), Path(store))
    log.info("version %d is on trial", version)


def status(output: Path, store: Path | None = None, port: int = 0) -> None:
    """Show how a live installation is, at an address of this machine alone.

    Args:
        output: Folder of the installation; gets `status.url`.
        store: Folder of all versions; `models` in the folder if None.
        port: Where to listen; where it was the last time, or any that is free, if 0.
    """
    layout = Layout(Path(output))
    serve_status(layout.root, layout.store if store is None else Path(store), layout.address, port)


def live(
    experiment: Path,
    output: Path,
    rate: float = 1.0,
    duration: int | None = None,
    store: Path | None = None,
    faults: float = 0.0,
    train: bool = True,
    train_command: str | None = None,
    training_duration: int | None = None,
    cadence: int | None = None,
    trial: int = 100,
    carousel: int = 300,
    storage_length: int = 4096,
    standby: bool = True,
    port: int = 0,
) -> None:
    """Run all of it on one machine: player, cleaner, monitor, trainer, status page.

    Each is begun again when it ends, however it ends; all end with this process. Begun again on
    the same folder it goes on where it was.

    Args:
        experiment: Cleaning experiment, or its folder.
        output: Folder of the installation.
        rate: Seconds of data in a second; `.inf` for as fast as it goes.
        duration: Data after which all ends; never if None [s].
        store: Folder of all versions; `models` in the folder if None.
        faults: Probability that a frame comes late, comes twice or is broken.
        train: Whether versions are trained.
        train_command: See `trainer`.
        training_duration: See `trainer`.
        cadence: See `trainer`.
        trial: Time that a canary is judged over [s].
        carousel: Cleaned frames that are kept [s].
        storage_length: Length of the frames in cold storage [s].
        standby: Whether a second cleaner waits, loaded, for the first to end.
        port: Where the status page is; any that is free if 0.
    """
    settings = load_cleaning_experiment(experiment)
    experiment, layout = Path(experiment).resolve(), Layout(Path(output).resolve())
    models = layout.store if store is None else Path(store).resolve()
    length = training_duration or settings.training.duration
    common = {"experiment": experiment, "store": models, "frames": layout.frames}
    # two seconds more are waited for than can be cleaned
    last = None if duration is None else settings.evaluation.start + duration - 3
    cleaner = verb(
        "online",
        turn=layout.turn,
        **common,
        output=layout.root,
        patience=max(0.2, PATIENCE / rate),
        until=last,
    )
    names = ("cleaner", "standby") if standby else ("cleaner",)
    services = [
        Service(
            "player",
            verb(
                "play",
                experiment=experiment,
                output=layout.frames,
                rate=rate,
                duration=duration,
                faults=faults,
                # with room for the time that collecting takes
                keep=None if duration else 2 * length,
            ),
            ends=True,
        ),
        *(Service(name, cleaner, ends=True) for name in names),
        Service(
            "monitor",
            verb(
                "monitor",
                store=models,
                output=layout.root,
                cold_storage=layout.cold,
                trial=trial,
                carousel=carousel,
                storage_length=storage_length,
            ),
        ),
        Service("status", verb("status", output=layout.root, store=models, port=port)),
    ]
    if train:
        options = {
            "train_command": train_command,
            "training_duration": training_duration,
            "cadence": cadence,
        }
        command = verb("trainer", **common, output=layout.trainings, **options)
        services.append(Service("trainer", command))
    Supervisor(services, layout.root).run()
