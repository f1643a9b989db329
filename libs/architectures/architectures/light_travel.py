"""How long light takes between detectors."""

from collections.abc import Sequence
from itertools import combinations

from ml4gw.constants import C
from ml4gw.gw import get_ifo_geometry

EARTH_DIAMETER_TIME = 2 * 6378137.0 / C
"""Time that light takes through the Earth, at the equator [s]: no two detectors differ by more."""


def light_travel_times(ifos: Sequence[str]) -> list[float]:
    """Time that light takes between the detectors of each pair, in a straight line.

    Args:
        ifos: Names of the detectors that ml4gw knows: H1, L1, V1, K1.

    Returns:
        Times of the pairs (0, 1), (0, 2), ..., (1, 2), ... [s].
    """
    _, vertices = get_ifo_geometry(*ifos)
    return [
        float((vertices[i] - vertices[j]).double().norm()) / C
        for i, j in combinations(range(len(ifos)), 2)
    ]
