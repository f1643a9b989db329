"""Data products of the search: one class per product, each an HDF5 file that explains itself."""

from ledger.events import EventSet, RecoveredInjections
from ledger.files import ProductError, staged
from ledger.glitches import GlitchSet
from ledger.injections import InjectionDetails, InjectionSet
from ledger.product import Product, column, product_name, read_provenance, scalar
from ledger.provenance import Provenance
from ledger.segments import SegmentList
from ledger.strain import ROLES, Role, StrainFile, StrainIndex, StrainSegment, strain_file_name
from ledger.waveforms import WaveformSet
from ledger.witnesses import WitnessSet

__all__ = [
    "ROLES",
    "EventSet",
    "GlitchSet",
    "InjectionDetails",
    "InjectionSet",
    "Product",
    "ProductError",
    "Provenance",
    "RecoveredInjections",
    "Role",
    "SegmentList",
    "StrainFile",
    "StrainIndex",
    "StrainSegment",
    "WaveformSet",
    "WitnessSet",
    "column",
    "product_name",
    "read_provenance",
    "scalar",
    "staged",
    "strain_file_name",
]
