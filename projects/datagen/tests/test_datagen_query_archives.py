"""Segments and events from servers on loopback, asked by the real clients."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from datagen.query import query_segments
from datagen.query.archive import Run, public_events, public_flag, public_runs
from datagen.query.database import database_flag
from gwosc.api import v2
from gwosc_server import Faults, GwoscServer
from ledger import ROLES, SegmentList
from test_datagen_query import write_definer

# two runs without a gap between them, and one later
RUNS = [
    {"name": "O3a", "gps_start": 1000, "gps_end": 5000, "detectors": ["H1", "L1", "V1"]},
    {"name": "O3a_16KHZ", "gps_start": 1000, "gps_end": 5000, "detectors": ["H1", "L1", "V1"]},
    {"name": "O3b", "gps_start": 5000, "gps_end": 9000, "detectors": ["H1", "L1"]},
    {"name": "O4a", "gps_start": 20000, "gps_end": 30000, "detectors": ["H1", "L1"]},
]
SEGMENTS = {
    "H1_DATA": [[1200, 8000], [21000, 29000]],
    "H1_CBC_CAT1": [[1200, 2000], [2100, 8000], [21000, 29000]],
    "L1_DATA": [[100 * n, 100 * n + 90] for n in range(10, 50)] + [[5000, 8500], [20000, 30000]],
    "V1_DATA": [[1000, 5000]],
}
EVENTS = [
    {"name": "GW1", "gps": 1500.4, "catalog": "GWTC-1-confident", "version": 1},
    {"name": "GW1_002500", "gps": 1500.5, "catalog": "GWTC-2.1-confident", "version": 3},
    {"name": "GW2", "gps": 6000.0, "catalog": "GWTC-3-confident", "version": 1},
    {"name": "GW3", "gps": 6500.0, "catalog": "GWTC-3-marginal", "version": 1},
    {"name": "GW4", "gps": 15000.0, "catalog": "GWTC-3-confident", "version": 1},
]
SPANS = {"training": [1000, 4900], "validation": [4900, 6900], "search": [22000, 23000]}


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch):
    """The gwosc client remembers answers by address, and ports are used again."""
    monkeypatch.setattr(v2, "JSON_CACHE", {})


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Start an archive that the client finds; returns the server."""
    running = []

    def start(**faults):
        folder = tmp_path / "archive"
        folder.mkdir(exist_ok=True)
        for name, content in (("runs", RUNS), ("segments", SEGMENTS), ("events", EVENTS)):
            (folder / f"{name}.json").write_text(json.dumps(content))
        server = GwoscServer(folder, Faults(**faults))
        monkeypatch.setenv("GWOSC_SERVER_URL", server.__enter__())
        running.append(server)
        return server

    yield start
    for server in running:
        server.__exit__()


@pytest.fixture
def fetched(edited):
    def write(ifos=("H1", "L1"), **strain):
        content = {"source": "fetch", "minimum_length": dict.fromkeys(ROLES, 20.0)} | SPANS
        return edited(strain=content | strain, ifos=list(ifos), lowpass=200.0)

    return write


def run(experiment, output):
    query_segments(experiment, output)
    product = SegmentList.read(output / "segments.hdf5")
    return product, list(zip(product.start, product.stop, product.role, strict=True))


EXPECTED = [
    *((max(100 * n, 1200), 100 * n + 90, 0) for n in range(12, 49)),
    (4900, 4990, 1),
    (5000, 6900, 1),
    (22000, 23000, 2),
]


def test_coincident_segments(archive, fetched, tmp_path):
    server = archive()
    product, rows = run(fetched(), tmp_path / "out")
    assert rows == EXPECTED
    assert product.flags == ("H1_DATA", "L1_DATA")
    # once for each run and detector, and the 38 segments of L1 in O3a fill two pages
    assert server.served["/api/v2/timelines/H1_DATA/segments"] == 3
    assert server.served["/api/v2/timelines/L1_DATA/segments"] == 4
    assert product.science_start[product.science_ifo == 0].tolist() == [1200, 22000]


