"""Join products that hold parts of one set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from ledger import Product, ProductError, Provenance
from ledger.product import read_provenance
from runtime import Experiment, progress, require_same

Part = TypeVar("Part", bound=Product)


def read_parts(
    experiment: Experiment, paths: Sequence[Path], product: type[Part]
) -> tuple[list[Part], Provenance]:
    """Read the parts of one set.

    Args:
        experiment: The experiment that all must have been made with.
        paths: The parts.
        product: What they are.

    Returns:
        The parts, and the provenance that they share.

    Raises:
        ledger.ProductError: A part is broken, or of other settings, inputs or code than the first.
    """
    parts, origins = [], []
    for path in progress(paths, "parts", unit="part"):
        require_same(path, experiment, tuple(experiment.settings()))
        parts.append(product.read(path))
        origins.append(read_provenance(path))
        if origins[-1] != origins[0]:
            raise ProductError(
                f"{path} was made by {origins[-1].generator} from other inputs, or by other code, "
                f"than {paths[0]}: make all parts again"
            )
    return parts, origins[0]


def joined(parts: Sequence[Part]) -> Part:
    """One product of all rows, in the order of the parts.

    Single values and groups' names are taken from the first part, which all must share.

    Args:
        parts: At least one product of one class.

    Raises:
        ValueError: Single values or the names in a group differ.
    """
    first = parts[0]
    values: dict[str, object] = {}
    for item in fields(first):
        found = [getattr(part, item.name) for part in parts]
        if "axes" not in item.metadata:
            if any(value != found[0] for value in found):
                raise ValueError(
                    f"parts of one {first.product} set differ in {item.name}: found "
                    f"{sorted({str(value) for value in found})}, expected one value"
                )
        elif item.metadata.get("group"):
            names = [set(value) for value in found]
            if any(name != names[0] for name in names):
                raise ValueError(f"parts of one {first.product} set differ in {item.name}'s names")
            values[item.name] = {
                name: np.concatenate([value[name] for value in found]) for name in found[0]
            }
        elif item.metadata["dtype"] == "str":
            values[item.name] = [text for value in found for text in value]
        else:
            values[item.name] = np.concatenate(found)
    return replace(first, **values)
