"""Whether the products of a folder are what they say."""

from dataclasses import dataclass
from pathlib import Path

import h5py

from ledger.files import ProductError
from ledger.product import REGISTRY, open_product, read_provenance
from ledger.strain import StrainIndex, StrainSegment


@dataclass(frozen=True)
class Report:
    """Outcome of a check.

    Attributes:
        lines: One for each file, and a count at the end.
        num_bad: Number of files that are wrong.
    """

    lines: list[str]
    num_bad: int


def check_file(path: Path) -> str:
    """Read a product whole, validate it, and compare its id with that of its contents.

    Args:
        path: The file.

    Returns:
        Its product and id.

    Raises:
        FileNotFoundError: There is no such file, or one that an index names is missing.
        ProductError: It is broken, of an unknown product or schema, invalid, or was changed after
            it was written.
    """
    with open_product(path) as file:
        name, written = str(file.attrs["product"]), str(file.attrs["id"])
    if name not in REGISTRY:
        raise ProductError(f"{path} holds {name}, which this version does not know")
    product = REGISTRY[name].read(path)
    product.validate()
    found = product.identity(read_provenance(path))
    if found != written:
        raise ProductError(
            f"{path} was changed after it was written: its contents have the id {found[:12]}, it "
            f"says {written[:12]}; make it again"
        )
    if isinstance(product, StrainIndex):
        _check_index(path, product)
    return f"{name} {written[:12]}"


def _check_index(path: Path, index: StrainIndex) -> None:
    """Stop if a file of the index is missing or covers another span."""
    for name, start, stop in zip(index.path, index.gps_start, index.gps_stop, strict=True):
        segment = StrainSegment.read(path.parent / name, index.ifos)
        if (segment.gps_start, segment.gps_stop) != (start, stop):
            raise ProductError(
                f"{path.parent / name} holds [{segment.gps_start}, {segment.gps_stop}), {path} "
                f"says [{start}, {stop}): index the files again"
            )


def check_folder(folder: Path) -> Report:
    """Check all products in a folder and below it.

    Staged files, which an interrupted run left behind, are passed over; HDF5 files of other
    makers are named and not counted as wrong.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: There is no such folder, or no HDF5 file in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: expected a folder of data products")
    paths = [p for p in sorted(folder.rglob("*.hdf5")) if not p.name.startswith(".")]
    if not paths:
        raise FileNotFoundError(f"{folder} holds no .hdf5 file: nothing to check")
    lines, num_good, num_bad = [], 0, 0
    for path in paths:
        if _is_foreign(path):
            lines.append(f"-    {path}: no aframe product")
            continue
        try:
            lines.append(f"ok   {path}: {check_file(path)}")
            num_good += 1
        except (ProductError, OSError, KeyError) as error:
            lines.append(f"BAD  {path}: {error}")
            num_bad += 1
    lines.append(f"{num_good} good, {num_bad} bad")
    return Report(lines, num_bad)


def _is_foreign(path: Path) -> bool:
    """Whether a readable HDF5 file is no product at all."""
    try:
        with h5py.File(path) as file:
            return "product" not in file.attrs
    except OSError:
        return False