def test_segments_end_with_a_run(archive, fetched, tmp_path):
    """H1 has data on both sides of the edge at 5000 s."""
    archive()
    _, rows = run(fetched(ifos=("H1",)), tmp_path / "out")
    assert rows == [(1200, 4900, 0), (4900, 5000, 1), (5000, 6900, 1), (22000, 23000, 2)]


def test_other_flags(archive, fetched, tmp_path):
    archive()
    product, rows = run(fetched(ifos=("H1",), flags={"H1": "H1_CBC_CAT1"}), tmp_path / "out")
    assert rows[:2] == [(1200, 2000, 0), (2100, 4900, 0)]
    assert product.flags == ("H1_CBC_CAT1",)


def test_failures_that_pass(archive, fetched, tmp_path):
    """Two times 500 at each address, and slow answers."""
    server = archive(errors=2, delay=0.05)
    _, rows = run(fetched(events="gwosc"), tmp_path / "out")
    assert rows == EXPECTED
    assert server.served["/api/v2/runs"] == 3


def test_failures_that_stay(archive, fetched, tmp_path):
    server = archive(errors=1000, error_path="L1_DATA")
    with pytest.raises(
        ValueError, match=r"gave no flag L1_DATA in .* tried 10 times \(status 500"
    ):
        run(fetched(), tmp_path / "out")
    assert server.served["/api/v2/timelines/L1_DATA/segments"] == 10
    assert not (tmp_path / "out").exists()


def test_an_archive_too_slow(archive, monkeypatch):
    archive(delay=0.5)
    monkeypatch.setattr(v2, "TIMEOUT", 0.05)
    monkeypatch.setattr(v2, "RETRY_DEFAULT_WAIT_TIME", 0)
    with pytest.raises(ValueError, match=r"gave no list of observing runs, tried 10 times .*imed"):
        public_runs()


def test_no_archive(monkeypatch):
    waits = []
    monkeypatch.setenv("GWOSC_SERVER_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("datagen.retry.time.sleep", waits.append)
    with pytest.raises(ValueError, match="cannot be reached for list of observing runs"):
        public_runs()
    assert waits == sorted(waits)
    assert len(waits) >= 2


def test_unknown_flag(archive, fetched, tmp_path):
    archive()
    with pytest.raises(ValueError, match=r"has no flag H1_NONSENSE .*404.* check the flags"):
        run(fetched(flags={"H1": "H1_NONSENSE"}), tmp_path / "out")
    with pytest.raises(ValueError, match=r"is no flag of the public archive .* dqsegdb"):
        run(fetched(flags={"H1": "H1:DMT-ANALYSIS_READY:1"}), tmp_path / "out")


def test_detector_without_data(archive, fetched, tmp_path):
    server = archive()
    with pytest.raises(ValueError, match="nothing is left for search") as failed:
        run(fetched(ifos=("H1", "L1", "V1")), tmp_path / "out")
    assert "H1 1000 s, L1 1000 s, V1 0 s" in str(failed.value)
    # it is not asked for where the archive says that it has none
    assert server.served["/api/v2/timelines/V1_DATA/segments"] == 1


def test_span_outside_all_runs(archive, fetched, tmp_path):
    archive()
    with pytest.raises(ValueError, match=r"strain.search \[10000, 11000\) is in no public") as bad:
        run(fetched(search=[10000, 11000]), tmp_path / "out")
    assert "O3b [5000, 9000), O4a [20000, 30000)" in str(bad.value)


def test_runs(archive):
    archive()
    assert public_runs() == [
        Run("O3a", 1000, 5000, ("H1", "L1", "V1")),
        Run("O3b", 5000, 9000, ("H1", "L1")),
        Run("O4a", 20000, 30000, ("H1", "L1")),
    ]


def test_many_segments_come_by_pages(archive):
    archive()
    found = public_flag("L1_DATA", 1000, 5000)
    assert [list(pair) for pair in found] == SEGMENTS["L1_DATA"][:40]


def test_events(archive, fetched, tmp_path):
    archive()
    # the newest version of an event, no marginal ones
    assert public_events(1000, 9000) == [("GW1_002500", 1500.5), ("GW2", 6000.0)]
    product, rows = run(fetched(events="gwosc"), tmp_path / "out")
    assert product.event_label == ["GW1_002500", "GW2"]
    assert rows == EXPECTED


class Database:
    """A segment database of one flag, or one that refuses."""

    def __init__(self, status=200, failures=0):
        self.asked = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                address = urlsplit(self.path)
                owner.asked.append((address.path, parse_qs(address.query)))
                answer = 503 if len(owner.asked) <= failures else status
                if address.path != "/dq/H1/READY/1" and answer == 200:
                    answer = 404
                body = json.dumps(
                    {
                        "ifo": "H1", "name": "READY", "version": 1, "metadata": {},
                        "query_information": {},
                        "known": [[0, 30000]],
                        "active": [[1500, 4000], [3900, 6000], [21000, 25000]],
                    }
                )  # fmt: skip
                self.send_response(answer)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def database(monkeypatch, tmp_path):
    running = []
    # no credential of whoever runs the tests goes anywhere
    monkeypatch.setenv("IGWN_AUTH_UTILS_FIND_SCITOKEN", "0")
    monkeypatch.setenv("IGWN_AUTH_UTILS_FIND_X509", "0")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))

    def start(**settings):
        found = Database(**settings)
        running.append(found)
        monkeypatch.setenv("DEFAULT_SEGMENT_SERVER", found.address)
        return found

    yield start
    for found in running:
        found.close()


