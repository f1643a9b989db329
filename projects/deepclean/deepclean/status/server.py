"""Serves the status page to this machine alone."""

from __future__ import annotations

import json
import logging
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from deepclean.status.summary import summarise

log = logging.getLogger("deepclean")

HOST = "127.0.0.1"
PAGE = Path(__file__).with_name("page.html")


class _Server(ThreadingHTTPServer):
    """Knows what it shows."""

    daemon_threads = True

    def __init__(self, port: int, root: Path, store: Path) -> None:
        super().__init__((HOST, port), _Handler)
        self.root, self.store = root, store


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """The page, or what it shows."""
        path = urllib.parse.urlsplit(self.path).path
        if path == "/":
            self._answer("text/html; charset=utf-8", PAGE.read_bytes())
        elif path == "/status.json":
            try:
                content = summarise(self.server.root, self.server.store)
            except (OSError, ValueError) as error:
                # a file that changes under our hands; the page asks again
                log.warning("no status: %s", error)
                self.send_error(503)
                return
            self._answer("application/json", json.dumps(content, allow_nan=False).encode())
        else:
            self.send_error(404)

    def _answer(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the page asks every second."""


def open_server(root: Path, store: Path, address: Path, port: int = 0) -> ThreadingHTTPServer:
    """Listen, and say where.

    Args:
        root: Folder of the installation.
        store: Folder of all versions.
        address: File for the page's address.
        port: Where to listen; where the file says, or any that is free, if 0.
    """
    root.mkdir(parents=True, exist_ok=True)
    wanted = [port]
    if not port and address.is_file():
        # an open page finds a server that was begun again
        before = urllib.parse.urlsplit(address.read_text().strip()).port
        wanted = [before or 0, 0]
    server = None
    for number in wanted:
        try:
            server = _Server(number, root, store)
            break
        except OSError:
            if number == wanted[-1]:
                raise
    assert server is not None
    address.write_text(f"http://{HOST}:{server.server_port}/\n")
    return server


def serve_status(root: Path, store: Path, address: Path, port: int = 0) -> None:
    """Serve the page for ever; see `open_server`."""
    with open_server(root, store, address, port) as server:
        log.info("status at http://%s:%d/", HOST, server.server_port)
        server.serve_forever()
