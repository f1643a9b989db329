"""Where a product comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import yaml


@dataclass(frozen=True)
class Provenance:
    """What made a product, kept in the product's root attributes.

    There is no date in it: the same inputs give the same bytes.

    Attributes:
        generator: Program that wrote the product, for example `datagen simulate`.
        code_version: Version of the package, and the commit where there is one.
        settings: The resolved experiment, as plain mappings and lists.
        seed: Seed of the random numbers in the product; None where there are none.
        parents: Product id of each input, by the name of its role.
    """

    generator: str
    code_version: str
    settings: Mapping[str, Any]
    seed: int | None = None
    parents: Mapping[str, str] = field(default_factory=dict)

    def write(self, attributes: h5py.AttributeManager) -> None:
        """Write to the root attributes of an open file."""
        attributes["generator"] = self.generator
        attributes["code_version"] = self.code_version
        attributes["settings"] = yaml.safe_dump(dict(self.settings), sort_keys=True)
        attributes["seed"] = "none" if self.seed is None else str(self.seed)
        attributes["parents"] = yaml.safe_dump(dict(self.parents), sort_keys=True)

    @classmethod
    def read(cls, attributes: h5py.AttributeManager) -> Provenance:
        """Read from the root attributes of an open file."""
        seed = str(attributes["seed"])
        return cls(
            generator=str(attributes["generator"]),
            code_version=str(attributes["code_version"]),
            settings=yaml.safe_load(str(attributes["settings"])),
            seed=None if seed == "none" else int(seed),
            parents=yaml.safe_load(str(attributes["parents"])) or {},
        )
