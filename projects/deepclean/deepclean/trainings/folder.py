"""The folder of all trainings: which comes next, what became of those before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cleaning import CleaningExperiment, load_cleaning_experiment
from cleaning.experiment import EXPERIMENT
from ledger import staged

from deepclean.models import list_versions, read_roles
from deepclean.models.manifest import Manifest
from deepclean.models.roles import locked, set_roles
from deepclean.trainings.plan import NAME as PLAN
from deepclean.trainings.plan import Plan, Step, options, read_plan
from deepclean.trainings.stretches import Span, Stretches
from deepclean.verbs import publish

VERSION, FAILED = "version", "failed"
"""Files of a training's folder: what it was published as; why it came to nothing."""
PROBLEM, TRAINING = "problem.yaml", "train.yaml"


def spans(folder: Path) -> list[Span]:
    """Spans of all trainings whose folders are there, in order."""
    names = [path.parent.name.split("-") for path in folder.glob(f"[0-9]*-[0-9]*/{PLAN}")]
    return sorted((int(start), int(stop)) for start, stop in names)


def place_of(folder: Path, span: Span) -> Path:
    """Folder of a training."""
    return folder / f"{span[0]}-{span[1]}"


def trained(folder: Path) -> dict[int, Path]:
    """Folder of each version that was trained here."""
    places = [place_of(folder, span) for span in spans(folder)]
    return {
        int((place / VERSION).read_text()): place
        for place in places
        if (place / VERSION).is_file()
    }


