"""Names of strain files."""

import re

from ledger import StrainIndex

ROLES = StrainIndex.ROLES
INDEX = "index.hdf5"
_NAME = re.compile(rf"strain-({'|'.join(ROLES)})-([0-9.]+)-([0-9.]+)\.hdf5")


def _number(value: float) -> str:
    """Shortest text of a time: no point in a whole number, else as far as microseconds."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def strain_file_name(role: str, gps_start: float, duration: float) -> str:
    """Name of a strain file.

    Args:
        role: `training`, `validation` or `search`, or `data` where it depends on the fold.
        gps_start: GPS time of the first sample [s].
        duration: Length [s].
    """
    return f"strain-{role}-{_number(gps_start)}-{_number(duration)}.hdf5"


def role_in_name(name: str) -> str | None:
    """Role in the name of a strain file; None if it has another form."""
    match = _NAME.fullmatch(name)
    return match.group(1) if match else None
