"""Frames in both formats: what is written is read, by gwpy too, and damage counts as dropped."""

import logging

import lal
import lalframe
import numpy as np
import pytest
from deepclean.frames import (
    FrameError,
    FrameFolder,
    GuardedReader,
    MissingChannelError,
    frame_name,
    read_channels,
    read_frame,
    write_frame,
)
from deepclean.frames.reading import channel_names
from gwpy.timeseries import TimeSeries, TimeSeriesDict

RANDOM = np.random.default_rng(1)
CHANNELS = {
    "H1:STRAIN": 1e-21 * RANDOM.standard_normal(4 * 4096),
    "H1:MAINS": RANDOM.standard_normal(4 * 256).astype(np.float32),
    "H1:STATE": np.arange(4 * 16, dtype=np.int32),
}
FORMATS = ("gwf", "hdf5")


@pytest.fixture(scope="module")
def reader():
    with GuardedReader() as made:
        yield made


def write(folder, format, start=100, channels=CHANNELS, **options):
    path = folder / frame_name("H", "TEST", start, 4, format)
    write_frame(path, start, 4, channels, **options)
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read(tmp_path, reader, format):
    path = write(tmp_path, format)
    found = reader.read(path, 100, list(CHANNELS), 4)
    for name, values in CHANNELS.items():
        np.testing.assert_array_equal(found[name].values, values)
        assert (found[name].rate, found[name].start) == (len(values) // 4, 100)
    assert channel_names(path) == set(CHANNELS)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("format", FORMATS)
def test_gwpy_reads_what_is_written(tmp_path, format):
    path = write(tmp_path, format, history={"deepclean": "{}"})
    found = TimeSeriesDict.read(str(path), list(CHANNELS), start=101, end=103)
    for name, values in CHANNELS.items():
        rate = len(values) // 4
        series = found[name]
        np.testing.assert_array_equal(series.value, values[rate : 3 * rate])
        assert (series.t0.value, series.sample_rate.value, series.name) == (101, rate, name)
    assert str(found["H1:STRAIN"].unit) == "strain"
    assert str(found["H1:STATE"].unit) == ""


def test_hdf5_of_gwpy_is_read(tmp_path, reader):
    path = tmp_path / "L-GWPY-200-2.h5"
    made = {
        "L1:A": TimeSeries(RANDOM.standard_normal(2 * 512), t0=200, sample_rate=512),
        "L1:B": TimeSeries(np.arange(32, dtype=np.int32), t0=200, sample_rate=16),
    }
    TimeSeriesDict(made).write(str(path), format="hdf5")
    found = reader.read(path, 200, list(made), 2)
    for name, series in made.items():
        np.testing.assert_array_equal(found[name].values, series.value)
        assert found[name].rate == series.sample_rate.value


def test_a_folder_may_hold_both_formats(tmp_path, reader):
    for i, format in enumerate(("gwf", "hdf5", "gwf")):
        write(tmp_path, format, 100 + 4 * i)
    folder = FrameFolder(tmp_path, list(CHANNELS), reader)
    seconds = dict(folder.seconds(99, 113))
    assert [s for s, found in seconds.items() if found is None] == [99, 112]
    for second in range(100, 112):
        place = (second - 100) % 4
        expected = CHANNELS["H1:MAINS"][256 * place : 256 * (place + 1)]
        np.testing.assert_array_equal(seconds[second]["H1:MAINS"], expected)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_broken_hdf5_counts_as_dropped(tmp_path, reader, caplog, damage):
    write(tmp_path, "hdf5", 100)
    path = write(tmp_path, "hdf5", 104)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        # within the samples, where nothing but their checksum sees it
        content[content.index(CHANNELS["H1:STRAIN"].tobytes()[8000:8064]) + 3] ^= 4
    path.write_bytes(
        {"cut": content[: len(content) // 2], "empty": b"", "other": b"x" * 5000}.get(
            damage, bytes(content)
        )
    )
    with caplog.at_level(logging.WARNING):
        folder = FrameFolder(tmp_path, list(CHANNELS), reader)
        found = [second for second, values in folder.seconds(100, 108) if values is not None]
    assert found == [100, 101, 102, 103]
    assert f"counts as dropped: {path}" in caplog.text


def test_hdf5_that_is_no_time_series_is_refused(tmp_path):
    import h5py

    path = tmp_path / "H-TEST-100-4.hdf5"
    with h5py.File(path, "w") as file:
        file["H1:A"] = np.zeros(16)
        file["H1:B"] = np.zeros(17)
        file["H1:B"].attrs.update({"x0": 100.0, "dx": 4 / 17})
    with pytest.raises(FrameError, match="attributes x0 and dx"):
        read_channels(path, ["H1:A"])
    with pytest.raises(FrameError, match="no whole number per second"):
        read_channels(path, ["H1:B"])
    with pytest.raises(FileNotFoundError):
        read_channels(tmp_path / "H-TEST-200-4.hdf5", ["H1:A"])


@pytest.mark.parametrize("format", FORMATS)
def test_channels_that_are_missing_are_named_before_anything_runs(tmp_path, reader, format):
    # a broken file says nothing of channels
    (tmp_path / frame_name("H", "TEST", 96, 4, format)).write_bytes(b"broken")
    write(tmp_path, format, 100)
    wanted = ["H1:MAINS", "H1:GONE", "H1:STATE", "H1:LOST"]
    with pytest.raises(MissingChannelError, match="H1:GONE, H1:LOST") as raised:
        FrameFolder(tmp_path, wanted, reader)
    assert raised.value.names == ("H1:GONE", "H1:LOST")
    assert str(tmp_path) in str(raised.value)


def test_a_later_file_without_a_channel_counts_as_dropped(tmp_path, reader, caplog):
    write(tmp_path, "gwf", 100)
    write(tmp_path, "gwf", 104, {"H1:STRAIN": CHANNELS["H1:STRAIN"]})
    folder = FrameFolder(tmp_path, list(CHANNELS), reader)
    assert [s for s, found in folder.seconds(100, 108) if found is None] == [104, 105, 106, 107]
    assert "no readable channel H1:MAINS, H1:STATE" in caplog.text


def frame_of_frames(path, starts):
    """A file of several frames of a second each."""
    file = lalframe.FrameUFrFileOpen(str(path), "w")
    for number, start in enumerate(starts):
        epoch = lal.LIGOTimeGPS(start)
        frame = lalframe.FrameNew(epoch, 1.0, "TEST", 0, number, 0)
        series = lal.CreateREAL8TimeSeries("H1:A", epoch, 0.0, 1 / 16, lal.StrainUnit, 16)
        series.data.data = np.arange(16.0) + 16 * number
        lalframe.FrameAddREAL8TimeSeriesProcData(frame, series)
        lalframe.FrameUFrameHWrite(file, frame)


def test_a_file_of_several_frames_is_read_whole(tmp_path):
    path = tmp_path / "H-TEST-100-3.gwf"
    frame_of_frames(path, (100, 101, 102))
    found = read_frame(path, 100, ["H1:A"], 3)["H1:A"]
    np.testing.assert_array_equal(found.values, np.arange(48.0))
    frame_of_frames(path, (100, 102))
    with pytest.raises(FrameError, match="gap before 102"):
        read_frame(path, 100, ["H1:A"], 2)


@pytest.mark.parametrize("kind", ["INT2", "UINT2", "UINT4"])
def test_other_kinds_of_integers_are_read(tmp_path, kind):
    """State vectors come unsigned, raw channels of the data acquisition as short integers."""
    epoch = lal.LIGOTimeGPS(100)
    frame = lalframe.FrameNew(epoch, 1.0, "TEST", 0, 0, 0)
    create = getattr(lal, f"Create{kind}TimeSeries")
    series = create("H1:A", epoch, 0.0, 1 / 16, lal.DimensionlessUnit, 16)
    series.data.data = np.arange(16) + 16000
    getattr(lalframe, f"FrameAdd{kind}TimeSeriesProcData")(frame, series)
    path = tmp_path / "H-TEST-100-1.gwf"
    lalframe.FrameWrite(frame, str(path))
    found = read_frame(path, 100, ["H1:A"])["H1:A"].values
    assert found.dtype == np.dtype(kind.lower().replace("2", "16").replace("4", "32"))
    np.testing.assert_array_equal(found, np.arange(16) + 16000)
