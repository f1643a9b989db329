"""Fetching by GWDataFind, from the server of the observatories and from a small one like it."""

import json
import logging
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from cleaning import Fetch, load_cleaning_experiment
from cleaning.cleaner import HISTORY, LATENCY
from conftest import PROBLEM, RATES, START
from deepclean.fetch import services
from deepclean.fetch.frames import DONE, PIECES, fetch_frames
from deepclean.fetch.services import DataFind, Nds, find_service
from deepclean.fetch.verbs import fetch
from deepclean.frames import (
    MissingChannelError,
    frame_name,
    list_frames,
    read_channels,
    write_frame,
)
from deepclean.verbs import clean, collect
from gwpy.timeseries import TimeSeries, TimeSeriesDict
from ledger import WitnessSet

RATE = 4096
STATE = "H1:STATE"
TYPES = {"strain": "H1_HOFT_C00", "witness": "H1_R"}
# seconds of each type that the observatory has, counted from START, and the length of its files
THERE = {"H1_HOFT_C00": ([(-32, 64)], 16), "H1_R": ([(-32, 20), (24, 64)], 4)}
SPAN = (START - HISTORY, START + 40 + LATENCY)

# gwdatafind-server as it is installed, without its scheduler of updates
SERVER = """
import sys
from gwdatafind_server.app import GWDataFindApp
from werkzeug.serving import make_server

source = {"type": "diskcache", "path": sys.argv[1], "interval": 3600}
config = {
    "api": {"versions": ["v1", "ldr"]},
    "auth": {"authorization": False},
    "input": {"source": [source]},
}
server = make_server("127.0.0.1", 0, GWDataFindApp("gwdatafind_server", config))
print(server.server_port, flush=True)
server.serve_forever()
"""


def write_archive(folder, deployment):
    """Files as an observatory keeps them: the state vector beside the strain, witnesses apart."""
    problem, plant = deployment.problem, deployment.plant
    for kind, (spans, length) in THERE.items():
        (folder / kind).mkdir(parents=True)
        for first, last in spans:
            for begin in range(START + first, START + last, length):
                made = plant(begin, begin + length)
                if kind == "H1_R":
                    channels = {name: made.witnesses[name] for name in RATES}
                else:
                    state = np.full(16 * length, 3, dtype=np.int32)
                    channels = {problem.strain_channel: made.strain, STATE: state}
                path = folder / kind / frame_name("H", kind, begin, length)
                write_frame(path, begin, length, channels)


