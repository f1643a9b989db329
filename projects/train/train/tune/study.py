"""A study: trials drawn from a search space, run side by side, kept where they can go on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pyarrow import fs
from ray import tune
from ray.tune.schedulers import ASHAScheduler, AsyncHyperBandScheduler, TrialScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator

from train.tune import storage
from train.tune.cluster import cluster
from train.tune.report import copy_report, explain, write_report
from train.tune.settings import Settings
from train.tune.space import apply_values, make_domains
from train.tune.trial import Plan, make_trainable

log = logging.getLogger("train")


class Progress(tune.Callback):
    """A line for each epoch of each trial, and one for each trial that has ended.

    Args:
        metric: The measure to show.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Say how the trial does, and how many run."""
        states = [t.status for t in trials]
        log.info(
            "trial %s: epoch %d, %s %.4f (%d running, %d ended)",
            trial.trial_id,
            result["epoch"] + 1,
            self.metric,
            result[self.metric],
            states.count("RUNNING"),
            states.count("TERMINATED") + states.count("ERROR"),
        )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Say that it failed, others go on."""
        sentence = explain(Path(trial.error_file).read_text())
        log.warning("trial %s failed: %s", trial.trial_id, sentence)


class Memory(tune.Callback):
    """Keeps what ASHA knows with the study, which Ray itself does not.

    Without it the trials of a study that goes on would be compared with each other alone.

    Args:
        scheduler: The scheduler of the study. One of another kind begins anew.
    """

    def __init__(self, scheduler: TrialScheduler) -> None:
        self.scheduler = scheduler

    def get_state(self) -> dict[str, Any] | None:
        """What the scheduler knows."""
        if not isinstance(self.scheduler, AsyncHyperBandScheduler):
            return None
        return {"scheduler": copy.deepcopy(vars(self.scheduler))}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what it knew."""
        vars(self.scheduler).update(state["scheduler"])


def make_scheduler(settings: Settings, max_epochs: int | None) -> TrialScheduler:
    """The scheduler asked for, or ASHA.

    ASHA (Li et al., arXiv:1810.05934) lets the better half go on at 1/10 of the longest training,
    at 2/10, at 4/10, ...

    Args:
        settings: How to tune.
        max_epochs: Longest training, in epochs.

    Raises:
        ValueError: The longest training is not known.
    """
    if settings.scheduler is not None:
        return settings.scheduler
    if not max_epochs or max_epochs < 1:
        raise ValueError(
            f"trainer.max_epochs is {max_epochs}: ASHA compares trials at fractions of the "
            "longest training, set it or give --tune.scheduler"
        )
    return ASHAScheduler(
        max_t=max_epochs, grace_period=max(1, round(max_epochs / 10)), reduction_factor=2
    )


def describe(settings: Settings, space: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """What must stay the same for a study to go on."""
    return {
        "space": dict(space),
        "metric": settings.metric,
        "mode": settings.mode,
        "num_samples": settings.num_samples,
        "scheduler": settings.scheduler and type(settings.scheduler).__name__,
        "searcher": settings.searcher and type(settings.searcher).__name__,
        "config": plan.config,
    }


def _differences(one: Any, other: Any, name: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for key in {**one, **other}
            for line in _differences(one.get(key), other.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if one == other else [f"{name} was {one!r}, is {other!r}"]


def run_study(settings: Settings, space: Mapping[str, Any], plan: Plan, seed: int) -> str:
    """Run a study to its end, or go on with one that was interrupted.

    Args:
        settings: How to tune.
        space: Distribution of each dotted name of the training configuration.
        plan: What the trials share.
        seed: Seed of the values drawn.

    Returns:
        Folder or address of the study.

    Raises:
        ValueError: A name of the space is not known, the study was begun with other settings, or
            all trials failed.
    """
    settings.check()
    domains = make_domains(space)
    apply_values(plan.config, dict.fromkeys(domains))
    scheduler = make_scheduler(settings, plan.config.get("trainer", {}).get("max_epochs"))
    files, root = storage.open_storage(settings.storage_dir)
    folder = f"{root}/{settings.name}"
    files.create_dir(folder, recursive=True)
    described = yaml.safe_dump(describe(settings, space, plan), sort_keys=False)
    record = f"{folder}/study.yaml"
    if storage.exists(files, record):
        begun = yaml.safe_load(storage.read(files, record))
        if changes := _differences(begun, yaml.safe_load(described)):
            raise ValueError(
                f"study {settings.name} in {settings.storage_dir} was begun with other settings "
                f"({'; '.join(changes[:3])}): give another --tune.name"
            )
    else:
        storage.write(files, record, described.encode())
    address = f"{settings.storage_dir.rstrip('/')}/{settings.name}"
    # The table is written last.
    if storage.exists(files, f"{folder}/trials.csv"):
        log.info("study %s has ended before", settings.name)
    else:
        trainable = tune.with_resources(make_trainable(plan), settings.resources)
        with cluster(settings.endpoint, settings.resources):
            if storage.exists(files, f"{folder}/tuner.pkl"):
                log.info("going on with study %s", settings.name)
                tuner = tune.Tuner.restore(
                    folder,
                    trainable,
                    resume_unfinished=True,
                    # what made them fail may have been the machine
                    resume_errored=True,
                    storage_filesystem=files,
                )
            else:
                tuner = _make_tuner(settings, domains, scheduler, seed, trainable, files, root)
            write_report(files, folder, tuner.fit(), settings.metric, settings.mode)
    if settings.copy_dir:
        copy_report(files, folder, settings.copy_dir)
    return address


def _make_tuner(
    settings: Settings,
    domains: dict[str, Any],
    scheduler: TrialScheduler,
    seed: int,
    trainable: Any,
    files: fs.FileSystem,
    root: str,
) -> tune.Tuner:
    """A study that begins."""
    # The default searcher is told itself how many trials run side by side.
    searcher, limit = settings.searcher, settings.num_workers
    if searcher is None:
        searcher, limit = BasicVariantGenerator(random_state=seed, max_concurrent=limit), None
    return tune.Tuner(
        trainable,
        param_space=domains,
        tune_config=tune.TuneConfig(
            metric=settings.metric,
            mode=settings.mode,
            num_samples=settings.num_samples,
            max_concurrent_trials=limit,
            scheduler=scheduler,
            search_alg=searcher,
            reuse_actors=True,
            trial_name_creator=_name,
            trial_dirname_creator=_name,
        ),
        run_config=tune.RunConfig(
            name=settings.name,
            storage_path=root,
            storage_filesystem=files,
            verbose=0,
            callbacks=[Progress(settings.metric), Memory(scheduler)],
            failure_config=tune.FailureConfig(max_failures=settings.max_failures),
            # One more than the newest: what the study knows of a trial is written after it.
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=2, checkpoint_frequency=1, checkpoint_at_end=True
            ),
        ),
    )


def _name(trial: Any) -> str:
    """Name and folder of a trial: its number, without the values."""
    return str(trial.trial_id)
