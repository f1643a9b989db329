"""What a server writes about itself."""

import os
import re
import tempfile
from pathlib import Path
from typing import IO

_TAIL_SIZE = 1 << 16
# The server repeats at its start in tables what it says in sentences.
_TABLE = re.compile(r"^[+|]|^\s*$|\] $")
# What any server without a GPU says.
_HARMLESS = re.compile(r"CudaDriverHelper|NVML|DCGM|pinned.*memory|CUDA memory pool|create stream")
# The stack of the Python that failed, on the same line as the failure.
_STACK = re.compile(r"(\\n)+At:\\n.*")
# What follows a complaint about an argument.
_USAGE = "Usage: tritonserver"
_PARSING = "Error parsing text-format"
_TAKEN = re.compile(r"already in use|failed to bind|Address in use", re.IGNORECASE)


class Log:
    """The file that a server writes to.

    Args:
        path: The file, added to; None for one that is removed by `close`.

    Attributes:
        path: The file.
        file: The same, open for the processes that write.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._temporary = path is None
        if path is None:
            descriptor, name = tempfile.mkstemp(prefix="hermes-serve-", suffix=".log")
            os.close(descriptor)
            path = name
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Appending, since the processes of the server share the place where they write.
        self.file: IO[bytes] = self.path.open("ab")
        self._begin = self.path.stat().st_size
        self._kept = ""

    def read_end(self) -> str:
        """The last of what this server wrote, at most 64 KiB."""
        if self.file.closed:
            return self._kept
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._begin, size - _TAIL_SIZE))
            return file.read().decode(errors="replace")

    def tail(self, lines: int = 20) -> str:
        """The last lines, without tables and what is said wherever there is no GPU."""
        telling = [
            _STACK.sub("", line)
            for line in self.read_end().split(_USAGE)[0].splitlines()
            if not _TABLE.search(line) and not _HARMLESS.search(line)
        ]
        return "\n".join(telling[-lines:])

    def says_port_taken(self) -> bool:
        """Whether the server found a port in use."""
        return bool(_TAKEN.search(self.read_end()))

    def says_models_stopped(self) -> bool:
        """Whether the server, asked to end, has answered all requests."""
        return "All models are stopped" in self.read_end()

    def find_errors(self, model: str) -> list[str]:
        """What the server said went wrong with a model."""
        found: dict[str, None] = {}
        before = ""
        for line in self.read_end().splitlines():
            if line.startswith("E") and f"'{model}'" in line:
                # Where in a file a reader stumbled stands on the line before.
                if _PARSING in before:
                    found[before.split(_PARSING, 1)[1].strip()] = None
                found[line.split("] ", 1)[-1].strip('"')] = None
            before = line
        return list(found)

    def restart(self) -> None:
        """Let go of what was written before, for a server that is started again."""
        self._begin = self.path.stat().st_size

    def close(self) -> None:
        """Close the file; the end stays readable."""
        if self.file.closed:
            return
        self._kept = self.read_end()
        self.file.close()
        if self._temporary:
            self.path.unlink(missing_ok=True)
