import copy
from typing import Any

import pytest
import yaml

SIMULATED = {
    "name": "mine",
    "seed": 7,
    "ifos": ["H1", "L1"],
    "sample_rate": 1024,
    "highpass": 32,
    "kernel_length": 1.5,
    "whitening": {"psd_length": 8, "fftlength": 2, "fduration": 1, "update_length": 4},
    "strain": {
        "source": "simulate",
        "noise_curves": {"H1": "a", "L1": "b"},
        "training": [0, 500],
        "validation": [500, 800],
        "search": [1000, 1400],
        "file_length": 256,
    },
    "waveforms": {
        "approximant": "IMRPhenomD",
        "prior": "any",
        "duration": 4,
        "right_pad": 1,
        "minimum_frequency": 20,
        "reference_frequency": 50,
        "num_training": 10,
    },
    "injections": {"spacing": 24, "passes": 2},
    "search": {
        "scores_per_second": 16,
        "integration_length": 0.5,
        "cluster_length": 2,
        "slide_step": 6,
        "background_livetime": 1000,
    },
    "evaluation": {"false_alarm_rates": [100], "mass_pairs": [[35, 35]]},
}


@pytest.fixture
def write(tmp_path):
    """Write an experiment with some settings changed, `a.b` for nested ones; None removes."""

    def write_changed(changes: dict[str, Any] | None = None, name: str = "experiment.yaml"):
        content = copy.deepcopy(SIMULATED)
        for key, value in (changes or {}).items():
            *parents, last = key.split(".")
            place: Any = content
            for part in parents:
                place = place[part]
            if value is None:
                del place[last]
            else:
                place[last] = value
        (tmp_path / name).write_text(yaml.safe_dump(content))
        return tmp_path / name

    return write_changed
