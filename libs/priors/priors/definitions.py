"""Definitions of populations: read from YAML and `.prior` files, and by name."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from bilby.core.prior import Constraint, Prior, PriorDict
from bilby.core.prior.joint import BaseJointPriorDist, JointPrior
from bilby.gw.prior import Cosmological

from priors.conversions import MASS_DIMENSION, PAIRS, QUANTITIES, MassPair
from priors.cosmology import COSMOLOGY, named_cosmology
from priors.parameters import COLUMN, DISTANCES, MASSES, ORIENTATION, SPINS

Frame = Literal["source", "detector"]
Kind = Literal["binary", "burst"]

FILE_SUFFIXES = (".yaml", ".yml", ".prior")
NAMED_FOLDER = Path(__file__).with_name("named")
NAMES = tuple(sorted(path.stem for path in NAMED_FOLDER.glob("*.yaml")))
"""Populations that have a name."""

_KEYS = ("about", "reference", "frame", "cosmology", "redshift_max", "arguments", "priors")


@dataclass(frozen=True)
class Definition:
    """What a population is, as its author wrote it.

    Attributes:
        name: Name with its arguments, or the path of the file.
        about: One line for people.
        frame: Frame of the masses that the priors are of.
        cosmology: astropy's name of the cosmology.
        priors: Prior of each parameter that is drawn.
        constraints: Constraint on each quantity. A mass has a name that ends with its frame.
        order: Names of `priors` such that each comes after those that it is conditional on.
        redshift_max: Largest redshift asked for, by the caller or else by the file.
    """

    name: str
    about: str
    frame: Frame
    cosmology: str
    priors: Mapping[str, Prior]
    constraints: Mapping[str, Constraint]
    order: tuple[str, ...]
    redshift_max: float | None

    @property
    def mass_pair(self) -> MassPair | None:
        """The two parameters that say the masses; None for a burst."""
        return next((pair for pair in PAIRS if set(pair.names) <= set(self.priors)), None)

    @property
    def kind(self) -> Kind:
        """Whether there are masses."""
        return "burst" if self.mass_pair is None else "binary"

    @property
    def distance(self) -> str | None:
        """The parameter that says how far the sources are."""
        return next((name for name in DISTANCES if name in self.priors), None)


def read_definition(name: str, redshift_max: float | None, folder: Path | None) -> Definition:
    """Definition of a population by its name, its name and arguments, or its file.

    Args:
        name: One of `NAMES`, with arguments in parentheses if it takes any; or a path that ends
            in `.yaml`, `.yml` or `.prior`.
        redshift_max: Largest redshift to draw; that of the definition if None.
        folder: Where relative paths start; the current folder if None.

    Raises:
        FileNotFoundError: No such file.
        ValueError: No such name, or the definition is not sound; the sentence says why.
    """
    if redshift_max is not None and not redshift_max > 0:
        raise ValueError(f"redshift_max is {redshift_max}, expected more than 0")
    if not name.endswith(FILE_SUFFIXES):
        stem, positional, named = _parse_call(name)
        table = _read_yaml(NAMED_FOLDER / f"{stem}.yaml")
        arguments = _bind(name, table.get("arguments", {}), positional, named)
        return _build(name, table, redshift_max, arguments)
    path = Path(folder or ".", name)
    if not path.is_file():
        raise FileNotFoundError(
            f"no population file {path}: give a path relative to the experiment's folder, or one "
            f"of the names {', '.join(NAMES)}"
        )
    if path.suffix == ".prior":
        # bilby's own names: a mass is of the detector frame unless it says otherwise
        return _assemble(name, _parse_priors(path, filename=str(path)), "detector", redshift_max)
    table = _read_yaml(path)
    arguments = _bind(str(path), table.get("arguments", {}), [], {})
    return _build(name, table, redshift_max, arguments, path)


def describe(name: str) -> tuple[str, str, str]:
    """Name with its arguments, frame, and one line about a named population."""
    table = _read_yaml(NAMED_FOLDER / f"{name}.yaml")
    arguments = table.get("arguments", {})
    words = [key if value is None else f"{key}={value}" for key, value in arguments.items()]
    signature = f"{name}({', '.join(words)})" if words else name
    return signature, table.get("frame", "detector"), table["about"]


def _parse_call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, positional and named arguments of `name` or `name(1, 2, key=3)`."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        stem = call.func.id if isinstance(call.func, ast.Name) else text
        positional = [ast.literal_eval(value) for value in call.args]
        named = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
    except (SyntaxError, ValueError):
        stem, positional, named = text, [], {}
    if stem not in NAMES:
        raise ValueError(
            f"no population {text!r}: there are {', '.join(NAMES)}; a file of one ends in "
            ".yaml or .prior"
        )
    return stem, positional, named


def _bind(
    where: str, declared: dict[str, Any], positional: list[Any], named: dict[str, Any]
) -> dict[str, float]:
    """Values of the declared arguments, and their logarithms by `log_<name>`."""
    given = dict(zip(declared, positional, strict=False)) | named
    values = {**declared, **given}
    wrong = len(positional) > len(declared) or set(named) - set(declared)
    if wrong or not all(isinstance(value, (int, float)) for value in values.values()):
        words = [f"{key}={value}" if value else key for key, value in declared.items()]
        expected = f"numbers for ({', '.join(words)})" if words else "no arguments"
        raise ValueError(f"population {where} needs {expected}, such as gaussian_masses(35,30,2)")
    if not all(value > 0 for value in values.values()):
        raise ValueError(f"population {where} has an argument that is not positive")
    numbers = {key: float(value) for key, value in values.items()}
    return numbers | {f"log_{key}": math.log(value) for key, value in numbers.items()}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        table = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(table, dict) or not isinstance(table.get("priors"), dict):
        raise ValueError(f"{path} has no mapping `priors` from parameters to bilby's priors")
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise ValueError(f"{path} has {', '.join(unknown)}: known are {', '.join(_KEYS)}")
    return table


def _build(
    name: str,
    table: dict[str, Any],
    redshift_max: float | None,
    arguments: dict[str, float],
    path: Path | None = None,
) -> Definition:
    """Definition from the mapping of a YAML file."""
    where = str(path or name)
    redshift_max = table.get("redshift_max") if redshift_max is None else redshift_max
    known = {**arguments, "redshift_max": redshift_max}

    def fill(match: re.Match[str]) -> str:
        value = known.get(match[1])
        if value is None:
            raise ValueError(f"{where} uses {match[0]}, which is not given among its arguments")
        return repr(float(value))

    texts = {
        key: re.sub(r"\{(\w+)\}", fill, value) if isinstance(value, str) else value
        for key, value in table["priors"].items()
    }
    plain_masses = any(key in MASSES for key in texts)
    frame = table.get("frame")
    if frame not in ("source", "detector", None) or (plain_masses and frame is None):
        raise ValueError(f"{where} has frame {frame!r}, expected `source` or `detector`")
    return _assemble(
        name,
        _parse_priors(where, dictionary=texts),
        frame or "detector",
        redshift_max,
        cosmology=table.get("cosmology", COSMOLOGY.name),
        about=table.get("about", ""),
    )


def _parse_priors(where: str | Path, **source: Any) -> dict[str, Prior]:
    """Let bilby read the priors, from a file or from a mapping of texts."""
    try:
        priors = PriorDict(**source)
    except Exception as error:  # whatever the constructor of some class finds wrong
        raise ValueError(f"{where}: bilby cannot read its priors: {error}") from error
    for name, prior in priors.items():
        if isinstance(prior, (JointPrior, BaseJointPriorDist)) or not isinstance(prior, Prior):
            raise ValueError(
                f"{where}: {name} is {prior}, expected a bilby prior of one parameter or a number"
            )
    return dict(priors)


def _assemble(
    name: str,
    read: dict[str, Prior],
    frame: Frame,
    redshift_max: float | None,
    cosmology: str = COSMOLOGY.name,
    about: str = "",
) -> Definition:
    """Check what was read, and fill in isotropic positions and orientations.

    `frame` is that of masses whose name does not say theirs.
    """
    priors: dict[str, Prior] = {}
    constraints: dict[str, Constraint] = {}
    frames: set[Frame] = set()
    for key, prior in read.items():
        base, own = _split_frame(key)
        if isinstance(prior, Constraint):
            constraints[f"{base}_{own or frame}" if base in MASS_DIMENSION else base] = prior
        elif base not in COLUMN:
            raise ValueError(f"{name}: no parameter {key}: known are {', '.join(COLUMN)}")
        else:
            priors[base] = prior
            if base in MASS_DIMENSION:
                frames.add(own or frame)
    if len(frames) > 1:
        raise ValueError(f"{name} has masses of both frames, expected one frame for both")
    _check_sources(name, priors)
    _check_constraints(name, priors, constraints)
    _check_distance(name, priors, cosmology)
    for key, prior in ORIENTATION.items():
        if f"cos_{key}" not in priors:
            priors.setdefault(key, prior)
    order = _resolve(name, priors)
    return Definition(
        name=name,
        about=about,
        frame=frames.pop() if frames else "detector",
        cosmology=cosmology,
        priors=priors,
        constraints=constraints,
        order=order,
        redshift_max=redshift_max,
    )


def _split_frame(key: str) -> tuple[str, Frame | None]:
    base, _, end = key.rpartition("_")
    if base in MASS_DIMENSION and end in ("source", "detector"):
        return base, end  # type: ignore[return-value]
    return key, None


def _check_sources(name: str, priors: dict[str, Prior]) -> None:
    """One pair of masses and a distance, or a frequency and a quality."""
    masses = [key for key in priors if key in MASSES]
    pairs = " | ".join(", ".join(pair.names) for pair in PAIRS)
    if masses and not any(set(masses) == set(pair.names) for pair in PAIRS):
        raise ValueError(f"{name} has masses by {', '.join(masses)}, expected one of {pairs}")
    distances = [key for key in priors if key in DISTANCES]
    if len(distances) > 1 or (masses and not distances):
        raise ValueError(
            f"{name} has {' and '.join(distances) or 'no distance'}, expected one of "
            f"{', '.join(DISTANCES)}"
        )
    if not masses and not {"frequency", "quality"} <= set(priors):
        raise ValueError(
            f"{name} has neither masses ({pairs}) nor the frequency and quality of a burst"
        )
    if not masses and not distances and "hrss" not in priors:
        raise ValueError(f"{name} has no amplitude: give luminosity_distance, redshift or hrss")
    if masses and "frequency" in priors:
        raise ValueError(f"{name} has masses and a frequency, expected one kind of source")
    columns: dict[int, str] = {}
    for key in priors:
        other = columns.setdefault(COLUMN[key], key)
        if other != key:
            raise ValueError(f"{name} has {other} and {key}, which say the same: give one")
    for number in "12":
        if {f"chi_{number}", f"tilt_{number}"} <= set(priors):
            raise ValueError(f"{name} has chi_{number}, which is along the orbit, and a tilt")


def _check_constraints(
    name: str, priors: dict[str, Prior], constraints: dict[str, Constraint]
) -> None:
    """A constraint on what sources do not have would hold nothing."""
    known = [*ORIENTATION, *(key.removeprefix("cos_") for key in priors if key not in MASSES)]
    if any(key in DISTANCES for key in priors):
        known += DISTANCES
    if any(key in MASSES for key in priors):
        known += [*SPINS, *QUANTITIES]
    for key in constraints:
        if _split_frame(key)[0] not in known:
            raise ValueError(
                f"{name} constrains {key}, which its sources do not have: they have "
                f"{', '.join(dict.fromkeys(known))}"
            )


def _check_distance(name: str, priors: dict[str, Prior], cosmology: str) -> None:
    named_cosmology(cosmology)
    for key in DISTANCES:
        prior = priors.get(key)
        if getattr(prior, "required_variables", None):
            raise ValueError(f"{name} has a {key} that is conditional, which is not supported")
        if not isinstance(prior, Cosmological):
            continue
        if prior.name != key:
            raise ValueError(f"{name}: the prior of {key} has name='{prior.name}', expected {key}")
        if prior.unit is not None and str(prior.unit) not in ("Mpc", ""):
            raise ValueError(f"{name}: the prior of {key} is in {prior.unit}, expected Mpc")
        if prior.cosmology.name != cosmology:
            raise ValueError(
                f"{name}: the prior of {key} has cosmology {prior.cosmology.name}, but the "
                f"population {cosmology}: give `cosmology` in both, and the same"
            )


def _resolve(name: str, priors: dict[str, Prior]) -> tuple[str, ...]:
    """Names in an order in which each prior finds what it is conditional on."""
    order: list[str] = []
    left = list(priors)
    while left:
        ready = [
            key for key in left if set(getattr(priors[key], "required_variables", [])) <= {*order}
        ]
        if not ready:
            wanted = {key: priors[key].required_variables for key in left}
            raise ValueError(f"{name} has priors conditional on what is not drawn: {wanted}")
        order += ready
        left = [key for key in left if key not in ready]
    return tuple(order)
