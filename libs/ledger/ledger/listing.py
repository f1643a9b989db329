"""What a product says about itself, as text."""

from dataclasses import fields
from pathlib import Path

import h5py

from ledger.product import REGISTRY, open_product

# Too long for a line each, or printed on their own.
HIDDEN = {"product", "schema", "settings", "parents"}


def listing(path: Path) -> str:
    """Product, schema, span, counts, arrays, parents and settings of a file.

    Raises:
        FileNotFoundError: There is no such file.
        ProductError: It holds no product.
    """
    with open_product(path) as file:
        lines = [f"{path}", f"  product {file.attrs['product']} schema {file.attrs['schema']}"]
        if span := gps_span(file):
            lines.append(f"  span: [{span[0]:.7f}, {span[1]:.7f})  {span[1] - span[0]:.6g} s")
        counts: dict[str, int] = {}
        datasets: list[str] = []

        def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                unit, axes = item.attrs.get("unit", ""), str(item.attrs.get("axes", ""))
                datasets.append(f"  /{name} {item.shape} {item.dtype} [{unit}] ({axes})")
                if axes:
                    counts[axes.split(",")[0]] = len(item)

        file.visititems(visit)
        if counts:
            lines.append("  counts: " + ", ".join(f"{n} {axis}" for axis, n in counts.items()))
        lines += [f"  {k}: {v}" for k, v in sorted(file.attrs.items()) if k not in HIDDEN]
        lines += datasets
        for key in ("parents", "settings"):
            lines.append(f"  {key}:")
            lines += [f"    {line}" for line in str(file.attrs[key]).splitlines()]
    return "\n".join(lines)


def gps_span(file: h5py.File) -> tuple[float, float] | None:
    """From the first to the last GPS time in a product; None if it has none."""
    if file.attrs["product"] == "strain":
        first = next(iter(file.values()))
        start = float(first.attrs["x0"])
        return start, start + len(first) * float(first.attrs["dx"])
    product = REGISTRY.get(str(file.attrs["product"]))
    columns = [] if product is None else fields(product)
    named = [i.name for i in columns if "axes" in i.metadata and "GPS" in i.metadata["about"]]
    values = [file[name][()] for name in named if name in file and file[name].size]
    if not values:
        return None
    return min(float(v.min()) for v in values), max(float(v.max()) for v in values)
