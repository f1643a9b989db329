"""Weights & Biases, where it is asked for."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import wandb
from jsonargparse import ArgumentParser
from ledger import staged
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger("train")

RUN_ID = "wandb-id.txt"
"""File in the run's folder that keeps the id by which W&B knows the run."""

INIT_TIMEOUT = 60.0
"""How long to wait for the service before the run goes on without it [s]."""

FINISH_TIMEOUT = 300.0
"""How long to wait at the end for what is not yet sent [s]."""


@dataclass(frozen=True)
class WandbOptions:
    """How a run is logged to Weights & Biases.

    Attributes:
        use_wandb: Whether to log there at all.
        name: Name of the run; by default W&B invents one.
        project: Project of the run.
        entity: User or team that owns the project; by default that of the account.
        group: Group of runs to show together, such as the seeds of one training.
        tags: Words to find the run by.
    """

    use_wandb: bool = False
    name: str | None = None
    project: str = "aframe"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()


def add_wandb_arguments(parser: ArgumentParser) -> None:
    """Add `--use-wandb`, `--wandb-name` and the others, also with underscores, to a parser.

    Args:
        parser: Command line of the training.
    """
    parser.add_argument(
        "--use_wandb", "--use-wandb", action="store_true", help="log to Weights & Biases"
    )
    kinds: dict[str, tuple[Any, Any, str]] = {
        "name": (str | None, None, "name of the run in W&B"),
        "project": (str, WandbOptions.project, "project of the run in W&B"),
        "entity": (str | None, None, "user or team that owns the W&B project"),
        "group": (str | None, None, "W&B group of the run"),
        "tags": (list[str], [], "words to find the run by in W&B"),
    }
    for name, (kind, default, text) in kinds.items():
        parser.add_argument(
            f"--wandb_{name}", f"--wandb-{name}", type=kind, default=default, help=text
        )


def wandb_options(arguments: Mapping[str, Any] | Any) -> WandbOptions:
    """Take what `add_wandb_arguments` added from the parsed command line.

    Args:
        arguments: Parsed arguments, a mapping or a namespace.
    """
    given = arguments if isinstance(arguments, Mapping) else vars(arguments)
    options = {f.name: given[f"wandb_{f.name}"] for f in fields(WandbOptions)[1:]}
    options["tags"] = tuple(options["tags"])
    return WandbOptions(use_wandb=given["use_wandb"], **options)


def make_logger(options: WandbOptions, folder: Path) -> WandbLogger | None:
    """Begin the run in W&B, or go on with it.

    Everything that W&B keeps lies below the run's folder. `WANDB_MODE=offline` works as W&B
    documents it. Where the service cannot be reached the training goes on and is logged offline.

    Args:
        options: Whether and how.
        folder: Folder of the run.

    Returns:
        The logger; None if W&B is not used.
    """
    if not options.use_wandb:
        return None
    folder = Path(folder)
    known = {"name": options.name, "project": options.project, "save_dir": folder}
    if rank_zero_only.rank != 0:
        return WandbLogger(**known)
    settings = {
        "dir": folder,
        "id": run_id(folder),
        "resume": "allow",
        "name": options.name,
        "project": options.project,
        "entity": options.entity,
        "group": options.group,
        "tags": options.tags or None,
        "settings": wandb.Settings(
            init_timeout=INIT_TIMEOUT, finish_timeout=FINISH_TIMEOUT, silent=True
        ),
    }
    # W&B uses the folder of temporary files where this one is not there
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    # or tables of an offline run would wait in the home directory to be sent
    os.environ.setdefault("WANDB_DATA_DIR", str((folder / "wandb").resolve()))
    try:
        run = wandb.init(**settings)
    except wandb.Error as error:
        log.warning(
            "W&B cannot be used (%s): the run is logged to %s, which `wandb sync` sends later",
            str(error).splitlines()[0].rstrip("."),
            folder / "wandb",
        )
        # the failed attempt still holds the id of the run
        wandb.teardown()
        run = wandb.init(mode="offline", **settings)
    return WandbLogger(experiment=run, **known)


def run_id(folder: Path) -> str:
    """Id of the run, the same whenever the same folder is trained in.

    Args:
        folder: Folder of the run.
    """
    path = folder / RUN_ID
    if not path.exists():
        with staged(path) as partial:
            partial.write_text(secrets.token_hex(4) + "\n")
    return path.read_text().strip()
