"""An S3 server in a process of its own, whose objects survive that it is killed.

`python s3_server.py PORT FILE [DIE_AT]` answers on 127.0.0.1. moto keeps objects in memory, and
here in FILE, too: every request that changes something, to be made again at the next start. With
DIE_AT the process dies while it receives that many such requests, counted from 1.
"""

import itertools
import os
import sys
import threading
from pathlib import Path
from typing import Any

from moto.moto_api._internal import moto_api_backend  # noqa: F401 - registers the recorder
from moto.moto_api._internal.recorder.models import Recorder
from moto.server import DomainDispatcherApplication, ThreadedMotoServer, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

CHANGING = ("PUT", "POST", "DELETE")


class Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """No line for each request."""


def record_changes(record: Path, die_at: int) -> None:
    """Have changes recorded, one at a time and whole."""
    lock, numbers = threading.Lock(), itertools.count(1)
    keep = Recorder._record_request

    def record_request(self: Recorder, request: Any, body: Any = None) -> None:
        if not self._user_enabled or request.method not in CHANGING:
            return
        with lock:
            if next(numbers) == die_at:
                request.environ["wsgi.input"].read(1)
                os._exit(9)
            keep(self, request, body)

    Recorder._record_request = record_request  # type: ignore[method-assign]


def main(port: int, record: Path, die_at: int) -> None:
    os.environ["MOTO_RECORDER_FILEPATH"] = str(record)
    os.environ.pop("AWS_ENDPOINT_URL", None)
    from moto.moto_api import recorder

    recorder._location = str(record)
    if record.exists():
        # nobody else is answered before all is as it was
        private = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        private.start()
        host, private_port = private.get_host_and_port()
        recorder.replay_recording(target_host=f"http://{host}:{private_port}")
        private.stop()
    record_changes(record, die_at)
    recorder.start_recording()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Quiet)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else 0)
