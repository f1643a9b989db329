"""What every stage's command line shares."""

from ledger.files import bring_with

from runtime import storage
from runtime.cli import command_line
from runtime.experiment import Experiment, ExperimentError, load_experiment
from runtime.progress import progress
from runtime.provenance import make_provenance, require_same
from runtime.seeds import generator_for, seed_for

__all__ = [
    "Experiment",
    "ExperimentError",
    "command_line",
    "generator_for",
    "load_experiment",
    "make_provenance",
    "progress",
    "require_same",
    "seed_for",
    "storage",
]

# Products open wherever they lie.
bring_with(storage.require)
