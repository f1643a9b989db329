"""Index of simulated strain files."""

from pathlib import Path

import numpy as np
from ledger import StrainIndex, StrainSegment
from runtime import load_experiment, make_provenance, require_same
from runtime.provenance import SAME_STRAIN

from datagen.simulate import simulated_strain
from datagen.strain_files import INDEX, role_in_name, strain_file_name


def index_strain(experiment: str | Path, folder: str | Path) -> None:
    """Index the simulated strain files of a folder, which must be all that the experiment has.

    Args:
        experiment: Experiment file or its folder.
        folder: Folder of the files; `index.hdf5` is written into it.

    Raises:
        FileNotFoundError: Strain files are missing; they are named.
        ValueError: The strain is not simulated, or the folder holds files of other spans.
        ledger.ProductError: A file is broken, or of other detectors or another sample rate.
    """
    settings = load_experiment(experiment)
    folder = Path(folder)
    expected = {
        strain_file_name(role, start, stop - start): (role, start, stop)
        for role, start, stop in simulated_strain(settings).files()
    }
    present = {path.name for path in folder.glob("strain-*.hdf5") if role_in_name(path.name)}
    missing = sorted(set(expected) - present)
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of {len(expected)} strain files: "
            f"{', '.join(missing[:5])}{' ...' if len(missing) > 5 else ''}; make them with "
            "`datagen simulate`"
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
        segment = StrainSegment.read(folder / name, settings.ifos)
        if (segment.gps_start, segment.gps_stop) != (start, stop):
            raise ValueError(
                f"{folder / name} holds [{segment.gps_start}, {segment.gps_stop}), its name says "
                f"[{start}, {stop})"
            )
        names.append(name)
        roles.append([StrainIndex.ROLES.index(role)])
        starts.append(start)
        stops.append(stop)
    index = StrainIndex(
        ifos=settings.ifos,
        sample_rate=settings.sample_rate,
        path=names,
        label=[Path(name).stem for name in names],
        gps_start=np.array(starts, dtype=np.float64),
        gps_stop=np.array(stops, dtype=np.float64),
        role=np.array(roles, dtype=np.int8),
        known_label=[],
        known_time=np.zeros(0),
        known_window=np.zeros((0, 2)),
    )
    parents = {name: folder / name for name in names}
    index.write(folder / INDEX, make_provenance("datagen index", settings, parents=parents))