@dataclass
class Trainings:
    """Decides on trainings, one after another.

    All that it knows lies in its folder and in the store.

    Attributes:
        experiment: Cleaning experiment, or its folder.
        frames: Folder with `strain/` and `witness/`.
        store: Folder of all versions.
        folder: Gets a folder for each training, named by its span.
        config: What `train` is configured by.
        duration: Data that a training learns from [s].
        cadence: Time from the end of one training's data to that of the next [s].
        decay: Factor of the learning rate where a training goes on from an earlier version.
        usable: Part of a stretch that is to be usable.
    """

    experiment: Path
    frames: Path
    store: Path
    folder: Path
    config: Path
    duration: int
    cadence: int
    decay: float = 0.1
    usable: float = 0.5
    _stretches: Stretches = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._settings = load_cleaning_experiment(self.experiment)
        self.frames, self.store, self.folder = (
            path.absolute() for path in (self.frames, self.store, self.folder)
        )
        valid = max(1, round(self.duration * self._settings.valid_fraction))
        problem = self._settings.load_problem()
        self._stretches = Stretches(self.frames, problem, self.duration, valid, self.usable)

    def next(self) -> Path:
        """Folder of the training that is to be run, its plan in it.

        Raises:
            NothingToDoError: There is none.
        """
        for span in spans(self.folder):
            place = place_of(self.folder, span)
            if not any((place / name).exists() for name in (VERSION, FAILED)):
                return place
        done = [stop for _, stop in spans(self.folder)]
        done += [manifest.span[1] for manifest in list_versions(self.store)]
        span = self._stretches.newest(max(done) + self.cadence if done else 0)
        self._make(span)
        return place_of(self.folder, span)

    def _make(self, span: Span) -> None:
        """Make a training's folder, whole: the plan, and all that its commands are told."""
        settings, place = self._settings, place_of(self.folder, span)
        content = settings.model_dump(mode="json") | {
            "problem": PROBLEM,
            "simulation": None,
            "training": {"start": span[0], "duration": span[1] - span[0]},
            "evaluation": {"start": span[1], "duration": settings.evaluation.duration},
        }
        with staged(place) as partial:
            partial.mkdir()
            shutil.copyfile(settings.file(settings.problem), partial / PROBLEM)
            shutil.copyfile(self.config, partial / TRAINING)
            _write(partial / EXPERIMENT, content)
            for layer in range(len(settings.load_problem().layers)):
                _write(partial / f"layer-{layer}.yaml", content | {"layer": layer})
            self._plan(span, place, settings).write(partial)

    def _plan(self, span: Span, place: Path, settings: CleaningExperiment) -> Plan:
        parent, weights = self._parent()
        runs: list[Path] = []
        steps: list[Step] = []
        for layer in range(len(settings.load_problem().layers)):
            data, run = place / f"witnesses-{layer}.hdf5", place / f"train-{layer}"
            steps.append(self._collect(place, layer, data, runs))
            steps.append(self._fit(place, layer, data, run, weights))
            runs.append(run)
        words = ["conclude", *options(training=place, store=self.store)]
        steps.append(
            Step(
                name="publish",
                project="deepclean",
                arguments=tuple(words),
                output=place / VERSION,
            )
        )
        return Plan(span=span, parent=parent, runs=tuple(runs), steps=tuple(steps))

    def _collect(self, place: Path, layer: int, data: Path, earlier: Sequence[Path]) -> Step:
        words = ["collect", *options(experiment=place / EXPERIMENT, frames=self.frames)]
        words += options(output=data, layer=layer)
        if earlier:
            words += options(earlier=json.dumps([str(run) for run in earlier]))
        name = f"collect-{layer}"
        return Step(name=name, project="deepclean", arguments=tuple(words), output=data)

    def _fit(self, place: Path, layer: int, data: Path, run: Path, weights: Path | None) -> Step:
        experiment = place / f"layer-{layer}.yaml"
        words = ["fit", *options(config=place / TRAINING, experiment=experiment, run_dir=run)]
        words += options(**{"data.init_args.witnesses": data})
        if weights is not None:
            usual = yaml.safe_load(self.config.read_text())["model"]["init_args"]["learning_rate"]
            gently = {
                "model.init_args.start_from": weights / run.name / "best.ckpt",
                "model.init_args.learning_rate": self.decay * usual,
            }
            words += options(**gently)
        output = run / "model.yaml"
        return Step(name=run.name, project="train", arguments=tuple(words), output=output)

    def _parent(self) -> tuple[int, Path | None]:
        """The version to go on from, and its training's folder; 0 and None for none.

        It is what is in production, or else the newest that nothing speaks against.
        """
        versions = trained(self.folder)
        chosen = read_roles(self.store).production
        if chosen not in versions:
            states = {m.version: m.state for m in list_versions(self.store)}
            good = (v for v in versions if states.get(v) not in (None, "rejected"))
            chosen = max(good, default=0)
        return chosen, versions.get(chosen)


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def conclude(training: Path, store: Path) -> int:
    """Publish what a training has made, once, and tidy up.

    Args:
        training: The training's folder.
        store: Folder of all versions.

    Returns:
        The version.
    """
    plan = read_plan(training)
    found = _published(store, plan.span)
    if found is None:
        publish(training / EXPERIMENT, list(plan.runs), store, plan.parent)
        found = _published(store, plan.span)
    elif found.state == "canary":
        # its publishing may have ended before it was put on trial
        with locked(store):
            set_roles(store, read_roles(store).model_copy(update={"canary": found.version}))
    assert found is not None
    with staged(training / VERSION) as partial:
        partial.write_text(f"{found.version}\n")
    for data in training.glob("witnesses-*.hdf5"):
        data.unlink()
    _forget(training.parent, store)
    return found.version


def _published(store: Path, span: Span) -> Manifest | None:
    """The version that was trained on a span; None if there is none."""
    found = [manifest for manifest in list_versions(store) if manifest.span == span]
    return found[-1] if found else None


def _forget(folder: Path, store: Path) -> None:
    """Remove trainings that nothing will go on from, but for the newest."""
    roles, versions = read_roles(store), trained(folder)
    kept = {versions[v] for v in (roles.production, roles.canary) if v in versions}
    for span in spans(folder)[:-1]:
        if place_of(folder, span) not in kept:
            shutil.rmtree(place_of(folder, span))
