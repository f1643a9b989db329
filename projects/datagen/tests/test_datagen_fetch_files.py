import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h5py
import numpy as np
import pytest
from datagen.fetch import files
from datagen.fetch.fetch import fetch_strain
from datagen.fetch.files import FileFolder, list_files
from datagen.resampling import reach
from fetch_inputs import FILE_LENGTH, T0, assert_tones, make_archive, make_inputs, sampled_tones
from gwpy.timeseries import TimeSeries, TimeSeriesDict
from ledger import StrainSegment
from ledger.product import read_provenance

SPAN = (T0 + 20, T0 + 100)
CHANNELS = {ifo: f"{ifo}:DCS-CALIB_STRAIN" for ifo in ("H1", "L1")}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(files, "FIRST_WAIT", 0.01)


def write_frame(folder, ifo, start, duration=FILE_LENGTH, kind="HOFT_C00", scale=1.0, **extra):
    """A frame with the tones of a detector, and other channels of it beside."""
    folder.mkdir(parents=True, exist_ok=True)
    channels = TimeSeriesDict()
    for name, factor in {"DCS-CALIB_STRAIN": scale, **extra}.items():
        values = factor * sampled_tones(ifo, start, start + duration, 4096)
        name = f"{ifo}:{name}"
        channels[name] = TimeSeries(values, t0=start, sample_rate=4096, name=name, channel=name)
    path = folder / f"{ifo[0]}-{ifo}_{kind}-{start}-{duration}.gwf"
    channels.write(path)
    return path


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for ifo in ("H1", "L1"):
        for start in (T0, T0 + FILE_LENGTH):
            write_frame(folder / ifo / str(start), ifo, start)
    return folder


def fetched(tmp_path, source, spans=(SPAN,), **settings):
    inputs = make_inputs(tmp_path / "e", list(spans), provider="files", **settings)
    fetch_strain(*inputs, 0, tmp_path / "out.hdf5", source)
    return StrainSegment.read(tmp_path / "out.hdf5")


def test_frames_in_folders(frames, tmp_path):
    segment = fetched(tmp_path, frames)
    assert (segment.gps_start, segment.gps_stop) == SPAN
    assert segment.ifos == ("H1", "L1")
    assert_tones(segment)
    parents = read_provenance(tmp_path / "out.hdf5").parents
    assert set(parents) == {path.name for path in frames.rglob("*.gwf")} | {"segments"}


def test_gwosc_files_in_a_folder(tmp_path):
    make_archive(tmp_path / "files", num_files=2)
    assert_tones(fetched(tmp_path, tmp_path / "files"))


def test_frames_of_two_sites(tmp_path):
    """One file with both detectors, as HL-... frames have."""
    both = TimeSeriesDict()
    for ifo in ("H1", "L1"):
        name = f"{ifo}:STRAIN"
        values = sampled_tones(ifo, T0, T0 + FILE_LENGTH, 4096)
        both[name] = TimeSeries(values, t0=T0, sample_rate=4096, name=name, channel=name)
    both.write(tmp_path / f"HL-SIMULATED-{T0}-{FILE_LENGTH}.gwf")
    assert_tones(fetched(tmp_path, tmp_path, [(T0 + 5, T0 + 60)]))


def test_named_channel(tmp_path):
    """Of several channels that which is named, else the first with STRAIN in its name."""
    extra = {"A-STRAIN": 3.0, "Z-OTHER": 7.0}
    path = write_frame(tmp_path / "files", "H1", T0, **extra)
    options = {"ifos": ("H1",), "spans": [(T0 + 5, T0 + 60)]}
    named = {"H1": CHANNELS["H1"]}
    assert_tones(fetched(tmp_path / "a", path.parent, channels=named, **options))
    first = fetched(tmp_path / "b", path.parent, **options)
    with pytest.raises(AssertionError):
        assert_tones(first)
    with pytest.raises(ValueError, match="holds none of the channels H1:NONE"):
        fetched(tmp_path / "c", path.parent, channels={"H1": "H1:NONE"}, **options)


