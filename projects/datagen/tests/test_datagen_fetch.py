import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from datagen.fetch import downloads
from datagen.fetch.fetch import fetch_strain
from datagen.fetch.gwosc import release_rate
from datagen.resampling import reach
from fetch_inputs import FILE_LENGTH, T0, assert_tones, make_archive, make_inputs
from gwosc_server import Faults, GwoscServer
from gwpy.timeseries import TimeSeries
from ledger import StrainSegment
from ledger.product import read_provenance
from make_gwosc_files import file_name
from runtime.cli import run_or_explain
from scipy import signal as filters

SPAN = (T0 + 20, T0 + 150)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    make_archive(folder)
    return folder


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(downloads, "FIRST_WAIT", 0.01)
    monkeypatch.delenv("AFRAME_CACHE", raising=False)


@pytest.fixture
def served(monkeypatch):
    """Start a server for which the clients will ask."""
    running = []

    def start(folder, **faults):
        server = GwoscServer(folder, Faults(**faults))
        monkeypatch.setenv("GWOSC_SERVER_URL", server.__enter__())
        running.append(server)
        return server

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def explains(capsys):
    """Run fetch as the command line does and return the sentence with which it ends."""

    def run(*args):
        with pytest.raises(SystemExit) as stopped:
            run_or_explain("datagen fetch", lambda: fetch_strain(*args))
        assert stopped.value.code == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    return run


def test_strain_across_files(archive, served, tmp_path):
    server = served(archive)
    experiment, segments = make_inputs(tmp_path / "e", [SPAN])
    fetch_strain(experiment, segments, 0, tmp_path / "out.hdf5")
    segment = StrainSegment.read(tmp_path / "out.hdf5", ("H1", "L1"))
    assert (segment.gps_start, segment.gps_stop, segment.sample_rate) == (*SPAN, 2048)
    assert_tones(segment)
    assert set(server.completed.values()) == {1}
    # three files of each detector, named with their digests; and nothing left behind
    parents = read_provenance(tmp_path / "out.hdf5").parents
    assert set(parents) == {*server.completed, "segments"}
    assert len(server.completed) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"e", "out.hdf5"}


def test_a_piece_that_is_one_file(archive, served, tmp_path):
    """Its neighbours are fetched for the anti-alias filter alone."""
    server = served(archive)
    span = (T0 + FILE_LENGTH, T0 + 2 * FILE_LENGTH)
    inputs = make_inputs(tmp_path / "e", [span], ifos=("H1",))
    fetch_strain(*inputs, 0, tmp_path / "out.hdf5")
    segment = StrainSegment.read(tmp_path / "out.hdf5")
    assert (segment.gps_start, segment.gps_stop) == span
    assert_tones(segment)
    assert len(server.completed) == 3


