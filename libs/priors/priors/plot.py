"""Corner plots of populations."""

from pathlib import Path

import corner
import matplotlib
import numpy as np

from priors.populations import Population

matplotlib.use("Agg")

# What stands for a population; of these, whatever it has and varies is drawn.
SHOWN = (
    "mass_1_source",
    "mass_2_source",
    "frequency",
    "quality",
    "hrss",
    "eccentricity",
    "redshift",
    "a_1",
    "a_2",
    "tilt_1",
    "tilt_2",
)
UNITS = {"mass_1_source": "Msun", "mass_2_source": "Msun", "frequency": "Hz", "hrss": "Hz^-1/2"}


def plot_corner(population: Population, output: Path, count: int, seed: int = 0) -> None:
    """Draw a sample of a population as a corner plot.

    Args:
        population: The population.
        output: Image file to write; its ending says the format.
        count: How many sources are drawn.
        seed: Seed of the draws.

    Raises:
        ValueError: Fewer sources than 100, too few for a picture.
    """
    if count < 100:
        raise ValueError(f"count is {count}, expected at least 100")
    sources = population.sample(count, np.random.default_rng(seed))
    shown = {
        name: sources[name] for name in SHOWN if name in sources and np.ptp(sources[name]) > 0
    }
    if "hrss" in shown:
        # spans decades, and too small for the ticks
        shown["hrss"] = np.log10(shown["hrss"])
    labels = [
        ("log10 " if name == "hrss" else "")
        + name.replace("_", " ")
        + (f" [{UNITS[name]}]" if name in UNITS else "")
        for name in shown
    ]
    figure = corner.corner(np.stack(list(shown.values()), axis=1), labels=labels, bins=40)
    figure.suptitle(f"{population.name}: {count} sources")
    figure.savefig(output)
