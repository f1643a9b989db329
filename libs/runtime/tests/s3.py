"""Starts, kills and restarts the S3 server of `s3_server.py`."""

import socket
import subprocess
import sys
import time
from pathlib import Path

SERVER = Path(__file__).with_name("s3_server.py")
KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """An S3 server on a fixed port, which keeps its objects when it is killed.

    Args:
        folder: Where it keeps them.
        python: Python of an environment that has moto.
    """

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.record = folder / "requests.jsonl"
        self.log = folder / "server.log"
        self.python = python
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What a client needs in its environment."""
        return KEYS | {"AWS_ENDPOINT_URL": self.url}

    def start(self, die_at: int = 0) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [self.python, str(SERVER), str(self.port), str(self.record), str(die_at)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == str(self.port), self.log.read_text()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait_until_dead(self, seconds: float = 60.0) -> None:
        assert self.process is not None
        self.process.wait(seconds)
        self.process = None

    def restart(self, after: float = 0.0) -> None:
        self.kill()
        time.sleep(after)
        self.start()
