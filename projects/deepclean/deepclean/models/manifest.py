"""What a published version says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from ledger import staged
from pydantic import BaseModel, ConfigDict, ValidationError

State = Literal["canary", "production", "rejected", "retired"]
NAME = "manifest.yaml"


class ModelError(ValueError):
    """A version is missing, broken, or made for something else."""


def network_file(layer: int) -> str:
    """Name of the file of a layer's network in the folder of a version."""
    return f"layer-{layer}.pt"


class Manifest(BaseModel):
    """A published version. Its folder is complete when the manifest is there.

    Attributes:
        version: Its number, from 1.
        state: `canary` until the monitor has judged it, then `production` or `rejected`;
            `retired` when another has taken over.
        span: First and last second that it was trained on [GPS s].
        problem: Digest of the problem that it was trained for.
        channels: Witnesses of each layer, in the order of its network's inputs.
        bands: Bands of each layer [Hz].
        rates: Rate of each layer's network [Hz].
        measures: What was found when it was trained, by name.
        sha256: Digest of each file.
        code: Version of the code that made it.
        parent: Version that it was fine-tuned from; 0 for none.
        reason: Why it is in its state, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    state: State
    span: tuple[int, int]
    problem: str
    channels: tuple[tuple[str, ...], ...]
    bands: tuple[tuple[tuple[float, float], ...], ...]
    rates: tuple[int, ...]
    measures: dict[str, float] = {}
    sha256: dict[str, str]
    code: str
    parent: int = 0
    reason: str = ""

    @property
    def networks(self) -> list[str]:
        """Files of the networks, in the order of the layers."""
        return [network_file(layer) for layer in range(len(self.channels))]

    def write(self, folder: Path) -> None:
        """Write or replace the manifest of a folder, at once."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        with staged(folder / NAME) as partial:
            partial.write_text(text)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a version's folder.

    Raises:
        ModelError: There is none, or it is broken.
    """
    path = folder / NAME
    try:
        return Manifest.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise ModelError(f"{folder} holds no {NAME}: no version was published there") from None
    except (yaml.YAMLError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"{path} is no manifest of a version: {first}") from None
