"""The memory of a search does not grow with the strain."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from architectures import TwoTower
from conftest import ASD, REPOSITORY, energetic, write_repository
from infer.found import ALL
from ledger import EventSet, InjectionSet, StrainIndex, StrainSegment
from runtime import Experiment, load_experiment, make_provenance

RATE = 2048
DURATION = 20_000
MEMORY = 2 * 10**9

# Reports the largest resident memory of the program [bytes]. That of `getrusage` counts what the
# process was before it became this program, too: a copy of the one that runs the tests.
PROGRAM = """
import pathlib, re, sys
from infer.search import search
search(**dict(argument.split("=", 1) for argument in sys.argv[1:]))
status = pathlib.Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1]) * 1024)
"""


@pytest.fixture
def long_search(tmp_path: Path) -> dict[str, Path]:
    """Inputs of a search of 20,000 s of two detectors at 2048 Hz."""
    content = yaml.safe_load((REPOSITORY / "configs/smoke/experiment.yaml").read_text())
    content["sample_rate"] = RATE
    content["search"] |= {"scores_per_second": 64, "background_livetime": 15_000}
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    experiment = load_experiment(path)
    provenance = make_provenance("test", experiment)
    rng = np.random.default_rng(1)
    strain = {}
    for ifo in experiment.ifos:
        strain[ifo] = rng.standard_normal(DURATION * RATE, dtype=np.float32)
        strain[ifo] *= ASD * np.sqrt(RATE / 2)
    StrainSegment(strain=strain, gps_start=1000.0, sample_rate=RATE).write(
        tmp_path / "long.hdf5", provenance
    )
    StrainIndex(
        ifos=experiment.ifos,
        sample_rate=RATE,
        path=["long.hdf5"],
        label=["long"],
        gps_start=np.array([1000.0]),
        gps_stop=np.array([1000.0 + DURATION]),
        role=np.array([[2]]),
        known_label=[],
        known_time=np.zeros(0),
        known_window=np.zeros((0, 2)),
    ).write(tmp_path / "index.hdf5", provenance)
    injections_into(experiment, 100).write(tmp_path / "injections.hdf5", provenance)
    torch.manual_seed(0)
    # small blocks, but as many features as the default network gives
    network = energetic(TwoTower(2, RATE, 1.5, channels=(4, 4, 8, 8, 8), dilations=(1,)))
    return {
        "experiment": path,
        "repository": write_repository(tmp_path / "repository", network, experiment),
        "strain": tmp_path / "index.hdf5",
        "injections": tmp_path / "injections.hdf5",
        "output": tmp_path / "events",
    }


def injections_into(experiment: Experiment, count: int) -> InjectionSet:
    """Some injections, spread over the strain."""
    return InjectionSet(
        ifos=experiment.ifos,
        sample_rate=RATE,
        coalescence=3.0,
        snr_threshold=4.0,
        volume=1.0,
        time=np.linspace(1100, 900 + DURATION, count),
        snr=np.full(count, 8.0),
        ifo_snr=np.ones((count, 2)),
        parameters={"redshift": np.zeros(count)},
        response=np.zeros((count, 2, 4 * RATE)),
        rejected={"redshift": np.zeros(0)},
        rejected_snr=np.zeros(0),
        shift=np.zeros((count, 2)),
        file=np.zeros(count),
        draw=np.arange(count),
        rejected_by=np.zeros(0),
        rejected_file=np.zeros(0),
        rejected_draw=np.zeros(0),
        failed_file=np.zeros(0),
        failed_draw=np.zeros(0),
        failed_reason=[],
        stream="injections/0",
    )


def test_a_long_file_is_searched_in_little_memory(long_search: dict[str, Path]) -> None:
    arguments = [f"{name}={path}" for name, path in long_search.items()]
    command = [sys.executable, "-P", "-c", PROGRAM, *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    resident = int(result.stdout.split()[-1])
    assert resident < MEMORY, f"{resident / 1e9:.2f} GB"
    background = EventSet.read(long_search["output"] / "background.hdf5")
    # a kernel and an integration are lost at each of the two ends that meet
    assert background.livetime == pytest.approx(DURATION - 9 - 4, abs=1)
    assert background.threshold > ALL or len(background.statistic) > 1000
    # nothing that was needed on the way is left
    assert len(list(long_search["output"].iterdir())) == 4
