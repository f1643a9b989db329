"""Index of strain files: what each is for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ledger import ROLES, SegmentList, StrainIndex, StrainSegment, strain_file_name
from ledger.product import open_product
from ledger.strain import INDEX, Role, role_in_name
from runtime import Experiment, load_experiment, make_provenance, require_same
from runtime.experiment import FetchedStrain, ImportedStrain
from runtime.provenance import SAME_STRAIN

# A fetched file may begin later and end sooner than asked for: at the next whole sample, and where
# there is no strain beyond for the anti-alias filter to see [s].
MOST_LOST = 1.0


def expected_files(
    experiment: Experiment, segments: SegmentList | None
) -> list[tuple[Role, float, float]]:
    """Role and GPS span of each strain file that an experiment has, in time order.

    Args:
        experiment: The experiment.
        segments: What `datagen query` found, for strain that is fetched.

    Raises:
        ValueError: The strain is imported, or the segments are missing or not asked for.
    """
    strain = experiment.strain
    if isinstance(strain, ImportedStrain):
        raise ValueError(
            f"{experiment.source} has strain.source: import: `datagen import` makes the index too"
        )
    files = list(strain.simulated_files())
    if isinstance(strain, FetchedStrain):
        if segments is None:
            raise ValueError(
                f"{experiment.source} fetches strain: give --segments, the segments.hdf5 that "
                "`datagen query` made"
            )
        files += segments.pieces(strain.file_length)
    elif segments is not None:
        raise ValueError(
            f"{experiment.source} simulates its strain: --segments would have no effect, leave it "
            "out"
        )
    return sorted(files, key=lambda file: file[1])


def index_strain(
    experiment: str | Path, folder: str | Path, segments: str | Path | None = None
) -> None:
    """Index the strain files of a folder, which must be all that the experiment has.

    Args:
        experiment: Experiment file or its folder.
        folder: Folder of the files; `index.hdf5` is written into it.
        segments: What `datagen query` found; for strain that is fetched.

    Raises:
        FileNotFoundError: Strain files are missing; they are named.
        ValueError: The strain is imported, or the folder holds files of other spans.
        ledger.ProductError: A file is broken, or of other detectors or another sample rate.
    """
    settings = load_experiment(experiment)
    folder = Path(folder)
    found = None
    if segments is not None:
        require_same(segments, settings, ("ifos", "strain"))
        found = SegmentList.read(segments)
    expected = {
        strain_file_name(role, start, stop - start): (role, start, stop)
        for role, start, stop in expected_files(settings, found)
    }
    present = {path.name for path in folder.glob("strain-*.hdf5") if role_in_name(path.name)}
    missing = sorted(set(expected) - present)
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of {len(expected)} strain files: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; make them with "
            "`datagen simulate` or `datagen fetch`"
        )
    foreign = sorted(present - set(expected))
    if foreign:
        raise ValueError(
            f"{folder} holds {', '.join(foreign[:5])}, which {settings.source} does not have: "
            "remove them or use another folder"
        )
    names, roles, starts, stops = [], [], [], []
    for name, (role, start, stop) in expected.items():
        require_same(folder / name, settings, SAME_STRAIN)
        # the first sample tells the detectors; the shape, the length
        first, size = StrainSegment.read(folder / name, settings.ifos, 0, 1), _size(folder / name)
        ends = (first.gps_start, first.gps_start + size / first.sample_rate)
        fetched = isinstance(settings.strain, FetchedStrain) and role in settings.strain.fetched
        spare = MOST_LOST if fetched else 0.0
        if not (start <= ends[0] <= start + spare and stop - spare <= ends[1] <= stop):
            raise ValueError(
                f"{folder / name} holds [{ends[0]}, {ends[1]}), its name says [{start}, {stop})"
            )
        names.append(name)
        roles.append([ROLES.index(role)])
        starts.append(ends[0])
        stops.append(ends[1])
    labels, times, window = _known_events(settings, found)
    index = StrainIndex(
        ifos=settings.ifos,
        sample_rate=settings.sample_rate,
        path=names,
        label=[Path(name).stem for name in names],
        gps_start=np.array(starts, dtype=np.float64),
        gps_stop=np.array(stops, dtype=np.float64),
        role=np.array(roles, dtype=np.int8),
        known_label=labels,
        known_time=times,
        known_window=times[:, None] + np.array(window),
    )
    parents: dict[str, str | Path] = {name: folder / name for name in names}
    if segments is not None:
        parents["segments"] = segments
    index.write(folder / INDEX, make_provenance("datagen index", settings, parents=parents))


def _size(path: Path) -> int:
    """Number of samples in a strain file."""
    with open_product(path, StrainSegment.product, StrainSegment.schema) as file:
        return len(next(iter(file.values())))


def _known_events(
    experiment: Experiment, segments: SegmentList | None
) -> tuple[list[str], np.ndarray, tuple[float, float]]:
    """Names and GPS times of known events, and the window around each."""
    if segments is None or not isinstance(experiment.strain, FetchedStrain):
        return [], np.zeros(0), (0.0, 0.0)
    return segments.event_label, segments.event_time, experiment.strain.known_event_window
