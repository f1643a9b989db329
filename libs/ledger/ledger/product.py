"""What all products share: declared columns, schema, content id, reading and writing."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import h5py
import numpy as np

from ledger.files import ProductError, bring, staged
from ledger.provenance import Provenance

T = TypeVar("T")


def column(
    axes: str, unit: str, about: str, dtype: str = "float64", compress: bool = False
) -> Any:
    """Declare an array of a product.

    Args:
        axes: Names of the axes, separated by commas; an axis of one name has one length
            throughout the product. `ifo` has the length of the product's `ifos`.
        unit: Unit of the values; empty for a pure number or text.
        about: What the values are.
        dtype: numpy type on disk; `str` for text.
        compress: Whether to compress it on disk; for long columns of small entropy.
    """
    return field(
        metadata={
            "axes": tuple(axes.split(",")),
            "unit": unit,
            "about": about,
            "dtype": dtype,
            "compress": compress,
        }
    )


def scalar(unit: str, about: str) -> Any:
    """Declare a single value of a product (a number, a text, or a tuple of texts)."""
    return field(metadata={"unit": unit, "about": about})


def group(axes: str, about: str) -> Any:
    """Declare named arrays that share their axes, a mapping from name to array."""
    return field(
        metadata={"axes": tuple(axes.split(",")), "unit": "", "about": about, "group": True}
    )


# Units of the source parameters, which all `parameters` groups share.
PARAMETER_UNITS = {
    "mass_1_detector": "Msun",
    "mass_2_detector": "Msun",
    "mass_1_source": "Msun",
    "mass_2_source": "Msun",
    "luminosity_distance": "Mpc",
    "redshift": "",
    "a_1": "",
    "a_2": "",
    "tilt_1": "rad",
    "tilt_2": "rad",
    "phi_12": "rad",
    "phi_jl": "rad",
    "theta_jn": "rad",
    "ra": "rad",
    "dec": "rad",
    "psi": "rad",
    "phase": "rad",
    "lambda_1": "",
    "lambda_2": "",
    "frequency": "Hz",
    "quality": "",
    "epsilon": "",
    "eccentricity": "",
    "hrss": "1/sqrt(Hz)",
    "log_prior": "",
}

REGISTRY: dict[str, type[Product]] = {}


@dataclass(kw_only=True)
class Product:
    """A data product: declared columns, written whole or not at all.

    A subclass is a dataclass whose fields are made with `column`, `group` or `scalar`. Its
    class attributes `product` and `schema` name it on disk. `docs/formats.md` is made from
    these declarations.
    """

    product: ClassVar[str] = ""
    schema: ClassVar[int] = 1

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.product:
            REGISTRY[cls.product] = cls

    def validate(self) -> None:
        """Check shapes and finiteness against the declarations.

        Raises:
            ProductError: An array has the wrong shape or holds NaN; the sentence names it.
        """
        lengths: dict[str, tuple[int, str]] = {}
        ifos = getattr(self, "ifos", None)
        if ifos is not None:
            lengths["ifo"] = (len(ifos), "ifos")
        for name, values, axes, _ in self._arrays():
            if values.ndim != len(axes):
                raise ProductError(
                    f"{self.product}: {name} has {values.ndim} axes, expected {len(axes)}: "
                    f"({', '.join(axes)})"
                )
            for axis, length in zip(axes, values.shape, strict=True):
                known, owner = lengths.setdefault(axis, (length, name))
                if known != length:
                    raise ProductError(
                        f"{self.product}: {name} has {length} along {axis}, {owner} has {known}"
                    )
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ProductError(f"{self.product}: {name} holds NaN or infinite values")

    def _arrays(self) -> Iterator[tuple[str, np.ndarray, tuple[str, ...], str]]:
        for item in fields(self):
            meta = item.metadata
            if "axes" not in meta:
                continue
            values = getattr(self, item.name)
            if meta.get("group"):
                for key in sorted(values):
                    array = np.asarray(values[key], dtype=np.float64)
                    yield f"{item.name}/{key}", array, meta["axes"], PARAMETER_UNITS.get(key, "")
            elif meta["dtype"] == "str":
                yield item.name, np.asarray(values, dtype=object), meta["axes"], meta["unit"]
            else:
                yield (
                    item.name,
                    np.asarray(values, dtype=meta["dtype"]),
                    meta["axes"],
                    meta["unit"],
                )

    def write(self, path: str | Path, provenance: Provenance) -> str:
        """Validate and write in one move.

        Args:
            path: Destination; replaced if there.
            provenance: What made the product.

        Returns:
            The product's id: a digest of its contents.

        Raises:
            ProductError: The contents are invalid or the place is not writable.
        """
        self.validate()
        image, identity = self._image(provenance)
        with staged(path) as partial:
            partial.write_bytes(image.getbuffer())
        return identity

    def identity(self, provenance: Provenance) -> str:
        """The id that `write` gives this product with this provenance."""
        return self._image(provenance)[1]

    def _image(self, provenance: Provenance) -> tuple[io.BytesIO, str]:
        # In memory first: HDF5 cannot close a file on a full disk, and the process dies of it.
        image = io.BytesIO()
        with h5py.File(image, "w") as file:
            digest = hashlib.sha256(f"{self.product} {self.schema}".encode())
            self._write_arrays(file, digest)
            for item in fields(self):
                if "axes" not in item.metadata and item.metadata:
                    value = getattr(self, item.name)
                    if isinstance(value, (tuple, list)):
                        value = np.array(list(value), dtype=object)
                        file.attrs.create(item.name, value, dtype=h5py.string_dtype())
                    else:
                        file.attrs[item.name] = value
                    digest.update(f"{item.name}={getattr(self, item.name)!r}".encode())
            file.attrs["product"] = self.product
            file.attrs["schema"] = self.schema
            provenance.write(file.attrs)
            # The parents are part of the identity: the same numbers from other data differ.
            digest.update(str(file.attrs["settings"]).encode())
            digest.update(str(file.attrs["parents"]).encode())
            identity = digest.hexdigest()
            file.attrs["id"] = identity
        return image, identity

    def _write_arrays(self, file: h5py.File, digest: Any) -> None:
        compressed = {item.name for item in fields(self) if item.metadata.get("compress")}
        for name, values, axes, unit in self._arrays():
            if values.dtype == object:
                dataset = file.create_dataset(name, data=values, dtype=h5py.string_dtype())
                digest.update("\0".join(map(str, values.ravel())).encode())
            else:
                chunks = None
                if values.ndim > 1 and values.size:
                    # a row per chunk, at least 256 kB, so that reading a few rows is cheap
                    row = max(1, values.nbytes // len(values))
                    chunks = (min(len(values), max(1, 2**18 // row)), *values.shape[1:])
                pack = name in compressed and values.size > 0
                dataset = file.create_dataset(
                    name,
                    data=values,
                    chunks=chunks,
                    compression="gzip" if pack else None,
                    shuffle=pack,
                )
                digest.update(name.encode())
                digest.update(np.ascontiguousarray(values).data)
            dataset.attrs["unit"] = unit
            dataset.attrs["axes"] = ",".join(axes)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a whole product.

        Raises:
            FileNotFoundError: There is no such file.
            ProductError: The file is not this product, or of a schema that is not read.
        """
        with open_product(path, cls.product, cls.schema) as file:
            return cls._read_from(file)

    @classmethod
    def _read_from(cls, file: h5py.File) -> Self:
        values: dict[str, Any] = {}
        for item in fields(cls):
            meta = item.metadata
            if not meta:
                continue
            if "axes" not in meta:
                value = file.attrs[item.name]
                if isinstance(value, np.ndarray):
                    value = tuple(str(v) for v in value)
                elif isinstance(value, np.generic):
                    value = value.item()
                values[item.name] = value
            elif meta.get("group"):
                holder = file.get(item.name)
                values[item.name] = {} if holder is None else {k: v[()] for k, v in holder.items()}
            elif meta["dtype"] == "str":
                values[item.name] = [str(v) for v in file[item.name].asstr()[()]]
            else:
                values[item.name] = file[item.name][()]
        return cls(**values)


