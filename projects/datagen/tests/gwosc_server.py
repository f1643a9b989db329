"""A server on loopback that answers like GWOSC, from a folder of its files.

It speaks the parts of GWOSC's API (version 2, and of version 1 the event lists) that the clients
`gwosc` and `gwpy` ask for, with the real page size, and hands out the files. In the folder lie

- strain files with names as on GWOSC. A release tag in the name (`H-H1_GWOSC_O3a_4KHZ_R1-...`)
  puts a file into that run; a file without one belongs to the events in its span;
- `runs.json`, optional: `[{"name": "O3a", "gps_start": ..., "gps_end": ..., "detectors": [...]}]`;
  else runs are what the names say;
- `segments.json`, optional: `{"H1_DATA": [[start, stop], ...]}`; else from the files' bit masks;
- `events.json`, optional: `[{"name": "GW150914", "gps": 1126259462.4, "catalog":
  "GWTC-1-confident", "version": 3, ...}]`, with any parameters besides.

By hand: `python gwosc_server.py --folder DIR`; the first line it prints is its address. Clients
find it by the environment variable GWOSC_SERVER_URL, which `gwosc` reads when it is imported;
within one process give them `host=address`.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import h5py
import numpy as np

PAGE_SIZE = 20
_NAME = re.compile(
    r"[A-Z]+-(?P<ifo>[A-Z]\d)_(?:GWOSC|LOSC)_(?:(?P<run>O\d\w*?)_)?(?P<rate>4|16)(?:KHZ)?"
    r"(?:_[RV]\d+)?-(?P<start>\d+)-(?P<duration>\d+)\.(?P<kind>hdf5|gwf)"
)


@dataclass
class Faults:
    """What goes wrong.

    Attributes:
        delay: Time before each answer [s].
        errors: How often each address answers 500 before it answers well; `math.inf` for ever.
        error_path: Which addresses answer 500: a regular expression, searched for.
        truncations: How often the body of each strain file ends in the middle.
        missing: Detectors whose strain files are not there.
        swapped: Name of another file whose content is sent under a file's name.
    """

    delay: float = 0.0
    errors: float = 0
    error_path: str = ""
    truncations: float = 0
    missing: tuple[str, ...] = ()
    swapped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StrainFile:
    """What the name of a strain file says."""

    path: Path
    ifo: str
    run: str | None
    rate: int
    start: int
    duration: int
    kind: str

    @property
    def stop(self) -> int:
        return self.start + self.duration


@functools.lru_cache(maxsize=4096)
def _masks(path: Path) -> dict[str, np.ndarray]:
    """For each bit of a file, by its short name, whether it is set in each second."""
    found = {}
    with h5py.File(path, "r") as file:
        for group, bits, names in (
            ("quality/simple", "DQmask", "DQShortnames"),
            ("quality/injections", "Injmask", "InjShortnames"),
        ):
            mask = file[f"{group}/{bits}"][()]
            for bit, name in enumerate(file[f"{group}/{names}"].asstr()):
                found[name] = (mask >> bit & 1).astype(bool)
    return found


class Archive:
    """What the folder holds."""

    def __init__(self, folder: Path, missing: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.missing = missing

    def _table(self, name: str) -> list | dict | None:
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else None

    def files(self) -> list[StrainFile]:
        """All strain files, by time."""
        found = []
        for path in self.folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and match["ifo"] not in self.missing:
                numbers = (int(match[key]) for key in ("rate", "start", "duration"))
                found.append(StrainFile(path, match["ifo"], match["run"], *numbers, match["kind"]))
        return sorted(found, key=lambda f: (f.start, f.ifo, f.rate, f.kind))

    def runs(self) -> list[dict]:
        """Observing runs."""
        told = self._table("runs.json")
        if told is not None:
            return [
                run | {"detectors": [i for i in run["detectors"] if i not in self.missing]}
                for run in told
            ]
        files = [file for file in self.files() if file.run]
        return [
            {
                "name": name,
                "gps_start": min(f.start for f in files if f.run == name),
                "gps_end": max(f.stop for f in files if f.run == name),
                "detectors": sorted({f.ifo for f in files if f.run == name}),
            }
            for name in sorted({f.run for f in files})
        ]

    def events(self) -> list[dict]:
        """Versions of events, complete with the fields that clients rely on."""
        out = []
        for event in self._table("events.json") or []:
            full = {"catalog": "GWTC", "version": 1, "detectors": ["H1", "L1"]} | event
            full.setdefault("shortName", f"{full['name']}-v{full['version']}")
            runs = [r["name"] for r in self.runs() if r["gps_start"] <= full["gps"] < r["gps_end"]]
            full.setdefault("run", runs[0] if runs else None)
            out.append(full)
        return out

    def segments(self, flag: str, start: int, stop: int) -> list[tuple[int, int]] | None:
        """Active segments of a flag within a span; None if the flag is unknown."""
        told = self._table("segments.json")
        spans = self._segments_of_masks(flag) if told is None else told.get(flag)
        if spans is None:
            return None
        inside = ((max(a, start), min(b, stop)) for a, b in spans)
        return [(a, b) for a, b in inside if a < b]

    def _segments_of_masks(self, flag: str) -> list[tuple[int, int]] | None:
        ifo, _, bit = flag.partition("_")
        seconds: dict[int, bool] = {}
        for file in self.files():
            if file.ifo == ifo and file.kind == "hdf5" and bit in (masks := _masks(file.path)):
                seconds |= zip(range(file.start, file.stop), masks[bit].tolist(), strict=True)
        if not seconds:
            return None
        good = np.array(sorted(second for second, is_set in seconds.items() if is_set))
        pieces = np.split(good, np.flatnonzero(np.diff(good) > 1) + 1) if len(good) else []
        return [(int(piece[0]), int(piece[-1]) + 1) for piece in pieces]


class Answers:
    """The API: for each address what it answers, or None for 404."""

    def __init__(self, archive: Archive, base: str) -> None:
        self.archive = archive
        self.base = base

    def answer(self, path: str, query: dict[str, str]) -> dict | None:
        """Content of an address."""
        for pattern, method in (
            (r"/api/v2/runs", self.runs),
            (r"/api/v2/runs/(\w+)", self.run),
            (r"/api/v2/(?:runs/(\w+)/)?strain-files", self.run_files),
            (r"/api/v2/catalogs", self.catalogs),
            (r"/api/v2/default-parameters", self.parameters),
            (r"/api/v2/event-versions", self.event_versions),
            (r"/api/v2/event-versions/([^/]+)", self.event_version),
            (r"/api/v2/event-versions/([^/]+)/strain-files", self.event_files),
            (r"/api/v2/timelines/(\w+)/segments", self.timeline),
            (r"/eventapi/json/", self.event_lists),
            (r"/eventapi/json(?:full)?/([^/]+)/", self.event_list),
        ):
            if match := re.fullmatch(pattern, path):
                found = method(*match.groups(), query=query)
                if isinstance(found, list):
                    return self._page(found, path, query)
                return found
        return None

    def _page(self, items: list, path: str, query: dict[str, str]) -> dict:
        size, number = int(query.get("pagesize", PAGE_SIZE)), int(query.get("page", 1))
        count = max(1, -(-len(items) // size))

        def link(to: int) -> str | None:
            if not 1 <= to <= count:
                return None
            return f"{self.base}{path}?{urlencode(query | {'page': to})}"

        return {
            "next": link(number + 1),
            "previous": link(number - 1),
            "results_count": len(items),
            "results_per_page": size,
            "num_pages": count,
            "page_number": number,
            "results": items[(number - 1) * size : number * size],
        }

    def runs(self, query: dict[str, str]) -> list[dict]:
        return self.archive.runs()

    def run(self, name: str, query: dict[str, str]) -> dict | None:
        return next((run for run in self.archive.runs() if run["name"] == name), None)

    def run_files(self, name: str | None, query: dict[str, str]) -> list[dict] | None:
        if name is not None and self.run(name, query) is None:
            return None
        # like the archive: the span is closed, so that an instant has its file
        start, stop = int(query.get("start", 0)), int(query.get("stop", 10**11))
        out = []
        for file in self.archive.files():
            if (
                file.run is not None
                and file.run == (name or file.run)
                and file.kind == "hdf5"
                and query.get("detector", file.ifo) == file.ifo
                and int(query.get("sample-rate", file.rate)) == file.rate
                and file.start <= stop
                and file.stop > start
            ):
                url = f"{self.base}/archive/data/{file.run}_{file.rate}KHZ_R1/{file.path.name}"
                out.append(
                    {
                        "gps_start": file.start,
                        "detector": file.ifo,
                        "sample_rate_kHz": float(file.rate),
                        "hdf5_url": url,
                        "gwf_url": url.removesuffix("hdf5") + "gwf",
                        "detail_url": f"{self.base}/api/v2/strain-files/"
                        f"{file.ifo}-{file.start}-{file.rate}kHz",
                    }
                )
        return out

    def catalogs(self, query: dict[str, str]) -> list[dict]:
        return [{"name": name} for name in sorted({e["catalog"] for e in self.archive.events()})]

    def parameters(self, query: dict[str, str]) -> list[str]:
        known = {"name", "shortName", "gps", "catalog", "version", "detectors", "run"}
        return sorted({key for event in self.archive.events() for key in event} - known)

    def event_versions(self, query: dict[str, str]) -> list[dict]:
        return [event for event in self.archive.events() if self._asked_for(event, query)]

    @staticmethod
    def _asked_for(event: dict, query: dict[str, str]) -> bool:
        values = {"gps-time": event["gps"]} | event
        for key, value in query.items():
            bound, _, name = key.partition("-")
            if key == "name-contains" and value not in event["name"]:
                return False
            if key == "release" and event["catalog"] not in value.split(","):
                return False
            if bound in ("min", "max"):
                found = values.get(name)
                if found is None or (float(found) - float(value)) * (-1) ** (bound == "max") < 0:
                    return False
        return True

    def event_version(self, name: str, query: dict[str, str]) -> dict | None:
        name, _, catalog = name.partition("@")
        fitting = [
            event
            for event in self.archive.events()
            if name in (event["name"], event["shortName"]) and catalog in ("", event["catalog"])
        ]
        return max(fitting, key=lambda event: event["version"], default=None)

    def event_files(self, name: str, query: dict[str, str]) -> list[dict] | None:
        event = self.event_version(name, query)
        if event is None:
            return None
        kind = {"hdf": "hdf5"}.get(query.get("file-format", ""), query.get("file-format"))
        return [
            {
                "detector": file.ifo,
                "gps_start": file.start,
                "duration": file.duration,
                "sample_rate_kHz": float(file.rate),
                "file_format": "HDF" if file.kind == "hdf5" else "GWF",
                "download_url": f"{self.base}/eventapi/json/{event['catalog']}/{event['name']}/"
                f"v{event['version']}/{file.path.name}",
            }
            for file in self.archive.files()
            if file.run is None
            and file.start <= event["gps"] < file.stop
            and kind in (None, file.kind)
            and query.get("detector", file.ifo) == file.ifo
            and int(query.get("sample-rate", file.rate)) == file.rate
            and int(query.get("duration", file.duration)) == file.duration
        ]

    def timeline(self, flag: str, query: dict[str, str]) -> list[dict] | None:
        start, stop = int(float(query["start"])), math.ceil(float(query["stop"]))
        found = self.archive.segments(flag, start, stop)
        return None if found is None else [{"start": a, "stop": b} for a, b in found]

    def event_lists(self, query: dict[str, str]) -> dict:
        return {
            entry["name"]: {
                "description": f"catalogue {entry['name']}",
                "url": f"{self.base}/eventapi/json/{entry['name']}/",
            }
            for entry in self.catalogs(query)
        }

    def event_list(self, catalog: str, query: dict[str, str]) -> dict | None:
        chosen = [e for e in self.archive.events() if catalog in ("allevents", e["catalog"])]
        if not chosen:
            return None
        known = ("name", "shortName", "gps", "catalog", "version", "detectors", "run")
        return {
            "events": {
                event["shortName"]: {
                    "commonName": event["name"],
                    "version": event["version"],
                    "catalog.shortName": event["catalog"],
                    "GPS": event["gps"],
                    "jsonurl": f"{self.base}/eventapi/json/{event['catalog']}/{event['name']}/"
                    f"v{event['version']}",
                }
                | {key: value for key, value in event.items() if key not in known}
                for event in chosen
            }
        }


class GwoscServer:
    """The server, in a thread: `with GwoscServer(folder) as address:`.

    Attributes:
        served: For each address without its query how often it was asked for.
        completed: For each strain file how often its whole body was sent.

    Args:
        folder: See the head of this module.
        faults: What goes wrong; nothing if None.
        port: Port; any free one if 0.
    """

    def __init__(self, folder: str | Path, faults: Faults | None = None, port: int = 0) -> None:
        self.faults = faults or Faults()
        self.archive = Archive(Path(folder), self.faults.missing)
        self.served: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._respond(self)

            def log_message(self, *_: object) -> None:
                """Nothing: tests look at `served`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self.address

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve_forever(self) -> None:
        """Serve until interrupted."""
        self._server.serve_forever()

    def _again(self, what: str, times: float) -> bool:
        """Whether a fault that is to come a number of times is still to come."""
        with self._lock:
            self._failed[what] += 1
            return self._failed[what] <= times

    def _respond(self, handler: BaseHTTPRequestHandler) -> None:
        address = urlsplit(handler.path)
        path, query = unquote(address.path), dict(parse_qsl(address.query))
        with self._lock:
            self.served[path] += 1
        time.sleep(self.faults.delay)
        if re.search(self.faults.error_path, path) and self._again(path, self.faults.errors):
            self._send(handler, 500, b"the server has failed, as it was told to", "text/plain")
            return
        name = path.rsplit("/", 1)[-1]
        if _NAME.fullmatch(name):
            self._send_file(handler, name)
            return
        content = Answers(self.archive, self.address).answer(path, query)
        if content is None:
            self._send(handler, 404, b'{"detail": "Not found."}', "application/json")
        else:
            self._send(handler, 200, json.dumps(content).encode(), "application/json")

    def _send_file(self, handler: BaseHTTPRequestHandler, name: str) -> None:
        path = self.archive.folder / self.faults.swapped.get(name, name)
        if not path.exists():
            self._send(handler, 404, b"no such file", "text/plain")
            return
        size = path.stat().st_size
        cut = self._again(f"body of {name}", self.faults.truncations)
        handler.send_response(200)
        handler.send_header("Content-Type", "application/octet-stream")
        handler.send_header("Content-Length", str(size))
        handler.end_headers()
        for piece in _pieces(path, size // 2 if cut else size):
            handler.wfile.write(piece)
        if cut:
            handler.close_connection = True
        else:
            with self._lock:
                self.completed[name] += 1

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(body)))
        if status == 500:
            # so that the patient client does not wait a second each time
            handler.send_header("Retry-After", "0")
        handler.end_headers()
        handler.wfile.write(body)


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size and (piece := file.read(min(size, 2**20))):
            size -= len(piece)
            yield piece


def main() -> None:
    """Serve a folder until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="folder of GWOSC files")
    parser.add_argument("--port", type=int, default=0, help="port; any free one if 0")
    parser.add_argument("--delay", type=float, default=0.0, help="wait before each answer [s]")
    parser.add_argument("--errors", type=float, default=0, help="500s of each address")
    parser.add_argument("--truncations", type=float, default=0, help="cut bodies of each file")
    parser.add_argument("--missing", nargs="*", default=[], help="detectors without files")
    given = parser.parse_args()
    faults = Faults(
        delay=given.delay,
        errors=given.errors,
        truncations=given.truncations,
        missing=tuple(given.missing),
    )
    server = GwoscServer(given.folder, faults, given.port)
    sys.stdout.write(f"{server.address}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
