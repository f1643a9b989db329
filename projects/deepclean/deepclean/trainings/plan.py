"""What a training is made of: commands, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

NAME = "plan.yaml"


class Step(BaseModel):
    """A command of a training. Whoever runs it chooses the environment.

    Attributes:
        name: Its name.
        project: Whose command line it is.
        arguments: Verb and options, all paths absolute.
        output: File that is there when it is done.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    project: Literal["deepclean", "train"]
    arguments: tuple[str, ...]
    output: Path


class Plan(BaseModel):
    """A training, decided when it begins: however often it is interrupted, it stays the same.

    Attributes:
        span: First second, and second after the last, of its data [GPS s].
        parent: Version that it goes on from; 0 for none.
        runs: Run folder of each layer.
        steps: What is to be run, in order; the last publishes the version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    span: tuple[int, int]
    parent: int
    runs: tuple[Path, ...]
    steps: tuple[Step, ...]

    def write(self, folder: Path) -> None:
        """Write it into a training's folder."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        (folder / NAME).write_text(text)


def read_plan(folder: Path) -> Plan:
    """The plan in a training's folder.

    Raises:
        FileNotFoundError: There is none.
    """
    path = folder / NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}: expected the folder of a training, made by `deepclean plan`"
        )
    return Plan.model_validate(yaml.safe_load(path.read_text()))


def options(**values: object) -> list[str]:
    """Options of a command, `--name value` each."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]
