"""The networks by name."""

import inspect
from collections.abc import Mapping
from typing import Any

from architectures.base import WindowedNetwork
from architectures.resnet import ResNet
from architectures.two_tower import TwoTower

ARCHITECTURES: dict[str, type[WindowedNetwork]] = {"TwoTower": TwoTower, "ResNet": ResNet}


def build(
    name: str,
    num_ifos: int,
    sample_rate: float,
    kernel_length: float,
    options: Mapping[str, Any] | None = None,
) -> WindowedNetwork:
    """Make a network.

    Args:
        name: Name in `ARCHITECTURES`.
        num_ifos: Number of detectors.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        options: Further arguments of the network.

    Raises:
        ValueError: No such network or option; lists what exists.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"no architecture {name!r}: there are {', '.join(sorted(ARCHITECTURES))}")
    network = ARCHITECTURES[name]
    known = list(inspect.signature(network).parameters)[3:]
    unknown = [key for key in options or {} if key not in known]
    if unknown:
        raise ValueError(
            f"{name} has no option {', '.join(unknown)}: there are {', '.join(known)}"
        )
    return network(num_ifos, sample_rate, kernel_length, **(options or {}))
