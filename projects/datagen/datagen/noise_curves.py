"""Noise curves by name: from lalsimulation, from bilby, or from a file."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import h5py
import lal
import lalsimulation
import numpy as np

# Seismic noise below this grows without end; it is far below any band that is searched.
LOWEST_FREQUENCY = 10.0


def _from_lalsimulation(name: str, frequency: np.ndarray) -> np.ndarray:
    """ASD by one of lalsimulation's noise functions, on equally spaced frequencies from 0."""
    function: Callable = getattr(lalsimulation, name)
    inside = frequency >= LOWEST_FREQUENCY
    try:
        # analytic curves are functions of the frequency
        values = [function(float(f)) for f in frequency[inside]]
    except TypeError:
        # Tabulated ones fill a series. Its last element stays empty: ask for one more.
        series = lal.CreateREAL8FrequencySeries(
            name,
            lal.LIGOTimeGPS(0),
            0.0,
            float(frequency[1] - frequency[0]),
            lal.DimensionlessUnit,
            len(frequency) + 1,
        )
        function(series, LOWEST_FREQUENCY)
        values = series.data.data[:-1][inside]
    asd = np.zeros(len(frequency))
    asd[inside] = np.sqrt(values)
    return asd


def _bilby_folder() -> Path:
    spec = importlib.util.find_spec("bilby")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("bilby is not installed: its noise curves cannot be used")
    return Path(spec.submodule_search_locations[0]) / "gw" / "detector" / "noise_curves"


def _table(path: Path, unit: str) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and values of a text file; `unit` is that of the values."""
    try:
        table = np.loadtxt(path, comments=("#", "%"), delimiter=None, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of numbers: {error}") from error
    if table.shape[1] < 2:
        raise ValueError(
            f"{path} has {table.shape[1]} column(s), expected frequency [Hz] and {unit}"
        )
    return table[:, 0], table[:, 1]


def _frequency_series(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and PSD of an HDF5 file as PyCBC writes a frequency series."""
    try:
        with h5py.File(path) as file:
            data = file.get("data")
            if not isinstance(data, h5py.Dataset) or "delta_f" not in data.attrs or data.ndim != 1:
                raise ValueError(
                    f"{path} holds {', '.join(file) or 'nothing'}, expected one dataset `data`: a "
                    "PSD [1/Hz] from 0 Hz on, its frequency step [Hz] in the attribute `delta_f`"
                )
            values = np.asarray(data, dtype=np.float64)
            return np.arange(len(values)) * float(data.attrs["delta_f"]), values
    except OSError as error:
        raise ValueError(f"{path} is not a readable HDF5 file: {error}") from error


def _interpolated(
    path: Path, grid: np.ndarray, values: np.ndarray, frequency: np.ndarray
) -> np.ndarray:
    """Values of a file at other frequencies, straight in the logarithms; zero below 10 Hz."""
    usable = (grid > 0) & (values > 0)
    grid, values = grid[usable], values[usable]
    if len(grid) < 2 or (np.diff(grid) <= 0).any():
        raise ValueError(f"{path}: frequencies must be positive and rise from row to row")
    top = frequency[-1]
    # a table that stops one of its own steps short is as good as complete
    if grid[-1] + (grid[-1] - grid[-2]) < top:
        raise ValueError(
            f"{path} ends at {grid[-1]} Hz, expected a curve up to half the sample rate, {top} "
            "Hz: lower sample_rate, or name a curve that goes higher"
        )
    if grid[0] > 2 * LOWEST_FREQUENCY:
        raise ValueError(
            f"{path} begins at {grid[0]} Hz, expected a curve from {LOWEST_FREQUENCY} Hz (or "
            f"{2 * LOWEST_FREQUENCY} Hz at most)"
        )
    inside = frequency >= LOWEST_FREQUENCY
    out = np.zeros(len(frequency))
    out[inside] = np.exp(np.interp(np.log(frequency[inside]), np.log(grid), np.log(values)))
    return out


def _from_file(path: Path, frequency: np.ndarray, is_psd: bool) -> np.ndarray:
    """ASD from a file; `is_psd` says what a text file holds, an HDF5 file always holds a PSD."""
    if path.suffix in (".hdf5", ".h5", ".hdf"):
        return np.sqrt(_interpolated(path, *_frequency_series(path), frequency))
    unit = "PSD [1/Hz]" if is_psd else "ASD [1/sqrt(Hz)]"
    values = _interpolated(path, *_table(path, unit), frequency)
    return np.sqrt(values) if is_psd else values


def noise_asd(name: str, folder: Path, frequency: np.ndarray) -> np.ndarray:
    """Amplitude spectral density of a noise curve.

    Args:
        name: A noise function of lalsimulation (`SimNoisePSD...`); or the name of a noise-curve
            file of bilby that says whether it holds an ASD or a PSD (`..._asd.txt`); or a file
            with columns frequency [Hz] and ASD [1/sqrt(Hz)], relative to `folder`; or a file that
            ends in .hdf5 (.h5, .hdf) with a PSD [1/Hz] in its dataset `data`, in steps of that
            dataset's attribute `delta_f` [Hz] from 0 Hz on, as PyCBC writes it.
        folder: Folder of the experiment.
        frequency: Equally spaced frequencies from 0 to half the sample rate [Hz].

    Returns:
        One-sided ASD [1/sqrt(Hz)], zero below 10 Hz. Between the points of a file it is
        straight in the logarithms; below its first point it is constant.

    Raises:
        ValueError: There is no such curve, the file is of another form, or it does not reach from
            20 Hz to half the sample rate.
    """
    if name.startswith("SimNoisePSD"):
        if not hasattr(lalsimulation, name):
            raise ValueError(
                f"lalsimulation has no noise function {name}; it has, for example, "
                "SimNoisePSDaLIGOO3LowT1800545"
            )
        asd = _from_lalsimulation(name, frequency)
    elif (file := folder / name).exists():
        asd = _from_file(file, frequency, is_psd=False)
    elif (file := _bilby_folder() / name).is_file():
        kind = {"asd" in name.lower(): False, "psd" in name.lower(): True}.get(True)
        if kind is None:
            raise ValueError(
                f"bilby's noise curve {name} does not say in its name whether it is an ASD or a "
                f"PSD: copy it, as an ASD, beside {folder / 'experiment.yaml'}"
            )
        asd = _from_file(file, frequency, is_psd=kind)
    else:
        raise ValueError(
            f"no noise curve {name!r}: it is neither a file in {folder}, nor a noise curve of "
            "bilby (such as aLIGO_O4_high_asd.txt), nor a noise function of lalsimulation (such "
            "as SimNoisePSDaLIGOO3LowT1800545)"
        )
    band = asd[frequency >= 2 * LOWEST_FREQUENCY]
    if not (np.isfinite(band).all() and (band > 0).all()):
        raise ValueError(
            f"noise curve {name} has no positive finite value at some frequencies between "
            f"{2 * LOWEST_FREQUENCY} and {frequency[-1]} Hz"
        )
    return asd
