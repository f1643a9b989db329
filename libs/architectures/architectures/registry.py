"""The networks by name."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch

FAMILIES = {
    "supervised": "scores a kernel of strain; trained on noise and on signals in noise",
    "autoencoder": "reconstructs each detector's strain; scores how well detectors agree",
    "regression": "predicts strain from witness channels, sample for sample",
}
"""What the networks of a family have in common. A family is trained by one kind of module."""

SHARED = ("ifos", "highpass", "lowpass")
"""Arguments of networks that an experiment has the say on."""


class Entry(NamedTuple):
    """A registered network.

    Attributes:
        network: The class.
        family: Its family, of `FAMILIES`.
    """

    network: type[torch.nn.Module]
    family: str


ARCHITECTURES: dict[str, Entry] = {}
"""The networks by name."""

Network = TypeVar("Network", bound=type[torch.nn.Module])


def register(family: str) -> Callable[[Network], Network]:
    """Class decorator that makes a network known by the name of its class.

    Args:
        family: Name in `FAMILIES`.

    Raises:
        ValueError: No such family, or another network has the name.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family {family!r}: there are {', '.join(FAMILIES)}")

    def add(network: Network) -> Network:
        name = network.__name__
        if name in ARCHITECTURES:
            raise ValueError(
                f"architecture {name!r} of {network.__module__} exists already in "
                f"{ARCHITECTURES[name].network.__module__}: give it another name"
            )
        ARCHITECTURES[name] = Entry(network, family)
        return network

    return add


def discover() -> None:
    """Import all modules beside this one, so that the networks in them register."""
    package = importlib.import_module("architectures")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        importlib.import_module(f"architectures.{module.name}")


def names(family: str | None = None) -> list[str]:
    """Names of the networks of a family, or of all, in alphabetical order."""
    return sorted(name for name, entry in ARCHITECTURES.items() if family in (None, entry.family))


def family_of(name: str) -> str:
    """Family of a network.

    Raises:
        ValueError: No such network; lists what exists.
    """
    return _entry(name, None).family


def summaries(family: str | None = None) -> dict[str, str]:
    """First sentence of each network's documentation, by name, for help texts."""
    return {
        name: (inspect.getdoc(ARCHITECTURES[name].network) or "").split("\n")[0]
        for name in names(family)
    }


def _entry(name: str, family: str | None) -> Entry:
    if name not in names(family):
        kind = "architecture" if family is None else f"{family} architecture"
        raise ValueError(f"no {kind} {name!r}: there are {', '.join(names(family))}")
    return ARCHITECTURES[name]


def build(
    name: str,
    num_ifos: int,
    sample_rate: float,
    kernel_length: float,
    options: Mapping[str, Any] | None = None,
    family: str | None = None,
    experiment: Mapping[str, Any] | None = None,
) -> Any:
    """Make a network.

    Args:
        name: One of `names(family)`.
        num_ifos: Number of detectors, or of witness channels for the family `regression`.
        sample_rate: Sample rate [Hz].
        kernel_length: Length of the stretch that one score looks at [s].
        options: Further arguments of the network.
        family: The family that the network must be of.
        experiment: Settings of the experiment (`Experiment.settings()`): `ifos`, `highpass` and
            `lowpass` go to a network that takes them, and cannot be options then.

    Returns:
        The network: of `WindowedNetwork`, or of `RegressionNetwork` for that family.

    Raises:
        ValueError: No such network or option; lists what exists. Or an option is the
            experiment's.
    """
    network = _entry(name, family).network
    known = list(inspect.signature(network).parameters)[3:]
    given = dict(options or {})
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(
            f"{name} has no option {', '.join(unknown)}: there are {', '.join(known)}"
        )
    for key in SHARED:
        if experiment is None or key not in known or key not in experiment:
            continue
        if key in given:
            raise ValueError(
                f"option {key} of {name} is given twice, by the options ({given[key]}) and by the "
                f"experiment ({experiment[key]}): remove it from the options"
            )
        given[key] = experiment[key]
    return network(num_ifos, sample_rate, kernel_length, **given)
