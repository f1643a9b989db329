"""Runs a verb when its turn has come: until then it is loaded, and waits.

`python -m deepclean.live.turn LOCK VERB ...`. Of several that are given one lock, one works. When
it ends, however it ends, another goes on at once: most of the time that a verb takes to begin goes
into loading its libraries.
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

from runtime import command_line

from deepclean.__main__ import VERBS


def main() -> None:
    """Wait, and run the verb."""
    place, *words = sys.argv[1:]
    path = Path(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command_line("deepclean", VERBS, words)


if __name__ == "__main__":
    main()