def start_real(folder):
    """The server that the observatories run; its process, or None if it is not installed."""
    python = os.environ.get("AFRAME_DATAFIND_PYTHON", sys.executable)
    lines = ["# version: 0x0101"]
    for kind, (spans, length) in THERE.items():
        times = " ".join(f"{START + first} {START + last}" for first, last in spans)
        lines.append(f"{folder / kind},H,{kind},.gwf,1,{length} 1 1 {{{times}}}")
    cache = folder / "cache.txt"
    cache.write_text("\n".join(lines) + "\n")
    process = subprocess.Popen(
        [python, "-c", SERVER, str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    port = process.stdout.readline().strip()
    if not port:
        process.wait()
        return None
    return process, f"http://127.0.0.1:{port}"


class Small(BaseHTTPRequestHandler):
    """The two questions of GWDataFind's v1 that are asked: types, and files of a span."""

    folder = None

    def do_GET(self):
        words = self.path.removeprefix("/api/v1/gwf/").removesuffix(".json").split("/")
        if words[0] not in ("H",):
            self.send_error(400)
            return
        if len(words) == 1:
            answer = sorted(THERE)
        else:
            start, stop = (int(float(edge)) for edge in words[2].split(","))
            found = [n for n in list_frames(self.folder / words[1]) if words[1] in THERE]
            answer = [
                f"file://localhost{name.path}"
                for name in found
                if name.start < stop and start < name.stop
            ]
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Not to the terminal."""


BOTH = pytest.mark.parametrize("observatory", ["real", "small"], indirect=True)


@pytest.fixture
def observatory(request, deployment, monkeypatch):
    """An archive and the server that knows it, the small one if a test does not say which."""
    server = getattr(request, "param", "small")
    folder = deployment.folder / "archive"
    write_archive(folder, deployment)
    problem = PROBLEM | {"state": "STATE"}
    deployment.problem_file.write_text(yaml.safe_dump(problem))
    content = {
        "name": "fetched",
        "fetch": TYPES,
        "training": {"start": START + 1000, "duration": 20},
        "evaluation": {"start": START, "duration": 40},
    }
    (deployment.folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    if server == "real":
        found = start_real(folder)
        if found is None:
            pytest.skip(
                "gwdatafind-server is not installed: install it here, or name a Python that has "
                "it by AFRAME_DATAFIND_PYTHON"
            )
        process, host = found
        end = process.kill
    else:
        handler = type("Handler", (Small,), {"folder": folder})
        small = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=small.serve_forever)
        thread.start()
        host = f"http://127.0.0.1:{small.server_port}"

        def end():
            small.shutdown()
            thread.join()
            small.server_close()

    monkeypatch.setenv("GWDATAFIND_SERVER", host)
    settings = load_cleaning_experiment(deployment.folder)
    yield SimpleNamespace(
        archive=folder,
        folder=deployment.folder,
        problem=settings.load_problem(),
        fetch=settings.fetch,
        host=host,
    )
    end()
    if server == "real":
        process.wait()
        process.stdout.close()


def read(folder, kind, channel):
    """Samples of each second of a channel, counted from START."""
    found = {}
    for name in list_frames(folder / kind):
        series = read_channels(name.path, [channel])[channel]
        assert len(series.values) == series.rate * name.duration
        for i in range(name.duration):
            place = slice(i * series.rate, (i + 1) * series.rate)
            found[name.start + i - START] = series.values[place]
    return found


@BOTH
def test_what_is_fetched_is_what_was_there(observatory, caplog):
    output = observatory.folder / "frames"
    with caplog.at_level(logging.WARNING):
        fetch(observatory.folder, output, frame_length=16)
    assert "witness: nothing of [1000000020, 1000000024)" in caplog.text
    first, last = SPAN[0] - START, SPAN[1] - START
    strain = read(output, "strain", observatory.problem.strain_channel)
    assert sorted(strain) == list(range(first, last))
    gap = set(range(20, 24))
    for name in (*RATES, STATE):
        assert sorted(read(output, "witness", name)) == sorted(set(strain) - gap)
    kept = {observatory.problem.strain_channel: "H1_HOFT_C00", STATE: "H1_HOFT_C00"}
    kept |= dict.fromkeys(RATES, "H1_R")
    for name, kind in kept.items():
        expected = read(observatory.archive, kind, name)
        found = strain if name not in {*RATES, STATE} else read(output, "witness", name)
        for second, values in found.items():
            np.testing.assert_array_equal(values, expected[second])
            assert values.dtype == expected[second].dtype
    done = json.loads((output / DONE).read_text())
    assert done["missing"] == {"strain": [], "witness": [[START + 20, START + 24]]}
    assert len(list_frames(output / "strain")) == 4


def test_the_rest_runs_on_what_was_fetched(observatory, deployment):
    """As on frames that were there: the same cleaned samples, the same data to learn from."""
    folder = observatory.folder
    fetch(folder, folder / "fetched", format="hdf5")
    deployment.publish()
    # the same as frames of a second each, as they would come
    for kind, kept in (("strain", "H1_HOFT_C00"), ("witness", "H1_R")):
        names = RATES if kind == "witness" else [observatory.problem.strain_channel]
        found = {name: read(observatory.archive, kept, name) for name in names}
        for second in next(iter(found.values())):
            values = {name: found[name][second] for name in names}
            if kind == "witness":
                values[STATE] = np.full(16, 3, dtype=np.int32)
            start = START + second
            write_frame(deployment.frame(kind, start), start, 1, values)
    channel = f"{observatory.problem.strain_channel}_DEEPCLEAN_PRODUCTION"
    found = {}
    for name in ("fetched", "frames"):
        clean(folder, folder / name, deployment.store, folder / f"{name}-cleaned")
        paths = sorted((folder / f"{name}-cleaned").iterdir())
        found[name] = [read_channels(path, [channel])[channel].values for path in paths]
    for one, two in zip(found["fetched"], found["frames"], strict=True):
        np.testing.assert_array_equal(one, two)
    changed = yaml.safe_load((folder / "experiment.yaml").read_text())
    changed["training"], changed["evaluation"] = changed["evaluation"], changed["training"]
    (folder / "experiment.yaml").write_text(yaml.safe_dump(changed))
    collect(folder, folder / "fetched", folder / "witnesses.hdf5")
    usable = WitnessSet.read(folder / "witnesses.hdf5").usable
    assert np.flatnonzero(usable == 0).tolist() == list(range(19, 25))


@BOTH
def test_an_interrupted_fetch_goes_on_where_it_was(observatory):
    output = observatory.folder / "frames"
    service = find_service(observatory.problem, observatory.fetch)
    asked = []

    class Counting:
        def require(self, *arguments):
            service.require(*arguments)

        def seconds(self, kind, channels, start, stop):
            asked.append((kind, start - START))
            if len(asked) == 6:
                raise KeyboardInterrupt
            return service.seconds(kind, channels, start, stop)

    given = (observatory.problem, observatory.fetch, Counting(), output, *SPAN, 16)
    with pytest.raises(KeyboardInterrupt):
        fetch_frames(*given)
    assert not (output / DONE).exists()
    # the second piece has its strain and is not done
    kept = {p: p.stat().st_mtime_ns for p in (output / "witness").iterdir()}
    before = len(asked)
    result = fetch_frames(*given)
    assert asked[before:][0] == ("strain", 0)
    for path, changed in kept.items():
        assert path.stat().st_mtime_ns == changed
    assert result.missing == {"strain": [], "witness": [(START + 20, START + 24)]}
    number = len(asked)
    fetch_frames(*given)
    assert len(asked) == number
    other = (observatory.problem, observatory.fetch, Counting(), output, *SPAN, 32)
    with pytest.raises(ValueError, match="fetched with another frame_length"):
        fetch_frames(*other)


def test_a_broken_file_is_left_out(observatory, caplog):
    path = observatory.archive / "H1_R" / frame_name("H", "H1_R", START + 8, 4)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    output = observatory.folder / "frames"
    fetch(observatory.folder, output)
    assert f"left out: {path}" in caplog.text
    done = json.loads((output / DONE).read_text())
    expected = [[START + 8, START + 12], [START + 20, START + 24]]
    assert done["missing"]["witness"] == expected


def test_what_is_missing_is_named_before_anything_is_fetched(observatory):
    output = observatory.folder / "frames"
    layer = PROBLEM["layers"][0]
    layer = layer | {"witnesses": [*layer["witnesses"], "YAW_DQ"]}
    changed = PROBLEM | {"state": "STATE", "layers": [layer]}
    (observatory.folder / "problem.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(MissingChannelError, match="H1:YAW_DQ"):
        fetch(observatory.folder, output)
    assert not list((output / "strain").iterdir())
    types = Fetch(strain="H1_HOFT_C00", witness="H1_RAW")
    with pytest.raises(ValueError, match="no frame type H1_RAW of site H, it has H1_HOFT_C00, H1"):
        find_service(observatory.problem, types)
    with pytest.raises(ValueError, match="give strain and witness"):
        find_service(observatory.problem, Fetch())


def test_a_time_without_data_is_an_error(observatory):
    service = find_service(observatory.problem, observatory.fetch)
    output = observatory.folder / "frames"
    with pytest.raises(ValueError, match="no second of"):
        fetch_frames(
            observatory.problem,
            observatory.fetch,
            service,
            output,
            START + 100,
            START + 110,
        )
    assert (output / PIECES).exists()
    assert not (output / DONE).exists()


@pytest.mark.parametrize("observatory", ["real"], indirect=True)
def test_files_that_cannot_be_reached_are_named(observatory):
    path = observatory.archive / "H1_R" / frame_name("H", "H1_R", START, 4)
    path.unlink()
    with pytest.raises(ValueError, match=f"{path.name}, which is not there: run where"):
        fetch(observatory.folder, observatory.folder / "frames")


def test_a_server_that_is_away_is_named():
    away = DataFind("http://127.0.0.1:9", "H", TYPES)
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9 gave no answer"):
        away.require_types()
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9 gave no answer"):
        away.seconds("strain", ["H1:A"], START, START + 1)


def test_nds_gives_what_is_finite(monkeypatch):
    """Its client is no package of the index: what gwpy would give stands in for it."""
    asked = []

    def fetched(channels, start, stop, **options):
        asked.append(options)
        values = np.arange(16.0 * (stop - start))
        values[20] = np.nan
        return TimeSeriesDict(
            {name: TimeSeries(values, t0=start, sample_rate=16, name=name) for name in channels}
        )

    monkeypatch.setattr(services.TimeSeriesDict, "fetch", fetched)
    found = Nds("server").seconds("witness", ["H1:A", "H1:B"], START, START + 3)
    assert sorted(found) == [START, START + 2]
    np.testing.assert_array_equal(found[START + 2]["H1:B"], np.arange(32.0, 48.0))
    assert asked[0]["host"] == "server"
    assert np.isnan(asked[0]["pad"])

    def failing(*_, **__):
        raise RuntimeError("Request SASL authentication protocol: no credential")

    monkeypatch.setattr(services.TimeSeriesDict, "fetch", failing)
    with pytest.raises(ValueError, match="htgettoken"):
        Nds().seconds("witness", ["H1:A"], START, START + 3)


def test_without_a_service_it_is_said_how_to_get_one(deployment, monkeypatch):
    monkeypatch.delenv("GWDATAFIND_SERVER", raising=False)
    monkeypatch.setattr(services.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="set GWDATAFIND_SERVER"):
        find_service(deployment.problem, Fetch())
    monkeypatch.setattr(services.importlib.util, "find_spec", lambda name: name)
    assert find_service(deployment.problem, Fetch()) == Nds()


def test_an_experiment_that_fetches_nothing_says_so(deployment):
    content = {
        "name": "small",
        "training": {"start": START + 1000, "duration": 20},
        "evaluation": {"start": START, "duration": 40},
    }
    path = deployment.folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="names nothing to fetch"):
        fetch(deployment.folder, deployment.folder / "frames")
    path.write_text(yaml.safe_dump(content | {"fetch": TYPES, "simulation": "simulation.yaml"}))
    with pytest.raises(ValueError, match="exclude each other"):
        load_cleaning_experiment(deployment.folder)