def test_flags_of_the_database(database, fetched, tmp_path):
    server = database()
    experiment = fetched(ifos=("H1",), segments="dqsegdb", flags={"H1": "H1:READY:1"})
    product, rows = run(experiment, tmp_path / "out")
    # observing runs are not known here
    assert rows == [(1500, 4900, 0), (4900, 6000, 1), (22000, 23000, 2)]
    assert product.flags == ("H1:READY:1",)
    ((_, query),) = server.asked
    assert (float(query["s"][0]), float(query["e"][0])) == (1000, 23000)


def test_vetoes_of_the_database(database, archive, fetched, tmp_path):
    archive()
    server = database()
    experiment = fetched(ifos=("H1",), vetoes={"categories": ["CAT2"], "definer": "d.xml"})
    write_definer(
        experiment / "d.xml",
        ("H1", "READY", 1, 2, 1600, 1700, -5, 7),
        ("H1", "OTHER", 1, 3, 0, 0, 0, 0),
    )
    product, rows = run(experiment, tmp_path / "out")
    assert rows[:2] == [(1200, 1595, 0), (1707, 4900, 0)]
    assert product.veto_name == ["CAT2 H1:READY:1"]
    # asked for as far as padding reaches
    assert float(server.asked[0][1]["s"][0]) == 993


@pytest.mark.parametrize("status", [401, 403])
def test_no_credential(database, status):
    server = database(status=status)
    with pytest.raises(ValueError, match=r"without a credential .* SciToken .* `htgettoken -a "):
        database_flag("H1:READY:1", 1000, 2000)
    assert len(server.asked) == 1


def test_database_without_the_flag(database):
    database()
    with pytest.raises(ValueError, match=r"has no flag H1:NONE:1 \(404"):
        database_flag("H1:NONE:1", 1000, 2000)
    with pytest.raises(ValueError, match="H1_DATA is no flag of the segment database"):
        database_flag("H1_DATA", 1000, 2000)


def test_database_that_fails_twice(database, monkeypatch):
    server = database(failures=2)
    monkeypatch.setattr("datagen.retry.time.sleep", lambda _: None)
    assert list(database_flag("H1:READY:1", 1000, 2000).active) == [(1500, 2000)]
    assert len(server.asked) == 3


def test_no_database(database, monkeypatch):
    monkeypatch.setenv("DEFAULT_SEGMENT_SERVER", "http://127.0.0.1:9")
    monkeypatch.setattr("datagen.retry.time.sleep", lambda _: None)
    with pytest.raises(ValueError, match="does not answer for flag H1:READY:1"):
        database_flag("H1:READY:1", 1000, 2000)


def test_database_needs_flags(fetched, tmp_path):
    with pytest.raises(ValueError, match=r"strain\.flags names none for L1"):
        run(fetched(segments="dqsegdb", flags={"H1": "H1:READY:1"}), tmp_path / "out")
