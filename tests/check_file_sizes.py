"""Refuse files that are too large for the repository: `check_file_sizes.py FILE ...`."""

import sys
from pathlib import Path

LIMIT = 500_000  # bytes; locks with the hashes of all wheels are the largest files we want


def main(names: list[str]) -> int:
    """Name each file above the limit; exit code 1 if there is one."""
    large = [(path, path.stat().st_size) for path in map(Path, names) if path.is_file()]
    large = [(path, size) for path, size in large if size > LIMIT]
    for path, size in large:
        sys.stderr.write(f"{path} has {size} bytes, at most {LIMIT} go into the repository\n")
    return int(bool(large))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