def test_same_bytes_again(archive, served, tmp_path):
    served(archive)
    experiment, segments = make_inputs(tmp_path / "e", [SPAN])
    for name in ("a", "b"):
        fetch_strain(experiment, segments, 0, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_pieces_join_without_a_seam(archive, served, tmp_path):
    served(archive)
    whole = make_inputs(tmp_path / "whole", [SPAN])
    cut = make_inputs(tmp_path / "cut", [SPAN], file_length=50)
    fetch_strain(*whole, 0, tmp_path / "whole.hdf5")
    parts = []
    for branch in range(3):
        fetch_strain(*cut, branch, tmp_path / f"{branch}.hdf5")
        parts.append(StrainSegment.read(tmp_path / f"{branch}.hdf5"))
    for left, right in itertools.pairwise(parts):
        assert left.gps_stop == right.gps_start
    for ifo, values in StrainSegment.read(tmp_path / "whole.hdf5").strain.items():
        joined = np.concatenate([part.strain[ifo] for part in parts])
        np.testing.assert_allclose(joined, values, rtol=0, atol=1e-27)


def test_ends_where_strain_ends_are_cut(served, tmp_path):
    """H1 is NaN outside its segment: both detectors lose there what the filter cannot make."""
    science = {"H1": [(T0 + 10, T0 + 60)]}
    make_archive(tmp_path / "files", num_files=1, segments=science)
    served(tmp_path / "files")
    inputs = make_inputs(tmp_path / "e", [(T0 + 10, T0 + 50)])
    fetch_strain(*inputs, 0, tmp_path / "out.hdf5")
    segment = StrainSegment.read(tmp_path / "out.hdf5")
    assert segment.gps_start == T0 + 10 + reach(2) / 2048
    assert segment.gps_stop == T0 + 50
    assert segment.ifos == ("H1", "L1")
    assert_tones(segment)


def test_segments_between_seconds(archive, served, tmp_path):
    served(archive)
    inputs = make_inputs(tmp_path / "e", [(T0 + 20.1234567, T0 + 40.7654321)])
    fetch_strain(*inputs, 0, tmp_path / "out.hdf5")
    segment = StrainSegment.read(tmp_path / "out.hdf5")
    assert segment.gps_start == math.ceil((T0 + 20.1234567) * 2048) / 2048
    assert segment.gps_stop == math.floor((T0 + 40.7654321) * 2048) / 2048
    assert_tones(segment)


@pytest.mark.parametrize("ifos", [("V1",), ("H1", "L1", "V1", "K1")])
def test_one_and_four_detectors(ifos, served, tmp_path):
    make_archive(tmp_path / "files", ifos=ifos, num_files=1)
    served(tmp_path / "files")
    inputs = make_inputs(tmp_path / "e", [(T0 + 5, T0 + 15)], ifos=ifos, sample_rate=1024)
    fetch_strain(*inputs, 0, tmp_path / "out.hdf5")
    segment = StrainSegment.read(tmp_path / "out.hdf5", ifos)
    assert segment.ifos == ifos
    assert_tones(segment)


def test_rate_of_the_release(served, tmp_path):
    """4096 Hz stay as they are, to the last bit of float32; 8192 Hz come from 16 kHz."""
    for rate in (4096, 16384):
        make_archive(tmp_path / "files", ifos=("H1",), num_files=1, sample_rate=rate)
    server = served(tmp_path / "files")
    for rate in (4096, 8192):
        inputs = make_inputs(tmp_path / f"{rate}", [(T0 + 5, T0 + 9)], ("H1",), rate)
        fetch_strain(*inputs, 0, tmp_path / f"{rate}.hdf5")
        assert_tones(StrainSegment.read(tmp_path / f"{rate}.hdf5"))
    names = [file_name("H1", "O3a", rate, T0, FILE_LENGTH) for rate in (4096, 16384)]
    assert dict(server.completed) == dict.fromkeys(names, 1)
    with h5py.File(tmp_path / "files" / names[0]) as file:
        original = file["strain/Strain"][5 * 4096 : 9 * 4096]
    values = StrainSegment.read(tmp_path / "4096.hdf5").strain["H1"]
    np.testing.assert_array_equal(values, original.astype(np.float32))
    with pytest.raises(ValueError, match="exceeds 16384 Hz"):
        release_rate(32768)


def test_slow_server(archive, served, tmp_path):
    served(archive, delay=0.2)
    inputs = make_inputs(tmp_path / "e", [SPAN])
    fetch_strain(*inputs, 0, tmp_path / "out.hdf5")
    assert_tones(StrainSegment.read(tmp_path / "out.hdf5"))


def test_passing_errors_and_cut_bodies_are_tried_again(archive, served, tmp_path):
    server = served(archive, errors=2, truncations=2)
    inputs = make_inputs(tmp_path / "e", [SPAN])
    fetch_strain(*inputs, 0, tmp_path / "out.hdf5")
    assert_tones(StrainSegment.read(tmp_path / "out.hdf5"))
    files = {path: times for path, times in server.served.items() if path.endswith(".hdf5")}
    assert len(files) == 6
    # twice 500, twice a part, then the file
    assert set(files.values()) == {5}
    assert set(server.completed.values()) == {1}


@pytest.mark.parametrize("fault", ["errors", "truncations"])
def test_lasting_faults_end_with_a_sentence(fault, archive, served, explains, tmp_path):
    server = served(archive, **{fault: math.inf}, error_path=r"\.hdf5")
    inputs = make_inputs(tmp_path / "e", [SPAN])
    message = explains(*inputs, 0, tmp_path / "out.hdf5")
    assert f"could not be downloaded in {downloads.ATTEMPTS} attempts" in message
    assert "H-H1_GWOSC_O3a_4KHZ_R1" in message
    assert {"errors": "answered 500", "truncations": "bytes"}[fault] in message
    assert not server.completed
    # neither an output nor a part of a download
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert all(name in ("experiment.yaml", "segments.hdf5") or "lock" in name for name in left)


def test_archive_that_always_fails(archive, served, explains, tmp_path):
    served(archive, errors=math.inf)
    inputs = make_inputs(tmp_path / "e", [SPAN])
    message = explains(*inputs, 0, tmp_path / "out.hdf5")
    assert "gave no list of runs, tried 10 times (status 500)" in message


def test_no_archive(explains, tmp_path, monkeypatch):
    monkeypatch.setenv("GWOSC_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    inputs = make_inputs(tmp_path / "e", [SPAN])
    assert "check the network and GWOSC_SERVER_URL" in explains(*inputs, 0, tmp_path / "out.hdf5")


def test_missing_detector(archive, served, explains, tmp_path):
    server = served(archive, missing=("L1",))
    inputs = make_inputs(tmp_path / "e", [SPAN])
    message = explains(*inputs, 0, tmp_path / "out.hdf5")
    assert "has no 4 kHz strain of L1 throughout" in message
    assert "no release has L1" in message
    # found out before a file was downloaded
    assert not server.completed


def test_missing_file(served, explains, tmp_path):
    files = make_archive(tmp_path / "files")
    files[1].unlink()
    served(tmp_path / "files")
    inputs = make_inputs(tmp_path / "e", [SPAN])
    message = explains(*inputs, 0, tmp_path / "out.hdf5")
    assert f"O3a lacks [{T0 + FILE_LENGTH}, {T0 + 2 * FILE_LENGTH})" in message


@pytest.mark.parametrize("other", [("H1", 1), ("L1", 0)])
def test_content_that_contradicts_its_name(other, archive, served, explains, tmp_path):
    name = file_name("H1", "O3a", 4096, T0, FILE_LENGTH)
    ifo, number = other
    content = file_name(ifo, "O3a", 4096, T0 + number * FILE_LENGTH, FILE_LENGTH)
    served(archive, swapped={name: content})
    inputs = make_inputs(tmp_path / "e", [SPAN])
    message = explains(*inputs, 0, tmp_path / "out.hdf5")
    assert name in message
    assert "the content contradicts the name" in message
    assert not (tmp_path / "out.hdf5").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"strain/Strain": (slice(4096 * 30, 4096 * 30 + 5), np.nan)}, "NaN or infinite"),
        ({"strain/Strain": (4096 * 30, np.inf)}, "NaN or infinite"),
        ({"strain/Strain": (slice(4096 * 30, 4096 * 30 + 300), 0.0)}, "constant (0)"),
        ({"quality/simple/DQmask": (30, 126)}, "bit mask says that there is no data"),
    ],
)
def test_strain_that_is_unfit(change, told, served, explains, tmp_path):
    """Told with file, time and advice; the segments say that it is good."""
    files = make_archive(tmp_path / "files", num_files=1)
    with h5py.File(files[0], "r+") as file:
        for dataset, (place, value) in change.items():
            file[dataset][place] = value
    (tmp_path / "files" / "segments.json").write_text(
        json.dumps({f"{ifo}_DATA": [[T0, T0 + FILE_LENGTH]] for ifo in ("H1", "L1")})
    )
    served(tmp_path / "files")
    bad = make_inputs(tmp_path / "bad", [(T0 + 20, T0 + 40)])
    message = explains(*bad, 0, tmp_path / "out.hdf5")
    assert told in message
    assert f"in [{T0 + 30}.0" in message
    assert files[0].name in message
    assert "query the segments again" in message
    # the same file is good elsewhere
    good = make_inputs(tmp_path / "good", [(T0 + 32, T0 + 50)])
    fetch_strain(*good, 0, tmp_path / "out.hdf5")


