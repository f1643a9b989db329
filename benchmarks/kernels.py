"""Random kernels per second from strain files: memory maps against plain h5py.

Run with the environment of `projects/datagen`; see README.md.
"""

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from ledger import Provenance, StrainSegment
from ledger.reader import StrainReader

IFOS = ("H1", "L1")
RATE = 2048


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--file-length", type=float, default=4096.0, help="[s]")
    parser.add_argument("--kernel-length", type=float, default=1.5, help="[s]")
    parser.add_argument("--count", type=int, default=5000)
    arguments = parser.parse_args()
    size = round(arguments.kernel_length * RATE)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.hdf5" for i in range(arguments.files)]
        for number, path in enumerate(paths):
            write(path, number, arguments.file_length)
        chunked = [path.with_suffix(".chunked") for path in paths]
        for path, copy in zip(paths, chunked, strict=True):
            rechunk(path, copy)
        reader = StrainReader(paths, IFOS)
        ways = {
            "memory map (ledger)": lambda g: reader.draw(arguments.count, size, g),
            "h5py, contiguous": lambda g: by_h5py(paths, arguments.count, size, g),
            "h5py, chunks of 131072": lambda g: by_h5py(chunked, arguments.count, size, g),
        }
        first = ways["h5py, contiguous"](np.random.default_rng(1))
        if not np.array_equal(first, ways["memory map (ledger)"](np.random.default_rng(1))):
            raise SystemExit("the two readers differ")
        speeds = {}
        for name, read in ways.items():
            begun = time.perf_counter()
            read(np.random.default_rng(2))
            speeds[name] = arguments.count / (time.perf_counter() - begun)
        best = speeds["memory map (ledger)"]
        for name, speed in speeds.items():
            print(f"{name:24s} {speed:8.0f} kernels per s  (map: {best / speed:.1f} times)")


def write(path: Path, number: int, length: float) -> None:
    """A strain file of white noise."""
    rng = np.random.default_rng(number)
    strain = {ifo: rng.standard_normal(round(length * RATE), dtype=np.float32) for ifo in IFOS}
    segment = StrainSegment(strain=strain, gps_start=length * number, sample_rate=float(RATE))
    segment.write(path, Provenance("benchmark", "0", {}))


def rechunk(path: Path, copy: Path) -> None:
    """The same file with chunks, as gwpy users often have them."""
    with h5py.File(path) as source, h5py.File(copy, "w") as target:
        for ifo in IFOS:
            target.create_dataset(ifo, data=source[ifo][()], chunks=(131072,))


def by_h5py(
    paths: list[Path], count: int, size: int, generator: np.random.Generator
) -> np.ndarray:
    """Kernels as `StrainReader.draw` draws them, each by one slice of a dataset."""
    files = [h5py.File(path) for path in paths]
    try:
        places = [len(file[IFOS[0]]) - size + 1 for file in files]
        numbers = generator.integers(sum(places), size=count)
        ends = np.cumsum(places)
        drawn = np.empty((count, len(IFOS), size), dtype=np.float32)
        for row, number in enumerate(numbers):
            which = int(np.searchsorted(ends, number, side="right"))
            start = int(number - (ends[which] - places[which]))
            for column, ifo in enumerate(IFOS):
                drawn[row, column] = files[which][ifo][start : start + size]
        return drawn
    finally:
        for file in files:
            file.close()


if __name__ == "__main__":
    main()
