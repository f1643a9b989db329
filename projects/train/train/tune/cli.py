"""`python -m train.tune`: options that begin with `--tune` are the study's."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentParser
from runtime import load_experiment, seed_for
from runtime.cli import configure_logging, run_or_explain
from runtime.storage.places import Places

from train.tune.cluster import prepare

if TYPE_CHECKING:
    from train.tune.settings import Settings

log = logging.getLogger("train")
TRAINING = (sys.executable, "-m", "train", "fit")


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options of the study, and options of the training.

    Args:
        arguments: Options as `--name value` or `--name=value`.
    """
    study: list[str] = []
    training: list[str] = []
    part = training
    for word in arguments:
        if word.startswith("-"):
            ours = word.partition("=")[0].partition(".")[0] == "--tune" or word in ("-h", "--help")
            part = study if ours else training
        part.append(word)
    return study, training


def resolve(training: Sequence[str]) -> dict[str, Any]:
    """The whole training configuration, as the training itself reads it.

    Args:
        training: Options of `train fit`, without `--run_dir`.

    Raises:
        ValueError: The training refuses them.
    """
    if any(word.partition("=")[0] == "--run_dir" for word in training):
        raise ValueError("--run_dir is given to each trial by the study: leave it out")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*TRAINING, *training, f"--run_dir={folder}", "--print_config"],
            capture_output=True,
            text=True,
            check=False,
        )
    config = yaml.safe_load(done.stdout) if done.returncode == 0 else None
    if not isinstance(config, dict):
        lines = done.stderr.strip().splitlines()
        raise ValueError(f"`train fit` refuses these options: {lines[-1] if lines else 'no word'}")
    config.pop("run_dir", None)
    return config


def make_parser() -> ArgumentParser:
    """Parser of the options of the study."""
    from train.tune.settings import Settings

    parser = ArgumentParser(
        prog="train.tune",
        description="Tune a training: many trials side by side, of which the poor ones are "
        "stopped early. Options that do not begin with --tune are those of `train fit`, without "
        "--run_dir. --tune FILE reads the options of the study from a YAML file.",
    )
    parser.add_class_arguments(Settings, "tune")
    return parser


def run(arguments: Sequence[str]) -> None:
    """Tune as the options say."""
    study, training = split(arguments)
    parser = make_parser()
    settings = parser.instantiate_classes(parser.parse_args(study)).tune
    settings.check()
    from train.tune.space import apply_values, make_domains, read_space

    space = read_space(settings.space)
    make_domains(space)
    config = resolve(training)
    apply_values(config, dict.fromkeys(space))
    # The network that a trial leaves is its best by the same measure.
    config["monitor"] = settings.metric
    # In W&B they are one group, each under the name of its trial.
    config["wandb_group"] = config["wandb_group"] or settings.name
    config["wandb_name"] = None
    config["trainer"]["devices"] = max(1, int(settings.gpus_per_worker))
    if not settings.gpus_per_worker:
        config["trainer"]["accelerator"] = "cpu"
    from train.tune.study import run_study
    from train.tune.trial import Plan

    plan = Plan(
        study=settings.name,
        config=config,
        directory=str(Path.cwd()),
        temp_dir=str((settings.temp_dir or Path(tempfile.gettempdir())).absolute()),
        metric=settings.metric,
    )
    seed = seed_for(load_experiment(Path(config["experiment"])).seed, "tune", config["fold"])
    with result_published(settings):
        log.info("result: %s", run_study(settings, space, plan, seed))


@contextlib.contextmanager
def result_published(settings: Settings) -> Iterator[None]:
    """Have the copy of the result appear in a bucket at the end, if that is where it goes.

    Args:
        settings: How to tune; `copy_dir` is a folder on this machine within the block.
    """
    places = Places()
    settings.copy_dir = places.localise("output", settings.copy_dir)
    with places.published():
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point.

    Args:
        arguments: Options; those of the process if None.
    """
    configure_logging()
    for noisy in ("aiobotocore", "botocore"):  # where they found keys, each time
        logging.getLogger(noisy).setLevel(logging.WARNING)
    prepare()
    given = sys.argv[1:] if arguments is None else arguments
    run_or_explain("train tune", lambda: run(given))