def test_killed_and_run_again(served, tmp_path):
    make_archive(tmp_path / "files", num_files=5)
    server = served(tmp_path / "files", delay=0.5)
    inputs = make_inputs(tmp_path / "e", [(T0 + 10, T0 + 5 * FILE_LENGTH - 10)])
    output = tmp_path / "out.hdf5"
    code = (
        "import sys; from datagen.fetch.fetch import fetch_strain; "
        "fetch_strain(*sys.argv[1:3], 0, sys.argv[3])"
    )
    worker = subprocess.Popen([sys.executable, "-c", code, *map(str, inputs), str(output)])
    folder = tmp_path / ".out.hdf5.downloads"
    until = time.monotonic() + 60
    while not (complete := list(folder.glob("*.hdf5"))) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert complete
    assert not output.exists()
    complete = list(folder.glob("*.hdf5"))
    before = dict(server.served)
    fetch_strain(*inputs, 0, output)
    assert_tones(StrainSegment.read(output))
    asked = {p.rsplit("/", 1)[-1] for p, n in server.served.items() if n > before.get(p, 0)}
    assert not asked & {path.name for path in complete}
    assert len({name for name in asked if name.endswith(".hdf5")}) == 10 - len(complete)
    assert not folder.exists()


def test_cache_for_all_runs(archive, served, tmp_path, monkeypatch):
    server = served(archive)
    monkeypatch.setenv("AFRAME_CACHE", str(tmp_path / "cache"))
    inputs = make_inputs(tmp_path / "e", [SPAN], file_length=65)
    for branch in range(2):
        fetch_strain(*inputs, branch, tmp_path / f"{branch}.hdf5")
    assert len(server.completed) == 6
    assert set(server.completed.values()) == {1}
    assert len(list((tmp_path / "cache").glob("*.hdf5"))) == 6


