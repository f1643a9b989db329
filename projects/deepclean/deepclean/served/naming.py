"""What a version's models are called in a repository, and what their configurations say."""

from __future__ import annotations

import re

SHA256 = "deepclean.sha256"
"""Parameter: digest of the layer's network in the store."""
DELAY_SIZE = "deepclean.delay_size"
"""Parameter: samples by which the noise comes later than the witnesses."""
INPUT, OUTPUT = "witnesses", "noise"
PARTS = ("snapshotter", "network", "aggregator")
"""Models that a layer's ensemble is made of, in the order of the stream."""

_NAME = re.compile(r"deepclean-(\d{4,})-(\d+)(?:-(?:" + "|".join(PARTS) + "))?")


def model_name(version: int, layer: int) -> str:
    """Name of the ensemble of a layer, whose version on the server is `version`, too.

    Triton has one configuration for all versions of a model. Versions differ in what it says
    (channels, sizes, parts), so each has models of its own.
    """
    return f"deepclean-{version:04d}-{layer}"


def part_name(version: int, layer: int, part: str) -> str:
    """Name of a model that a layer's ensemble is made of."""
    return f"{model_name(version, layer)}-{part}"


def version_of(name: str) -> int | None:
    """Version that a model belongs to; None for a model of something else."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[1])


def is_part(name: str) -> bool:
    """Whether a model is part of an ensemble."""
    return name.endswith(PARTS)
