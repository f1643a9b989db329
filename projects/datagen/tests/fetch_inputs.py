"""Experiments, segments and strain that the tests of `fetch` share."""

import numpy as np
import yaml
from conftest import SMOKE
from ledger import SegmentList
from make_gwosc_files import make_gwosc_files
from runtime import load_experiment, make_provenance

# A multiple of the files' length.
T0 = 1240576000
FILE_LENGTH = 64
TONES = {"H1": (50.3, 311.7), "L1": (71.9, 402.1), "V1": (33.3, 250.0), "K1": (91.1, 199.9)}


def tones(ifo, times):
    """Strain of which every sample is known at every time: two sines of a detector."""
    low, high = TONES[ifo]
    time = np.asarray(times) - T0
    return 1e-21 * (np.cos(2 * np.pi * low * time) + 0.5 * np.sin(2 * np.pi * high * time))


def sampled_tones(ifo, start, stop, rate):
    """The same, sampled over a span."""
    return tones(ifo, start + np.arange(round((stop - start) * rate)) / rate)


def make_archive(folder, ifos=("H1", "L1"), num_files=4, **options):
    """Files of tones from T0 on, as the archive has them."""
    options = {"file_length": FILE_LENGTH, "strain": sampled_tones} | options
    span = (T0, T0 + num_files * FILE_LENGTH)
    return make_gwosc_files(folder, ifos, span, **options)


def make_inputs(folder, spans, ifos=("H1", "L1"), sample_rate=2048, **strain):
    """An experiment that fetches, and the segments that it is to fetch.

    Returns:
        Folder of the experiment, and file of the segments.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load((SMOKE / "experiment.yaml").read_text())
    content |= {"ifos": list(ifos), "sample_rate": sample_rate, "lowpass": 0.4 * sample_rate}
    content["strain"] = {
        "source": "fetch",
        "training": [T0 - 4000, T0 - 3000],
        "validation": [T0 - 2000, T0 - 1000],
        "search": [spans[0][0], max(spans[-1][1], spans[0][0] + 100)],
        **strain,
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    settings = load_experiment(folder)
    none, count = np.zeros(0), len(spans)
    segments = SegmentList(
        ifos=settings.ifos,
        flags=tuple(settings.strain.flag(ifo) for ifo in settings.ifos),
        start=np.array([start for start, _ in spans], dtype=np.float64),
        stop=np.array([stop for _, stop in spans], dtype=np.float64),
        role=np.full(count, 2, dtype=np.int8),
        science_ifo=none,
        science_start=none,
        science_stop=none,
        veto_name=[],
        veto_ifo=none,
        veto_start=none,
        veto_stop=none,
        event_label=[],
        event_time=none,
    )
    segments.write(folder / "segments.hdf5", make_provenance("test", settings))
    return folder, folder / "segments.hdf5"


def assert_tones(segment, tolerance=1e-4):
    """Check every sample of fetched strain against its sines, to a part of their size."""
    times = segment.gps_start + np.arange(segment.size) / segment.sample_rate
    for ifo, values in segment.strain.items():
        assert values.dtype == np.float32
        assert np.abs(values - tones(ifo, times)).max() < tolerance * 1.5e-21