def test_other_mistakes(archive, explains, tmp_path):
    experiment, segments = make_inputs(tmp_path / "e", [SPAN])
    out = tmp_path / "out.hdf5"
    assert "strain files 0 to 0" in explains(experiment, segments, 1, out)
    assert "--source is of no use" in explains(experiment, segments, 0, out, tmp_path)
    assert "segments.hdf5" in explains(experiment, tmp_path / "segments.hdf5", 0, out)
    other, _ = make_inputs(tmp_path / "other", [SPAN], ifos=("H1", "V1"))
    assert "V1" in explains(other, segments, 0, out)


@pytest.mark.parametrize(("rate", "kind"), [(2048, "4KHZ_R2"), (8192, "16KHZ_R1")])
def test_gw150914(rate, kind, real_data, served, tmp_path):
    """Real files, served as they are, against gwpy's own reading and another resampling."""
    start, stop = 1126259446, 1126259478
    files = tmp_path / "files"
    files.mkdir()
    for path in (real_data / "gwosc").glob(f"*{start}-32.hdf5"):
        (files / path.name).symlink_to(path)
    event = {"name": "GW150914", "gps": 1126259462.4, "catalog": "GWTC-1-confident", "version": 3}
    (files / "events.json").write_text(json.dumps([event]))
    served(files)
    inputs = make_inputs(tmp_path / "e", [(start, stop)], sample_rate=rate)
    fetch_strain(*inputs, 0, tmp_path / "out.hdf5")
    segment = StrainSegment.read(tmp_path / "out.hdf5")
    lost = reach(int(kind.split("KHZ")[0]) * 1024 // rate)
    assert segment.gps_start == start + lost / rate
    path = files / f"H-H1_GWOSC_{kind}-{start}-32.hdf5"
    original = TimeSeries.read(path, format="hdf5.gwosc")
    # the Fourier method: exact within the band, for data that are tapered to their ends
    tapered = original.value * filters.windows.tukey(len(original), 0.1)
    fourier = filters.resample(tapered, 32 * rate)
    # gwpy's filter is shorter and not flat
    for other, highest, tolerance in (
        (fourier, 0.82 * rate / 2, 1e-3),
        (original.resample(rate).value, 300, 1e-2),
    ):
        ours = segment.strain["H1"][4 * rate - lost : 28 * rate - lost].astype(np.float64)
        theirs = other[4 * rate : 28 * rate]
        frequency, difference = filters.welch(ours - theirs, rate, nperseg=2 * rate)
        _, size = filters.welch(theirs, rate, nperseg=2 * rate)
        band = (frequency >= 20) & (frequency <= highest)
        assert np.sqrt(difference[band] / size[band]).max() < tolerance


def test_float32_is_fine_enough(real_data, tmp_path):
    """The noise that rounding adds, against real strain: the figure in the README."""
    from datagen.resampling import decimate

    worst = 0.0
    for path in sorted((real_data / "gwosc").glob("*.hdf5")):
        series = TimeSeries.read(path, format="hdf5.gwosc")
        for rate in (1024, 4096):
            exact = decimate(series.value, int(series.sample_rate.value) // rate)
            error = exact.astype(np.float32).astype(np.float64) - exact
            frequency, noise = filters.welch(error, rate, nperseg=4 * rate, average="median")
            _, strain = filters.welch(exact, rate, nperseg=4 * rate, average="median")
            band = (frequency >= 20) & (frequency <= min(1000, 0.4 * rate))
            worst = max(worst, (noise / strain)[band].max())
    assert 1e-8 < worst < 5e-7