def test_strain_that_is_there_already(frames, tmp_path):
    """Our own files are files of strain too, if their names are such."""
    first = fetched(tmp_path / "a", frames)
    folder = tmp_path / "own"
    folder.mkdir()
    (tmp_path / "a" / "out.hdf5").rename(folder / f"HL-AFRAME-{SPAN[0]}-{SPAN[1] - SPAN[0]}.hdf5")
    again = fetched(tmp_path / "b", folder)
    for ifo, values in first.strain.items():
        np.testing.assert_array_equal(again.strain[ifo], values)


def test_rate_that_is_no_multiple(frames, tmp_path):
    with pytest.raises(ValueError, match="has 4096 Hz, expected 8192 Hz or a multiple"):
        fetched(tmp_path, frames, sample_rate=8192)


def test_rotating_folder(tmp_path):
    """Short frames of which old ones vanish while others are read, and the newest is empty."""
    starts = range(T0, T0 + 16, 4)
    paths = [write_frame(tmp_path / "shm", "H1", start, 4, "llhoft") for start in starts]
    (tmp_path / "shm" / f"H-H1_llhoft-{T0 + 16}-4.gwf").touch()
    (tmp_path / "shm" / f".H-H1_llhoft-{T0 + 20}-4.gwf.tmp").touch()
    assert {file.place for file in list_files(tmp_path / "shm")} == {str(p) for p in paths}
    folder = FileFolder(tmp_path / "shm", ["H1"], {}, T0 + 1, T0 + 15)
    strain = folder.stretches("H1")
    assert next(strain).gps_start == T0
    paths[1].unlink()
    with pytest.raises(ValueError, match=rf"{paths[1].name} vanished before it was read"):
        next(strain)
    # what came later is still to be had
    segment = fetched(tmp_path, tmp_path / "shm", [(T0 + 8, T0 + 16)], ifos=("H1",))
    assert segment.gps_start == T0 + 8 + reach(2) / 2048
    assert_tones(segment)


def test_file_that_is_still_being_written(frames, tmp_path, monkeypatch):
    """What is cut now may be whole at the second look; if not, there is a sentence."""
    whole = next(frames.rglob(f"H-*-{T0}-*.gwf")).read_bytes()
    path = tmp_path / f"H-H1_HOFT_C00-{T0}-{FILE_LENGTH}.gwf"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"{path.name} is not a frame file, or truncated"):
        fetched(tmp_path / "a", tmp_path, [(T0 + 5, T0 + 60)], ifos=("H1",))
    monkeypatch.setattr("datagen.retry.time.sleep", lambda _: path.write_bytes(whole))
    assert_tones(fetched(tmp_path / "b", tmp_path, [(T0 + 5, T0 + 60)], ifos=("H1",)))


@pytest.mark.parametrize("name", ["H-H1_HOFT_C00-{}-64.gwf", "L-L1_HOFT_C00-{}-64.gwf"])
def test_content_that_contradicts_its_name(name, tmp_path):
    ifo = name[2:4]
    start = T0 if ifo == "L1" else T0 + 4
    write_frame(tmp_path, "H1", T0).rename(tmp_path / name.format(start))
    with pytest.raises(ValueError, match="the content contradicts the name"):
        fetched(tmp_path / "e", tmp_path, [(T0 + 10, T0 + 50)], ifos=(ifo,))


def test_rate_that_contradicts_the_name(tmp_path):
    path = make_archive(tmp_path / "files", ["H1"], 1)[0]
    path.rename(path.with_name(path.name.replace("4KHZ", "16KHZ")))
    with pytest.raises(ValueError, match="holds 4096 Hz, its name says 16384 Hz"):
        fetched(tmp_path, tmp_path / "files", [(T0 + 10, T0 + 50)], ifos=("H1",))