def open_product(path: str | Path, product: str = "", schema: int | None = None) -> h5py.File:
    """Open a product's file after checking what it is.

    Raises:
        FileNotFoundError: There is no such file.
        ProductError: Not HDF5 (or truncated), not a product, another product or schema.
    """
    path = bring(path)
    if not path.exists():
        raise FileNotFoundError(f"no file {path}: expected a {product or 'data'} product there")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ProductError(
            f"{path} is not a readable HDF5 file (not HDF5, or truncated): {error}"
        ) from error
    found = file.attrs.get("product")
    if found is None or (product and found != product):
        file.close()
        raise ProductError(
            f"{path} holds {found or 'no aframe product'}, expected {product or 'a product'}"
        )
    if schema is not None and int(file.attrs["schema"]) != schema:
        version = int(file.attrs["schema"])
        file.close()
        raise ProductError(
            f"{path} has {found} schema {version}, this code reads schema {schema}: "
            "make the file again with this version"
        )
    return file


def product_name(path: str | Path) -> str:
    """Name of the product in a file."""
    with open_product(path) as file:
        return str(file.attrs["product"])


def product_id(path: str | Path) -> str:
    """Content id of the product in a file."""
    with open_product(path) as file:
        return str(file.attrs["id"])


def read_provenance(path: str | Path) -> Provenance:
    """Provenance of the product in a file."""
    with open_product(path) as file:
        return Provenance.read(file.attrs)
