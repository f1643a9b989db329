"""What hermes keeps in the `parameters` of a configuration."""

from __future__ import annotations

from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.errors import RepositoryError

# Updates after which nothing of what came before is in the state; absent if it never forgets.
MEMORY = "hermes.memory"
# First answers of a sequence that depend on the state that it begins with.
WARM_UP = "hermes.warm_up"
# The two above in windows, and windows per update: sums of roundings would not be exact.
REACH = "hermes.reach"
WINDOWS = "hermes.windows"
# Versions that are never removed, and the one that -1 means (absent: the newest).
PINNED = "hermes.pinned"
PROMOTED = "hermes.promoted"
# Order of the arguments and results of an ONNX model's module, states among them.
INPUTS = "hermes.inputs"
OUTPUTS = "hermes.outputs"

COUNTS = (MEMORY, WARM_UP, REACH, WINDOWS)
VERSIONS = (PINNED, PROMOTED)


def get_text(config: ModelConfig, name: str) -> str | None:
    """A parameter; None if it is absent."""
    # reading by index would make the entry
    return config.parameters[name].string_value if name in config.parameters else None


def set_text(config: ModelConfig, name: str, value: str | None) -> None:
    """Set a parameter, or take it away."""
    if value is None:
        config.parameters.pop(name, None)
    else:
        config.parameters[name].string_value = value


def get_count(config: ModelConfig, name: str) -> int | None:
    """A parameter that is a number of something; None if it is absent.

    Raises:
        RepositoryError: It is not a whole number from 0.
    """
    text = get_text(config, name)
    if text is None:
        return None
    if not text.isdecimal():
        raise RepositoryError(f'parameter {name} is "{text}": it is a whole number from 0')
    return int(text)


def get_versions(config: ModelConfig, name: str) -> list[int]:
    """A parameter that lists versions; none if it is absent.

    Raises:
        RepositoryError: It is not numbers with commas between them.
    """
    text = get_text(config, name)
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise RepositoryError(f'parameter {name} is "{text}": it is versions, such as "1,3"')
    return sorted(map(int, parts))


def set_versions(config: ModelConfig, name: str, versions: list[int]) -> None:
    """Set a list of versions; an empty one is taken away."""
    set_text(config, name, ",".join(map(str, sorted(versions))) or None)