def test_files_that_do_not_cover(frames, tmp_path):
    message = rf"H1_HOFT_C00 lacks \[{T0 + 2 * FILE_LENGTH}.0, {T0 + 200}.0\)"
    with pytest.raises(ValueError, match=message):
        fetched(tmp_path / "a", frames, [(T0 + 10, T0 + 200)])
    with pytest.raises(ValueError, match="no file of V1"):
        fetched(tmp_path / "b", frames, ifos=("H1", "V1"))
    with pytest.raises(FileNotFoundError, match="holds no strain file"):
        fetched(tmp_path / "c", tmp_path / "a")
    with pytest.raises(FileNotFoundError, match="no folder"):
        fetched(tmp_path / "d", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="--source is missing: give the folder"):
        fetched(tmp_path / "e", None)


def test_two_kinds_of_files(tmp_path):
    for kind in ("HOFT_C00", "HOFT_C01"):
        write_frame(tmp_path / "files", "H1", T0, kind=kind)
    with pytest.raises(ValueError, match=r"2 kinds of files of H1.*: H1_HOFT_C00, H1_HOFT_C01"):
        fetched(tmp_path, tmp_path / "files", [(T0 + 10, T0 + 50)], ifos=("H1",))


def test_gap_within_a_file(tmp_path):
    make_archive(tmp_path / "files", ["H1"], 1)
    path = next((tmp_path / "files").iterdir())
    with h5py.File(path, "r+") as file:
        file["strain/Strain"][4096 * 30] = np.nan
    with pytest.raises(ValueError, match=rf"NaN or infinite in \[{T0 + 30}.0, "):
        fetched(tmp_path, tmp_path / "files", [(T0 + 10, T0 + 50)], ifos=("H1",))


@pytest.fixture
def datafind(frames, monkeypatch):
    """A server that answers like GWDataFind, with the frames."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = self.path.split("?")[0].strip("/").split("/")
            files = [file for file in list_files(frames) if file.observatories in parts]
            if self.path.startswith("/api/version"):
                content = {"version": "1", "api_versions": ["v1", "ldr"]}
            elif parts[-1] in ("H.json", "L.json"):
                content = [f"{parts[-1][0]}1_HOFT_C00"]
            else:
                span = next(part for part in parts if "," in part)
                low, high = map(float, span.removesuffix(".json").split(","))
                content = [
                    f"file://localhost{file.place}"
                    for file in sorted(files, key=lambda file: file.gps_start)
                    if file.gps_start < high and file.gps_stop > low
                ]
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("GWDATAFIND_SERVER", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def observatory(tmp_path):
    def run(span=SPAN, **settings):
        inputs = make_inputs(tmp_path / "e", [span], provider="observatory", **settings)
        fetch_strain(*inputs, 0, tmp_path / "out.hdf5")
        return StrainSegment.read(tmp_path / "out.hdf5")

    return run


def test_observatory(datafind, observatory):
    segment = observatory(channels=CHANNELS)
    assert (segment.gps_start, segment.gps_stop) == SPAN
    assert_tones(segment)


def test_observatory_at_the_edge_of_what_it_has(datafind, observatory):
    segment = observatory((T0, T0 + 50), channels=CHANNELS)
    assert segment.gps_start == T0 + reach(2) / 2048
    assert segment.gps_stop == T0 + 50
    assert_tones(segment)


def test_observatory_without_the_channel(datafind, observatory):
    with pytest.raises(ValueError, match=r"no service gave H1:NO-STRAIN .*check the channel"):
        observatory(channels=CHANNELS | {"H1": "H1:NO-STRAIN"})


def test_observatory_without_a_service(observatory, monkeypatch):
    monkeypatch.delenv("GWDATAFIND_SERVER", raising=False)
    monkeypatch.setattr("datagen.fetch.observatory.importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"set GWDATAFIND_SERVER.*nds2-client.*htgettoken"):
        observatory(channels=CHANNELS)
    with pytest.raises(ValueError, match=r"strain.channels has none for L1"):
        observatory(channels={"H1": CHANNELS["H1"]})
