"""Make strain files in GWOSC's format, of simulated noise.

    python make_gwosc_files.py --folder DIR --ifos H1 L1 --span 1240576000 1240590400

Samples outside the science segments are NaN, and the bit mask says so, as on GWOSC.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
from datagen.noise import ColouredNoise
from datagen.noise_curves import noise_asd

FILE_LENGTH = 4096
RESOLUTION = 2.0**-83
NOISE_CURVE = "SimNoisePSDaLIGOO3LowT1800545"
QUALITY = (
    ("DATA", "data present"),
    ("CBC_CAT1", "passes cbc CAT1 test"),
    ("CBC_CAT2", "passes cbc CAT2 test"),
    ("CBC_CAT3", "passes cbc CAT3 test"),
    ("BURST_CAT1", "passes burst CAT1 test"),
    ("BURST_CAT2", "passes burst CAT2 test"),
    ("BURST_CAT3", "passes burst CAT3 test"),
)
INJECTIONS = (
    ("NO_CBC_HW_INJ", "no cbc injections"),
    ("NO_BURST_HW_INJ", "no burst injections"),
    ("NO_DETCHAR_HW_INJ", "no detchar injections"),
    ("NO_CW_HW_INJ", "no continuous wave injections"),
    ("NO_STOCH_HW_INJ", "no stoch injections"),
)

Strain = Callable[[str, float, float, float], np.ndarray]
Segments = Sequence[tuple[int, int]]


def simulated(ifo: str, gps_start: float, gps_stop: float, sample_rate: float) -> np.ndarray:
    """Strain of a detector in a span: Gaussian noise of O3, as `datagen simulate` makes it.

    It is rounded to whole multiples of 1e-25, so that files are half as large; the error, white
    at 7e-28 / sqrt(Hz), is thousands of times below the noise.
    """
    asd = noise_asd(NOISE_CURVE, Path(), ColouredNoise.frequencies(sample_rate))
    noise = ColouredNoise(asd, sample_rate, 101588, ifo).strain(gps_start, gps_stop)
    return np.round(noise.astype(np.float64) / RESOLUTION) * RESOLUTION


def file_name(ifo: str, run: str, sample_rate: float, start: int, duration: int) -> str:
    """Name of a file as on GWOSC."""
    return f"{ifo[0]}-{ifo}_GWOSC_{run}_{int(sample_rate) // 1024}KHZ_R1-{start}-{duration}.hdf5"


def write_gwosc_file(
    path: Path, ifo: str, start: int, strain: np.ndarray, sample_rate: float, science: np.ndarray
) -> None:
    """Write one file in the layout of GWOSC.

    Args:
        path: The file.
        ifo: Detector.
        start: GPS time of the first sample [s].
        strain: Samples.
        sample_rate: Sample rate [Hz].
        science: For each second, whether there is data; elsewhere strain becomes NaN.
    """
    values = np.asarray(strain, dtype=np.float64).copy()
    values.reshape(len(science), -1)[~science] = np.nan
    with h5py.File(path, "w") as file:
        # as on GWOSC, but for the shuffle, which makes simulated files a fifth smaller
        options = {"chunks": (4096,), "compression": "gzip", "compression_opts": 1}
        options["shuffle"] = True
        dataset = file.create_dataset("strain/Strain", data=values, **options)
        _describe(dataset, start, 1 / sample_rate, "Strain")
        dataset.attrs["Yunits"] = np.bytes_(b"")
        kilohertz = int(sample_rate) // 1024
        file["strain/GWOSCmeta"] = np.bytes_(f"GWOSC-{kilohertz}KHZ_R1_STRAIN".encode())
        for group, mask, prefix, bits in (
            ("quality/simple", "DQmask", "DQ", QUALITY),
            ("quality/injections", "Injmask", "Inj", INJECTIONS),
        ):
            set_bits = np.where(science, 2 ** len(bits) - 1, 0).astype(np.uint32)
            dataset = file.create_dataset(f"{group}/{mask}", data=set_bits)
            _describe(dataset, start, 1.0, mask)
            dataset.attrs["Bits"] = len(bits)
            for key, column in (("Shortnames", 0), ("Descriptions", 1)):
                file[f"{group}/{prefix}{key}"] = np.array([bit[column].encode() for bit in bits])
        for key, value in (
            ("Description", "Strain data time series, simulated"),
            ("Detector", ifo),
            ("Observatory", ifo[0]),
            ("Type", "StrainTimeSeries"),
            ("Duration", len(science)),
            ("GPSstart", start),
        ):
            file[f"meta/{key}"] = np.bytes_(value.encode()) if isinstance(value, str) else value


def _describe(dataset: h5py.Dataset, start: int, spacing: float, label: str) -> None:
    dataset.attrs["Npoints"] = len(dataset)
    dataset.attrs["Xstart"] = start
    dataset.attrs["Xspacing"] = np.float64(spacing)
    dataset.attrs["Xlabel"] = np.bytes_(b"GPS time")
    dataset.attrs["Xunits"] = np.bytes_(b"second")
    dataset.attrs["Ylabel"] = np.bytes_(label.encode())


def make_gwosc_files(
    folder: Path,
    ifos: Sequence[str],
    span: tuple[int, int],
    *,
    sample_rate: float = 4096.0,
    run: str = "O3a",
    segments: dict[str, Segments] | None = None,
    file_length: int = FILE_LENGTH,
    strain: Strain = simulated,
) -> list[Path]:
    """Make all files of a span.

    Args:
        folder: Where to write them.
        ifos: Detectors.
        span: GPS span; files lie on the grid of `file_length` and those that overlap are made.
        sample_rate: 4096 or 16384 [Hz].
        run: Release tag in the names.
        segments: Science segments of each detector; the whole span where absent.
        file_length: Length of a file [s].
        strain: Gives a detector's samples.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    first = span[0] // file_length * file_length
    for ifo in ifos:
        for start in range(first, span[1], file_length):
            seconds = np.arange(start, start + file_length)
            science = np.zeros(file_length, dtype=bool)
            for low, high in (segments or {}).get(ifo, [span]):
                science |= (seconds >= low) & (seconds < high)
            values = strain(ifo, start, start + file_length, sample_rate)
            path = folder / file_name(ifo, run, sample_rate, start, file_length)
            write_gwosc_file(path, ifo, start, values, sample_rate, science)
            paths.append(path)
    return paths


def _segment(text: str) -> tuple[str, tuple[int, int]]:
    ifo, start, stop = text.split(":")
    return ifo, (int(start), int(stop))


def main() -> None:
    """Make the files that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ifos", nargs="+", default=["H1", "L1"])
    parser.add_argument("--span", nargs=2, type=int, required=True, help="GPS start and stop")
    parser.add_argument("--sample-rate", type=float, default=4096.0, help="4096 or 16384")
    parser.add_argument("--run", default="O3a", help="release tag in the names")
    parser.add_argument(
        "--segment",
        action="append",
        default=[],
        type=_segment,
        metavar="IFO:START:STOP",
        help="science segment of a detector; may be given again; the whole span by default",
    )
    given = parser.parse_args()
    segments: dict[str, list[tuple[int, int]]] = {}
    for ifo, segment in given.segment:
        segments.setdefault(ifo, []).append(segment)
    paths = make_gwosc_files(
        given.folder,
        given.ifos,
        tuple(given.span),
        sample_rate=given.sample_rate,
        run=given.run,
        segments=segments,
    )
    sys.stdout.write(f"{len(paths)} files in {given.folder}\n")


if __name__ == "__main__":
    main()
