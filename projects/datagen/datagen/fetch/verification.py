"""What strain must be like to be used."""

from __future__ import annotations

import math

import numpy as np

from datagen.fetch.stretch import Stretch
from datagen.masks import true_spans

# Strain that does not change for this long was not measured [s].
LONGEST_CONSTANT = 1 / 16


def verify(stretch: Stretch, start: float, stop: float) -> None:
    """Stop if strain within a span is not fit for use.

    Args:
        stretch: The strain.
        start: GPS start of what is to be used [s].
        stop: GPS stop [s].

    Raises:
        ValueError: Samples are NaN or infinite, do not change for longer than 1/16 s (zeros, most
            often), or the file's own bit mask denies that there is science data; says where.
    """
    rate = stretch.sample_rate
    first = max(0, round((start - stretch.gps_start) * rate))
    last = min(len(stretch.values), round((stop - stretch.gps_start) * rate))
    if first >= last:
        return
    values = stretch.values[first:last]
    begin = stretch.gps_start + first / rate

    def refuse(spans: list[tuple[int, int]], what: str, spacing: float, origin: float) -> None:
        low, high = spans[0]
        more = f" and {len(spans) - 1} more times" if len(spans) > 1 else ""
        raise ValueError(
            f"{stretch.origin}: {what} in [{origin + low * spacing}, {origin + high * spacing})"
            f"{more}, within [{start}, {stop}) which is to be used: segments and strain disagree; "
            "query the segments again, or leave that time out by strain.vetoes.gates"
        )

    if bad := true_spans(~np.isfinite(values)):
        refuse(bad, "strain is NaN or infinite", 1 / rate, begin)
    if stretch.mask is not None:
        # whole seconds that the samples touch
        low = math.floor((begin - stretch.gps_start) + 1e-6)
        high = math.ceil((begin + len(values) / rate - stretch.gps_start) - 1e-6)
        if bad := true_spans(~stretch.mask[low:high]):
            refuse(bad, "the bit mask says that there is no data", 1.0, stretch.gps_start + low)
    longest = round(LONGEST_CONSTANT * rate)
    same = true_spans(values[1:] == values[:-1])
    if bad := [(low, high + 1) for low, high in same if high + 1 - low > longest]:
        refuse(bad, f"strain is constant ({values[bad[0][0]]:g})", 1 / rate, begin)
