"""Trains a version whenever enough new data have come."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cleaning import load_cleaning_experiment
from cleaning.experiment import EXPERIMENT
from ledger import staged

from deepclean.frames import list_frames
from deepclean.models import list_versions, read_roles
from deepclean.models.manifest import Manifest
from deepclean.models.roles import locked, set_roles
from deepclean.verbs import collect, publish

log = logging.getLogger("deepclean")

Span = tuple[int, int]
PARENT, VERSION, FAILED = "parent", "version", "failed"
"""Files of a training's folder: the version that it goes on from; what it was published as; why
it came to nothing."""


def sibling_command() -> list[str]:
    """The training's command line, from its environment beside this project.

    Raises:
        FileNotFoundError: There is none.
    """
    python = Path(__file__).resolve().parents[2] / "train" / ".venv" / "bin" / "python"
    if not python.is_file():
        raise FileNotFoundError(
            f"no environment of the training at {python}: make it by `python -m "
            "aframe.environment projects/train`, or give --train_command"
        )
    return [str(python), "-m", "train"]


@dataclass
class Trainer:
    """Collects, trains, publishes; one training after another.

    All that it knows lies in its folder and in the store: ended at any moment and begun again, it
    goes on with the training that it was at, from the last checkpoint.

    Attributes:
        experiment: Cleaning experiment, or its folder.
        frames: Folder with `strain/` and `witness/`.
        store: Folder of all versions.
        folder: Gets a folder for each training, named by its span.
        config: What `train` is configured by.
        command: What `train` is run by.
        duration: Data that a training learns from [s].
        cadence: Time from the end of one training's data to that of the next [s].
        decay: Factor of the learning rate where a training goes on from an earlier version.
    """

    experiment: Path
    frames: Path
    store: Path
    folder: Path
    config: Path
    command: Sequence[str]
    duration: int
    cadence: int
    decay: float = 0.1

    def step(self) -> int | None:
        """Train once, if there is anything to train on.

        Returns:
            The version that was published; None if there was nothing to do, or it failed.
        """
        span = self._unfinished() or self._next()
        if span is None:
            return None
        try:
            version = self._train(span)
        except (ValueError, FileNotFoundError, subprocess.CalledProcessError) as error:
            log.warning("nothing came of the data from GPS %d to %d: %s", *span, error)
            self._place(span).mkdir(parents=True, exist_ok=True)
            (self._place(span) / FAILED).write_text(f"{error}\n")
            return None
        self._forget()
        return version

    def _place(self, span: Span) -> Path:
        return self.folder / f"{span[0]}-{span[1]}"

    def _spans(self) -> list[Span]:
        """Spans of all trainings whose folders are there, in order."""
        folders = [path.name.split("-") for path in self.folder.glob("[0-9]*-[0-9]*")]
        return sorted((int(start), int(stop)) for start, stop in folders)

    def _unfinished(self) -> Span | None:
        for span in self._spans():
            if not any((self._place(span) / name).exists() for name in (VERSION, FAILED)):
                return span
        return None

    def _next(self) -> Span | None:
        """The span of the next training; None if it is too early for one."""
        found = []
        for name in ("strain", "witness"):
            folder = self.frames / name
            names = list_frames(folder) if folder.is_dir() else []
            if not names:
                return None
            found.append((names[0].start, names[-1].stop))
        first, last = max(start for start, _ in found), min(stop for _, stop in found)
        # a second more on either side, for the filters
        stop = last - 1
        start = stop - self.duration
        done = [end for _, end in self._spans()] + [m.span[1] for m in list_versions(self.store)]
        if first > start - 1 or (done and stop < max(done) + self.cadence):
            return None
        return start, stop

    def _train(self, span: Span) -> int:
        place = self._place(span)
        settings = load_cleaning_experiment(self.experiment)
        path = place / EXPERIMENT
        if not path.is_file():
            content = settings.model_dump(mode="json") | {
                "problem": str(settings.file(settings.problem).resolve()),
                "simulation": None,
                "training": {"start": span[0], "duration": span[1] - span[0]},
                "evaluation": {"start": span[1], "duration": settings.evaluation.duration},
            }
            with staged(path) as partial:
                partial.write_text(yaml.safe_dump(content, sort_keys=False))
        parent, weights = self._parent(place / PARENT)
        runs: list[Path] = []
        for layer in range(len(settings.load_problem().layers)):
            run, data = place / f"train-{layer}", place / f"witnesses-{layer}.hdf5"
            if not (run / "model.yaml").is_file():
                if not data.is_file():
                    collect(path, self.frames, data, layer, list(runs))
                self._fit(path, data, run, layer, weights)
            data.unlink(missing_ok=True)
            runs.append(run)
        found = self._published(span)
        if found is None:
            publish(path, runs, self.store, parent)
            found = self._published(span)
        elif found.state == "canary":
            self._put_on_trial(found.version)
        assert found is not None
        (place / VERSION).write_text(f"{found.version}\n")
        return found.version

    def _fit(
        self, experiment: Path, data: Path, run: Path, layer: int, weights: Path | None
    ) -> None:
        words = [*self.command, "fit", "--config", str(self.config)]
        words += ["--experiment", str(experiment), "--run_dir", str(run)]
        words += ["--data.init_args.witnesses", str(data)]
        if layer:
            settings = load_cleaning_experiment(experiment).of_layer(layer)
            place = run.with_name(f"layer-{layer}.yaml")
            with staged(place) as partial:
                partial.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
            words[words.index(str(experiment))] = str(place)
        if weights is not None:
            usual = yaml.safe_load(self.config.read_text())["model"]["init_args"]["learning_rate"]
            words += ["--model.init_args.start_from", str(weights / run.name / "best.ckpt")]
            words += ["--model.init_args.learning_rate", str(self.decay * usual)]
        log.info("training on the data of %s", experiment.parent.name)
        subprocess.run(words, check=True)

    def _published(self, span: Span) -> Manifest | None:
        """The version that was trained on a span; None if there is none."""
        found = [m for m in list_versions(self.store) if m.span == span]
        return found[-1] if found else None

    def _put_on_trial(self, version: int) -> None:
        """Name a version the canary, where its publishing ended before that."""
        with locked(self.store):
            set_roles(self.store, read_roles(self.store).model_copy(update={"canary": version}))

    def _versions(self) -> dict[int, Path]:
        """Folder of each version that was trained here."""
        folders = [self._place(span) for span in self._spans()]
        return {
            int((folder / VERSION).read_text()): folder
            for folder in folders
            if (folder / VERSION).is_file()
        }

    def _parent(self, path: Path) -> tuple[int, Path | None]:
        """The version to go on from, and its training's folder; 0 and None for none.

        Args:
            path: File that keeps the version's number, chosen once for a training.
        """
        versions = self._versions()
        if not path.is_file():
            chosen = self._choose_parent(list(versions))
            with staged(path) as partial:
                partial.write_text(f"{chosen}\n")
        chosen = int(path.read_text())
        return chosen, versions.get(chosen)

    def _choose_parent(self, versions: Sequence[int]) -> int:
        """What is in production, or else the newest that nothing speaks against."""
        production = read_roles(self.store).production
        if production in versions:
            return production
        states = {m.version: m.state for m in list_versions(self.store)}
        return max((v for v in versions if states.get(v) not in (None, "rejected")), default=0)

    def _forget(self) -> None:
        """Remove folders that no training will go on from, but for the newest."""
        roles, versions = read_roles(self.store), self._versions()
        kept = {versions[v] for v in (roles.production, roles.canary) if v in versions}
        for span in self._spans()[:-1]:
            if self._place(span) not in kept:
                shutil.rmtree(self._place(span))
