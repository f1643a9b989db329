"""Read a file whose name says what it holds, and hold it to that."""

from __future__ import annotations

from pathlib import Path

from datagen.fetch.listing import NamedFile
from datagen.fetch.stretch import Stretch
from datagen.foreign import Channel, channels


def read_stretch(path: Path, named: NamedFile, ifo: str, channel: str | None = None) -> Stretch:
    """Read the strain of a detector from a file.

    Args:
        path: The file.
        named: What its name says.
        ifo: Detector.
        channel: Channel, where a file has several; else see `datagen.foreign.channels`.

    Returns:
        All samples of the file.

    Raises:
        ValueError: The file is broken, lacks the detector or channel, or its detector, GPS span
            or sample rate is not that of its name.
    """
    found = channels(path, {ifo: channel} if channel else None)
    own = [one for one in found if one.ifo == ifo]
    if not own:
        raise ValueError(
            f"{path} holds {', '.join(one.ifo for one in found)}, its name and the experiment say "
            f"{ifo}: the content contradicts the name; remove the file"
        )
    _compare(own[0], named)
    mask = None if own[0].load_mask is None else own[0].load_mask()
    return Stretch(
        values=own[0].read(),
        gps_start=own[0].gps_start,
        sample_rate=own[0].sample_rate,
        origin=f"{path} ({channel or f'strain of {ifo}'})",
        mask=mask,
    )


def _compare(found: Channel, named: NamedFile) -> None:
    """Stop if a file holds other times or another rate than its name says."""
    tolerance = 0.5 / found.sample_rate
    if (
        abs(found.gps_start - named.gps_start) > tolerance
        or abs(found.gps_stop - named.gps_stop) > tolerance
    ):
        raise ValueError(
            f"{found.path} holds [{found.gps_start}, {found.gps_stop}), its name says "
            f"[{named.gps_start}, {named.gps_stop}): the content contradicts the name; remove "
            "the file"
        )
    if named.sample_rate is not None and found.sample_rate != named.sample_rate:
        raise ValueError(
            f"{found.path} holds {found.sample_rate:g} Hz, its name says {named.sample_rate:g} "
            "Hz: the content contradicts the name; remove the file"
        )
