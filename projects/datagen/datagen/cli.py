"""The verbs of this stage.

Each verb imports its own module when it runs: torch, gwpy and bilby take seconds to load, and no
verb needs all of them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from runtime import command_line


def simulate(experiment: Path, branch: int, output: Path) -> None:
    """Simulate one strain file of Gaussian noise.

    Args:
        experiment: Experiment file, or the folder that holds it.
        branch: Which of the experiment's strain files, from 0.
        output: Strain file to write.
    """
    from datagen.simulate import simulate_strain

    simulate_strain(experiment, branch, output)


def index(experiment: Path, folder: Path) -> None:
    """Index simulated strain files.

    Args:
        experiment: Experiment file, or the folder that holds it.
        folder: Folder of the strain files; `index.hdf5` is written into it.
    """
    from datagen.index import index_strain

    index_strain(experiment, folder)


def import_(experiment: Path, source: Path, output: Path) -> None:
    """Import strain from GWOSC, gwpy, frame or event files.

    Args:
        experiment: Experiment file, or the folder that holds it.
        source: Folder of files that end in .hdf5, .h5 or .gwf.
        output: Folder to write: strain files and `index.hdf5`.
    """
    from datagen.import_strain import import_strain

    import_strain(experiment, source, output)


def training_waveforms(experiment: Path, output: Path) -> None:
    """Make the signals to train on.

    Args:
        experiment: Experiment file, or the folder that holds it.
        output: Waveform file to write.
    """
    from datagen.training_waveforms import make_training_waveforms

    make_training_waveforms(experiment, output)


def validation_waveforms(experiment: Path, strain: Path, fold: int, output: Path) -> None:
    """Make injections for the validation files of a fold.

    Args:
        experiment: Experiment file, or the folder that holds it.
        strain: Strain index.
        fold: Which fold of the experiment, from 0.
        output: Injection file to write.
    """
    from datagen.injections import make_injections

    make_injections(experiment, strain, fold, output, "validation")


def injections(experiment: Path, strain: Path, fold: int, output: Path) -> None:
    """Make injections for the search files of a fold.

    Args:
        experiment: Experiment file, or the folder that holds it.
        strain: Strain index.
        fold: Which fold of the experiment, from 0.
        output: Injection file to write.
    """
    from datagen.injections import make_injections

    make_injections(experiment, strain, fold, output, "search")


VERBS: dict[str, Callable[..., None]] = {
    "simulate": simulate,
    "index": index,
    "import": import_,
    "training-waveforms": training_waveforms,
    "validation-waveforms": validation_waveforms,
    "injections": injections,
}


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point; arguments are those of the process if None."""
    command_line("datagen", VERBS, argv)
