"""Data products of the search: one class per product, each an HDF5 file that explains itself."""

from ledger.events import EventSet, RecoveredInjections
from ledger.files import ProductError, staged
from ledger.injections import InjectionSet
from ledger.product import Product, column, product_name, read_provenance, scalar
from ledger.provenance import Provenance
from ledger.strain import Role, StrainFile, StrainIndex, StrainSegment
from ledger.waveforms import WaveformSet

__all__ = [
    "EventSet",
    "InjectionSet",
    "Product",
    "ProductError",
    "Provenance",
    "RecoveredInjections",
    "Role",
    "StrainFile",
    "StrainIndex",
    "StrainSegment",
    "WaveformSet",
    "column",
    "product_name",
    "read_provenance",
    "scalar",
    "staged",
]
