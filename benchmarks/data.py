"""What the data of a search cost, from a finished data pipeline, and what 30 days of it would.

Run with the root environment after `law run aframe.pipelines.data.Data --experiment open-run`; see
README.md.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

from ledger import ROLES, InjectionSet, Role, StrainIndex, WaveformSet
from runtime import load_experiment

DAY = 86400.0
# Roles of the strain that a stage's time, or a product's size, goes with; none: made once.
ROLES_OF = {
    "Query": (),
    "Fetch": ("validation", "search"),
    "SimulateStrain": ("training",),
    "StrainIndex": ("training", "validation", "search"),
    "TrainingWaveformBranches": (),
    "TrainingWaveforms": (),
    "ValidationBranches": ("validation",),
    "ValidationWaveforms": ("validation",),
    "InjectionBranches": ("search",),
    "Injections": ("search",),
    "strain": ("training", "validation", "search"),
    "training-waveforms": (),
    "validation-0": ("validation",),
    "injections-0": ("search",),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path, help="folder of the finished version")
    parser.add_argument("--days", type=float, default=30.0)
    given = parser.parse_args()
    version: Path = given.version
    experiment = load_experiment(version / "stages" / "Query")
    path = version / "strain" / "index.hdf5"
    index = StrainIndex.read(path)
    lengths = {
        role: sum(file.gps_stop - file.gps_start for file in index.files(path, role))
        for role in ROLES
    }
    print(f"{len(index.ifos)} detectors at {index.sample_rate:g} Hz: {lengths} s")

    wall: dict[str, float] = defaultdict(float)
    for record_path in sorted((version / "stages").glob("*/wall.json")):
        record = json.loads(record_path.read_text())
        wall[re.sub(r"-\d+$", "", record["stage"])] += record["wall_s"]
    table("stage", "s", wall, lengths, given.days)
    sizes = {"strain": sum(p.stat().st_size for p in path.parent.glob("*.hdf5")) / 1e6}
    for name in ("training-waveforms", "validation-0", "injections-0"):
        sizes[name] = (version / f"{name}.hdf5").stat().st_size / 1e6
    table("product", "MB", sizes, lengths, given.days)

    injections = InjectionSet.read(version / "injections-0.hdf5")
    size = (version / "injections-0.hdf5").stat().st_size
    each = size / len(injections.time)
    signal = len(index.ifos) * experiment.waveforms.duration * index.sample_rate * 4
    print(
        f"\n{len(injections.time)} injections of {injections.num_drawn} draws "
        f"({experiment.injections.storage}): {each:.0f} bytes for each with its rejected draws; "
        f"100,000 are {each / 10:.1f} MB, their float32 responses {signal / 10:.0f} MB"
    )
    waveforms = WaveformSet.read(version / "training-waveforms.hdf5")
    print(f"{len(waveforms.parameters['ra'])} signals to train on, {waveforms.num_failed} failed")


def table(
    what: str, unit: str, values: dict[str, float], lengths: dict[Role, float], days: float
) -> None:
    """Print what was measured, for how much strain, and what more strain of that kind costs."""
    print(f"\n{what:26s} {unit:>9s} {'strain s':>9s} {f'{unit} for {days:g} d':>13s}")
    total = 0.0
    for name, value in values.items():
        length = sum(lengths[role] for role in ROLES_OF[name])
        longer = value * days * DAY / length if length else value
        total += value
        print(f"{name:26s} {value:9.1f} {length:9.0f} {longer:13.0f}")
    print(f"{'all':26s} {total:9.1f}")


if __name__ == "__main__":
    main()
