"""Join products that hold parts of one set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
from ledger import Product

Part = TypeVar("Part", bound=Product)


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
