"""What the command line refuses, in a sentence, before anything is read or made."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import architectures
import yaml
from jsonargparse import ArgumentError, ArgumentParser
from runtime import Experiment
from runtime.experiment import Whitening

from train.families import FAMILIES, Family

INPUTS = ("name", "strain", "waveforms", "injections", "search", "evaluation", "folds")
OF_THE_EXPERIMENT = frozenset({*Experiment.model_fields, *Whitening.model_fields}) - {*INPUTS}
"""Settings that all stages share, and that no stage has a say on."""


def describe_families() -> str:
    """The families, and the architectures of each, for the help."""
    lines = ["Families (model.class_path) and their architectures (model.init_args.architecture):"]
    for name, family in FAMILIES.items():
        known = ", ".join(architectures.names(family.family))
        lines.append(f"{name}: {known}. {(inspect.getdoc(family) or '').splitlines()[0]}")
    return " ".join(lines)


def refuse_shared(names: Iterator[str]) -> None:
    """Refuse settings that are the experiment's.

    Args:
        names: Dotted names of settings that are given.

    Raises:
        ValueError: The experiment has the say on one.
    """
    for name in names:
        last = name.rsplit(".", 1)[-1]
        if last in OF_THE_EXPERIMENT or (last == "experiment" and last != name):
            where = "--experiment" if last == "experiment" else "experiment.yaml"
            raise ValueError(
                f"{name} is given for the training, but {last} is set by {where} for all: take it "
                "out, and change it there"
            )


def given_names(arguments: Sequence[str]) -> Iterator[str]:
    """Dotted names of all settings on a command line and in its configuration files."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if not word.startswith("-"):
            continue
        name, _, value = word.lstrip("-").partition("=")
        if name not in ("c", "config"):
            yield name
            continue
        path = Path(value or following)
        content = yaml.safe_load(path.read_text()) if path.is_file() else None
        yield from _names_in(content, "")


def _names_in(content: Any, prefix: str) -> Iterator[str]:
    if not isinstance(content, Mapping):
        return
    for name, value in content.items():
        yield f"{prefix}{name}"
        # a callback or logger may have settings of such names of its own
        if name != "trainer":
            yield from _names_in(value, f"{prefix}{name}.")


def family_class(class_path: str) -> type[Family]:
    """The family of a `model.class_path`, which is one of ours or one from elsewhere.

    Args:
        class_path: Its name, or the path by which it is imported.
    """
    module, _, name = class_path.rpartition(".")
    if not module:
        return FAMILIES[name]
    return getattr(importlib.import_module(module), name)


def check_model(model: Mapping[str, Any]) -> None:
    """See that the family has the architecture, and the architecture the options.

    Args:
        model: `class_path` and `init_args`.

    Raises:
        ValueError: It does not; lists what there is. Or an option is the experiment's.
    """
    family = family_class(model["class_path"]).family
    arguments = model["init_args"]
    name, options = arguments.get("architecture"), arguments.get("options") or {}
    if name is None:  # a family of one's own that leaves no choice
        return
    known = architectures.names(family)
    if name not in known:
        raise ValueError(f"no {family} architecture {name!r}: there are {', '.join(known)}")
    refuse_shared(f"model.init_args.options.{option}" for option in options)
    network = architectures.ARCHITECTURES[name].network
    parameters = list(inspect.signature(network).parameters)[3:]
    unknown = [option for option in options if option not in parameters]
    if unknown:
        raise ValueError(
            f"{name} has no option {', '.join(unknown)}: there are {', '.join(parameters)}"
        )
    check_types(network, options)


def check_types(network: type, options: Mapping[str, Any]) -> None:
    """See that options are of the types that a network's arguments say.

    Args:
        network: The class.
        options: Arguments beyond the first three.

    Raises:
        ValueError: One is not; says which.
    """
    first_three = set(list(inspect.signature(network).parameters)[:3])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(network, skip=first_three, fail_untyped=False)
    try:
        parser.parse_object(dict(options), defaults=False)
    except ArgumentError as error:
        found = " ".join(str(error).split())
        raise ValueError(
            f"an option of {network.__name__} is of the wrong type: {found}"
        ) from error
