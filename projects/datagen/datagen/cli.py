"""The verbs of this stage.

Each verb imports its own module when it runs: torch, gwpy and bilby take seconds to load, and no
verb needs all of them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from runtime import command_line


def query(experiment: Path, output: Path) -> None:
    """Find the times to analyse: science segments, less vetoes.

    Args:
        experiment: Experiment file, or the folder that holds it.
        output: Folder to write: segments.hdf5, segments.txt, livetime.png.
    """
    from datagen.query import query_segments

    query_segments(experiment, output)


def fetch(
    experiment: Path, segments: Path, branch: int, output: Path, source: Path | None = None
) -> None:
    """Fetch one strain file.

    Args:
        experiment: Experiment file, or the folder that holds it.
        segments: segments.hdf5 that `query` made.
        branch: Which of its files, from 0.
        output: Strain file to write.
        source: Folder of files, for experiments with provider files.
    """
    from datagen.fetch.fetch import fetch_strain

    fetch_strain(experiment, segments, branch, output, source)


def simulate(experiment: Path, branch: int, output: Path) -> None:
    """Simulate one strain file: coloured noise, glitches if asked for.

    Args:
        experiment: Experiment file, or the folder that holds it.
        branch: Which of the experiment's simulated strain files, from 0.
        output: Strain file to write.
    """
    from datagen.simulate import simulate_strain

    simulate_strain(experiment, branch, output)


def glitch_list(experiment: Path, output: Path) -> None:
    """List the glitches in an experiment's simulated strain.

    Args:
        experiment: Experiment file, or the folder that holds it.
        output: CSV file to write.
    """
    from datagen.simulate import list_glitches

    list_glitches(experiment, output)


def cut_glitches(experiment: Path, strain: Path, triggers: Path, output: Path) -> None:
    """Cut glitch shapes from strain, to be put into simulated noise.

    Args:
        experiment: Experiment file, or the folder that holds it.
        strain: Strain index.
        triggers: CSV file with columns ifo and time, and snr if known.
        output: File of glitch shapes to write.
    """
    from datagen.cut_glitches import cut_glitches as cut

    cut(experiment, strain, triggers, output)


def index(experiment: Path, folder: Path, segments: Path | None = None) -> None:
    """Index strain files: say what each is for.

    Args:
        experiment: Experiment file, or the folder that holds it.
        folder: Folder of the strain files; `index.hdf5` is written into it.
        segments: segments.hdf5 that `query` made, for strain that is fetched.
    """
    from datagen.index import index_strain

    index_strain(experiment, folder, segments)


def import_(experiment: Path, source: Path, output: Path) -> None:
    """Import strain from GWOSC, gwpy, frame, event or challenge (MLGWSC-1) files.

    Args:
        experiment: Experiment file, or the folder that holds it.
        source: Folder of files that end in .hdf5, .h5, .hdf or .gwf, or one file.
        output: Folder to write: strain files and `index.hdf5`.
    """
    from datagen.import_strain import import_strain

    import_strain(experiment, source, output)


def training_waveforms(experiment: Path, output: Path, branch: int = 0, branches: int = 1) -> None:
    """Make the signals to train on.

    Args:
        experiment: Experiment file, or the folder that holds it.
        output: Waveform file to write.
        branch: Which part of the signals, from 0.
        branches: Number of parts.
    """
    from datagen.training_waveforms import make_training_waveforms

    make_training_waveforms(experiment, output, branch, branches)


def merge_training_waveforms(experiment: Path, parts: list[Path], output: Path) -> None:
    """Join the parts that the branches of `training-waveforms` made.

    Args:
        experiment: Experiment file, or the folder that holds it.
        parts: The parts, in the order of their branches.
        output: Waveform file to write.
    """
    from datagen.training_waveforms import merge_training_waveforms as merge

    merge(experiment, parts, output)


def validation_waveforms(
    experiment: Path, strain: Path, fold: int, output: Path, branch: int = 0, branches: int = 1
) -> None:
    """Make injections for the validation files of a fold.

    Args:
        experiment: Experiment file, or the folder that holds it.
        strain: Strain index.
        fold: Which fold of the experiment, from 0.
        output: Injection file to write.
        branch: Which part of the files, from 0.
        branches: Number of parts.
    """
    from datagen.injections import make_injections

    make_injections(experiment, strain, fold, output, "validation", branch, branches)


def injections(
    experiment: Path, strain: Path, fold: int, output: Path, branch: int = 0, branches: int = 1
) -> None:
    """Make injections for the search files of a fold.

    Args:
        experiment: Experiment file, or the folder that holds it.
        strain: Strain index.
        fold: Which fold of the experiment, from 0.
        output: Injection file to write.
        branch: Which part of the files, from 0.
        branches: Number of parts.
    """
    from datagen.injections import make_injections

    make_injections(experiment, strain, fold, output, "search", branch, branches)


def merge_injections(experiment: Path, parts: list[Path], output: Path) -> None:
    """Join the parts that the branches of `injections` or `validation-waveforms` made.

    Args:
        experiment: Experiment file, or the folder that holds it.
        parts: The parts, in the order of their branches.
        output: Injection file to write.
    """
    from datagen.injections import merge_injections as merge

    merge(experiment, parts, output)


def inject(experiment: Path, strain: Path, injections: Path, output: Path, fold: int = 0) -> None:
    """Write strain with injections in it.

    Args:
        experiment: Experiment file, or the folder that holds it.
        strain: Strain index.
        injections: Injections into its files.
        output: Folder to write: strain files and index.hdf5.
        fold: Which fold of the experiment, from 0.
    """
    from datagen.inject import inject_signals

    inject_signals(experiment, strain, injections, output, fold)


VERBS: dict[str, Callable[..., None]] = {
    "query": query,
    "fetch": fetch,
    "simulate": simulate,
    "glitch-list": glitch_list,
    "cut-glitches": cut_glitches,
    "index": index,
    "import": import_,
    "training-waveforms": training_waveforms,
    "merge-training-waveforms": merge_training_waveforms,
    "validation-waveforms": validation_waveforms,
    "injections": injections,
    "merge-injections": merge_injections,
    "inject": inject,
}


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point; arguments are those of the process if None."""
    command_line("datagen", VERBS, argv)
