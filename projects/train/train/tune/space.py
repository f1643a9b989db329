"""The search space: which numbers of the training configuration are drawn, and from what."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import yaml
from ray import tune

# Number of arguments of each distribution; a choice takes any number.
DISTRIBUTIONS = {"uniform": 2, "loguniform": 2, "randint": 2, "quniform": 3, "choice": None}
# What LightningCLI puts between a part and its options where the part's class can be chosen.
INNER = "init_args"


def read_space(space: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Entries of a search space.

    Args:
        space: `{dotted name: {distribution: arguments}}`, or the path of a YAML file with that.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.
    """
    if isinstance(space, Mapping):
        return dict(space)
    path = Path(space)
    if not path.is_file():
        raise FileNotFoundError(f"no search space {path}: --tune.space names a YAML file")
    entries = yaml.safe_load(path.read_text())
    if not isinstance(entries, dict):
        raise ValueError(
            f"{path} holds {entries!r}: a search space has lines as "
            "`model.learning_rate: {loguniform: [1.0e-4, 1.0e-2]}`"
        )
    return entries


def make_domains(space: Mapping[str, Any]) -> dict[str, Any]:
    """Distributions of Ray Tune for the entries of a search space.

    Args:
        space: `{dotted name: {distribution: arguments}}`. `uniform` and `loguniform` take the
            lower and the upper end, `quniform` a step besides; `randint` takes the lower end and
            the first integer above the range; `choice` takes the values.

    Raises:
        ValueError: An entry is no distribution, or its arguments make no sense.
    """
    if not space:
        raise ValueError(
            "the search space is empty: name in --tune.space what to draw, as "
            "`model.learning_rate: {loguniform: [1.0e-4, 1.0e-2]}`"
        )
    return {name: _domain(name, entry) for name, entry in space.items()}


def _domain(name: str, entry: Any) -> Any:
    kinds = ", ".join(DISTRIBUTIONS)
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(
            f"the search space gives {name}: {entry!r}, expected one distribution with its "
            f"arguments, as {{uniform: [0, 1]}}; there are {kinds}"
        )
    ((kind, arguments),) = entry.items()
    if kind not in DISTRIBUTIONS:
        raise ValueError(f"the search space draws {name} from {kind!r}: there are {kinds}")
    if kind == "choice":
        if not isinstance(arguments, list) or not arguments:
            raise ValueError(f"{name}: choice takes a list of values, found {arguments!r}")
        return tune.choice(arguments)
    count = DISTRIBUTIONS[kind]
    numbers = arguments if isinstance(arguments, list) else []
    if len(numbers) != count or not all(isinstance(n, Real) for n in numbers):
        # YAML takes 1e-4 for a word
        raise ValueError(
            f"{name}: {kind} takes {count} numbers, found {arguments!r} (in YAML, 1e-4 is "
            "written 1.0e-4)"
        )
    low, high = numbers[:2]
    if (
        not low < high
        or (kind == "loguniform" and low <= 0)
        or (kind == "quniform" and numbers[2] <= 0)
    ):
        raise ValueError(
            f"{name}: {kind} of {arguments!r} is empty: the first number is smaller than the "
            "second, and above 0 for loguniform; a step is above 0"
        )
    if kind == "randint" and not all(isinstance(n, int) for n in numbers):
        raise ValueError(f"{name}: randint takes integers, found {arguments!r}")
    return getattr(tune, kind)(*numbers)


def _short(parts: tuple[str, ...]) -> str:
    return ".".join(part for part in parts if part != INNER)


def _leaves(config: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in config.items():
        place = (*above, str(key))
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, place)
        else:
            yield place


def locate(name: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys that lead to an entry of a training configuration.

    Args:
        name: Dotted name; `init_args` may be left out, as on the command line.
        config: The whole configuration.

    Returns:
        The keys. The last of them may be new where it lies in an entry without a value yet, as
        the options of an architecture.

    Raises:
        ValueError: There is no such entry; lists the ones that are near.
    """
    places = list(_leaves(config))
    wanted = _short(tuple(name.split(".")))
    known = {_short(place): place for place in places}
    if wanted in known:
        return known[wanted]
    parent, _, last = wanted.rpartition(".")
    if parent in known and _value(config, known[parent]) in (None, {}):
        return (*known[parent], last)
    for place in places:
        # a free-form mapping that holds some options may hold this one too
        if place[-2:-1] == ("options",) and _short(place[:-1]) == parent:
            return (*place[:-1], last)
    near = difflib.get_close_matches(wanted, known, n=5, cutoff=0.5)
    near += [n for n in known if n.rpartition(".")[2] == last and n not in near]
    words = f"near it are {', '.join(near)}" if near else "no name is near it"
    raise ValueError(
        f"the search space names {name}, which the training configuration does not have: {words} "
        "(`python -m train fit --print_config ...` lists all)"
    )


def _value(config: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    value: Any = config
    for part in place:
        value = value[part]
    return value


def apply_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a training configuration with other values.

    Args:
        config: The whole configuration.
        values: New value of each dotted name.

    Raises:
        ValueError: A name is none of the configuration.
    """
    changed = copy.deepcopy(dict(config))
    for name, value in values.items():
        *parents, last = locate(name, config)
        part = changed
        for key in parents:
            if part.get(key) is None:
                part[key] = {}
            part = part[key]
        part[last] = value
    return changed
