"""Which versions of a model are served: its `version_policy`, and what is kept beside it."""

from __future__ import annotations

from tritonclient.grpc.model_config_pb2 import ModelConfig

from hermes.errors import RepositoryError
from hermes.quiver.parameters import PINNED, PROMOTED, get_versions, set_versions


def served(config: ModelConfig, versions: list[int]) -> list[int]:
    """Versions that servers serve, of those that are there; the last one is what -1 means."""
    policy = config.version_policy
    match policy.WhichOneof("policy_choice"):
        case "all":
            return sorted(versions)
        case "specific":
            return sorted(set(versions) & set(policy.specific.versions))
        case _:
            return sorted(versions)[-max(1, policy.latest.num_versions) :]


def pinned(config: ModelConfig) -> list[int]:
    """Versions that are never removed."""
    return get_versions(config, PINNED)


def serve_only(config: ModelConfig, versions: list[int]) -> None:
    """Name the versions to serve."""
    config.version_policy.specific.versions[:] = sorted(set(versions))


def pin(config: ModelConfig, versions: list[int], version: int) -> None:
    """Keep a version from removal, and serve it."""
    set_versions(config, PINNED, sorted({*pinned(config), version}))
    now = served(config, versions)
    promoted = get_versions(config, PROMOTED)
    # one above the promoted would become what -1 means
    if version not in now and not (promoted and version > promoted[0]):
        serve_only(config, [*now, version])


def unpin(config: ModelConfig, version: int) -> None:
    """Let a version be removed again."""
    set_versions(config, PINNED, [v for v in pinned(config) if v != version])


def promote(config: ModelConfig, versions: list[int], version: int) -> None:
    """Make a version what -1 means, until another is promoted.

    Args:
        config: The configuration; changed.
        versions: Versions that are there.
        version: The version; -1 for the newest one, now and after each export.
    """
    keep = {*served(config, versions), *pinned(config)} & set(versions)
    if version == -1:
        set_versions(config, PROMOTED, [])
        if config.version_policy.WhichOneof("policy_choice") == "specific":
            serve_only(config, [*keep, max(versions)])
        return
    set_versions(config, PROMOTED, [version])
    serve_only(config, [v for v in keep if v < version] + [version])


def withdraw(
    config: ModelConfig, versions: list[int], version: int, keep_files: bool = False
) -> None:
    """Serve a version no more.

    Args:
        config: The configuration; changed.
        versions: Versions that are there.
        version: The version.
        keep_files: Whether its files stay.

    Raises:
        RepositoryError: It is pinned, or nothing else is served then.
    """
    if version in pinned(config):
        raise RepositoryError(f"version {version} is pinned: unpin it before it is retired")
    now = served(config, versions)
    # what is served by another policy follows from what is there
    specific = config.version_policy.WhichOneof("policy_choice") == "specific"
    rest = [v for v in versions if v != version]
    others = [v for v in now if v != version] if specific else served(config, rest)
    if not others:
        raise RepositoryError(
            f"version {version} is the only one served: promote another first, or remove the model"
        )
    if version in get_versions(config, PROMOTED):
        set_versions(config, PROMOTED, [others[-1]])
    if specific or (keep_files and version in now):
        serve_only(config, others)


def admit(config: ModelConfig, version: int) -> None:
    """Serve a version that is newly there, unless another was promoted."""
    specific = config.version_policy.WhichOneof("policy_choice") == "specific"
    if specific and not get_versions(config, PROMOTED):
        serve_only(config, [*config.version_policy.specific.versions, version])
