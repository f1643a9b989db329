import numpy as np
import pytest
import torch
import yaml
from cleaning import LinearFilter, load_problem
from deepclean.frames import frame_name, write_frame
from deepclean.models import publish, set_state
from deepclean.simulation import Plant, Simulation

START = 1_000_000_000
RATES = {"H1:MAINS_DQ": 1024, "H1:PITCH_DQ": 256}

PROBLEM = {
    "name": "60Hz-H1",
    "ifo": "H1",
    "layers": [{"bands": [[55, 65]], "witnesses": ["MAINS_DQ", "PITCH_DQ"], "sample_rate": 512}],
}
SIMULATION = {
    "seed": 3,
    "sources": {"mains": {"kind": "mains"}, "pitch": {"kind": "motion", "band": [0.1, 1.0]}},
    "witnesses": {
        "MAINS_DQ": {"source": "mains", "rate": 1024, "noise": 1e-3},
        "PITCH_DQ": {"source": "pitch", "rate": 256, "gain": 20.0},
    },
    "couplings": [{"sources": ["mains"], "size": 30.0, "delay": 0.002}],
}


class Deployment:
    """Folders of a live installation, with frames on demand."""

    def __init__(self, folder):
        self.folder = folder
        self.problem_file = folder / "problem.yaml"
        self.problem_file.write_text(yaml.safe_dump(PROBLEM))
        self.problem = load_problem(self.problem_file)
        self.plant = Plant(Simulation.model_validate(SIMULATION), "H1")
        self.store = folder / "models"
        for name in ("strain", "witness"):
            (folder / "frames" / name).mkdir(parents=True)

    def frame(self, kind, second):
        name = frame_name("H", kind.upper(), second)
        return self.folder / "frames" / kind / name

    def write(self, first, stop, drop=()):
        """Write the frames of some seconds, counted from `START`."""
        made = self.plant(START + first, START + stop)
        for i in range(stop - first):
            second = START + first + i
            strain = made.strain[i * 4096 : (i + 1) * 4096]
            channels = {self.problem.strain_channel: np.ascontiguousarray(strain)}
            write_frame(self.frame("strain", second), second, 1, channels)
            if first + i not in drop:
                witnesses = {
                    name: np.ascontiguousarray(made.witnesses[name][i * rate : (i + 1) * rate])
                    for name, rate in RATES.items()
                }
                write_frame(self.frame("witness", second), second, 1, witnesses)

    def publish(self, gain=1.0, promote=True):
        """Publish a filter that knows the coupling, times a gain."""
        from deepclean.simulation.background import advanced_ligo_psd

        size = 30 * float(np.sqrt(advanced_ligo_psd(np.array(60.0))))
        taps = torch.zeros(2, 33)
        # one sample of 512 Hz stands for the delay
        taps[0, 17] = gain
        network = torch.jit.script(LinearFilter(taps, torch.ones(2), size))
        path = self.folder / "network.pt"
        network.save(str(path))
        version = publish(self.store, self.problem_file, [path], (START, START + 100))
        if promote:
            set_state(self.store, version, "production", "test")
        return version


@pytest.fixture
def deployment(tmp_path):
    return Deployment(tmp_path)
