"""Make the provenance of a product, and compare that of two."""

import functools
import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ledger.files import ProductError
from ledger.product import product_id, read_provenance
from ledger.provenance import Provenance

from runtime.experiment import Experiment

# Settings in which the products of one search must agree, stage by stage.
SAME_STRAIN = ("ifos", "sample_rate")
SAME_MODEL = ("ifos", "sample_rate", "highpass", "lowpass", "kernel_length", "whitening")
# The parameter of a served model's configuration that names the network it was exported from.
NETWORK_PARAMETER = "aframe.network"


@functools.cache
def code_version() -> str:
    """Version of this code: that of the package, and the commit of the checkout if it is one.

    Images hold no checkout: there the variable AFRAME_COMMIT says it.
    """
    release = version("aframe-runtime")
    if commit := os.environ.get("AFRAME_COMMIT", ""):
        return f"{release}+{commit}"
    try:
        commit = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return release
    return f"{release}+{commit}"


def make_provenance(
    generator: str,
    experiment: Experiment,
    seed: int | None = None,
    parents: Mapping[str, str | Path] | None = None,
) -> Provenance:
    """Provenance of a product that is about to be written.

    Args:
        generator: Stage and verb.
        experiment: The resolved experiment.
        seed: Seed of the random numbers used; None where there are none.
        parents: Path of each input product, by the name of its role.
    """
    return Provenance(
        generator=generator,
        code_version=code_version(),
        settings=experiment.settings(),
        seed=seed,
        parents={role: product_id(path) for role, path in (parents or {}).items()},
    )


def require_same(path: str | Path, experiment: Experiment, keys: tuple[str, ...]) -> None:
    """Stop if a product was made with other settings than the experiment at hand.

    Args:
        path: The product.
        experiment: The experiment.
        keys: Top-level settings in which the two must agree.

    Raises:
        ProductError: They differ; names both values and both files.
    """
    made_with = read_provenance(path).settings
    compare_settings(made_with, str(path), experiment, keys)


def compare_settings(
    found: Mapping[str, Any], source: str, experiment: Experiment, keys: tuple[str, ...]
) -> None:
    """Stop if settings recorded in `source` differ from the experiment's; see `require_same`."""
    expected = experiment.settings()
    for key in keys:
        left, right = found.get(key), expected.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            names = [k for k in right if left.get(k) != right[k]]
            if names:
                key, left, right = f"{key}.{names[0]}", left.get(names[0]), right[names[0]]
            else:
                continue
        if left != right:
            raise ProductError(
                f"{source} was made with {key} = {left}, but {experiment.source} says {right}: "
                "make it again with this experiment, or use the experiment it was made with"
            )
