"""Files of MLGWSC-1, written here as its description says, with h5py alone."""

import h5py
import numpy as np
import pytest
from datagen import challenge
from datagen.foreign import channels
from datagen.import_strain import import_strain
from ledger import StrainIndex, StrainSegment

GPS = 1238205077
IFOS = ("H1", "L1")
RATE = 2048


def tone(ifo, time):
    """A function of GPS time, far below the new Nyquist frequency."""
    return 1e-21 * np.cos(2 * np.pi * 40.25 * (time - GPS) + (ifo == "L1"))


def write(path, segments, ifos=IFOS, rate=RATE, offset=0.0):
    """Segments are pairs of start after `GPS` and length [s]; `offset` is added to the strain."""
    with h5py.File(path, "w") as file:
        for ifo in ifos:
            for start, length in segments:
                time = GPS + start + np.arange(round(length * rate)) / rate
                dataset = file.create_dataset(
                    f"{ifo}/{int(GPS + start)}", data=tone(ifo, time) + offset
                )
                dataset.attrs["start_time"] = float(GPS + start)
                dataset.attrs["delta_t"] = 1 / rate
    return path


@pytest.fixture
def settings(edited):
    return edited(lowpass=200.0)


def imported(settings, source, output):
    import_strain(settings, source, output)
    return StrainIndex.read(output / "index.hdf5")


def spans(index):
    return [
        (round(start - GPS, 1), round(stop - GPS, 1))
        for start, stop in zip(index.gps_start, index.gps_stop, strict=True)
    ]


def check(index, output, offset=0.0):
    for name in index.path:
        segment = StrainSegment.read(output / name, IFOS)
        assert segment.sample_rate == 512
        time = segment.gps_start + np.arange(segment.size) / 512
        for ifo in IFOS:
            assert np.abs(segment.strain[ifo] - tone(ifo, time) - offset).max() < 1e-24


def test_segments_are_brought_to_the_rate_in_place(settings, tmp_path, caplog):
    """Gaps stay gaps, what is too short is named, a start may lie between two seconds."""
    caplog.set_level("INFO")
    source = write(tmp_path / "a.hdf", [(0, 40), (100.5, 30), (140, 10)])
    index = imported(settings, source, tmp_path / "out")
    assert spans(index) == [(0.1, 39.9), (100.6, 130.4)]
    assert (index.role == 2).all()
    check(index, tmp_path / "out")
    assert f"a: a piece of 10.0 s at {GPS + 140}.0 is shorter than 10.5 s, dropped" in caplog.text


def test_what_is_there_twice_is_taken_once(settings, tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "s").mkdir()
    # the second begins in the first, the third lies in it as a whole
    write(tmp_path / "s/a.hdf", [(0, 40), (25.25, 40), (10, 20)])
    # another file: begins in the second, and strain that can be told from that of the first
    write(tmp_path / "s/b.hdf", [(50, 40)], offset=1e-21)
    index = imported(settings, tmp_path / "s", tmp_path / "out")
    assert spans(index) == [(0.1, 39.9), (40.1, 65.2), (65.3, 89.9)]
    for name, offset in zip(index.path, (0, 0, 1e-21), strict=True):
        segment = StrainSegment.read(tmp_path / "out" / name, IFOS)
        inner = segment.strain["H1"][512:-512]
        time = segment.gps_start + np.arange(512, segment.size - 512) / 512
        assert np.abs(inner - tone("H1", time) - offset).max() < 1e-24
    assert f"b.hdf: H1 has [{GPS + 50}.0, {GPS + 65.25}) twice" in caplog.text
    assert f"a.hdf: L1 has [{GPS + 10}.0, {GPS + 30}.0) twice" in caplog.text


def test_a_cut_is_made_at_the_sample(tmp_path):
    path = write(tmp_path / "a.hdf", [(0, 40), (25.25, 40)], ifos=("H1",))
    first, second = challenge.cut_overlaps(channels(path))
    assert first.gps_stop == second.gps_start == GPS + 40
    assert second.gps_stop == GPS + 65.25
    time = second.gps_start + np.arange(second.size) / RATE
    assert np.abs(second.read() - tone("H1", time)).max() < 1e-27


def test_detectors_with_other_segments_are_searched_where_both_are(settings, tmp_path):
    path = write(tmp_path / "a.hdf", [(0, 60)], ifos=("H1",))
    write(tmp_path / "b.hdf", [(20, 60)], ifos=("L1",))
    with h5py.File(path, "a") as file, h5py.File(tmp_path / "b.hdf") as other:
        other.copy("L1", file)
    assert spans(imported(settings, path, tmp_path / "out")) == [(20.1, 59.9)]


def test_long_segments_are_read_in_pieces(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(challenge, "LONGEST", 30.0)
    path = write(tmp_path / "a.hdf", [(0, 75)])
    found = channels(path)
    assert [channel.size for channel in found if channel.ifo == "H1"] == [
        30 * RATE, 30 * RATE, 15 * RATE,
    ]  # fmt: skip
    assert all(len(channel.read()) == channel.size for channel in found)
    index = imported(settings, path, tmp_path / "out")
    assert spans(index) == [(0.1, 29.9), (30.1, 59.9), (60.1, 74.9)]
    check(index, tmp_path / "out")


def test_name_and_start_must_agree(settings, tmp_path):
    path = write(tmp_path / "a.hdf", [(0, 40)])
    with h5py.File(path, "a") as file:
        file[f"L1/{GPS}"].attrs["start_time"] = GPS + 1.0
    with pytest.raises(ValueError, match=rf"a.hdf: segment L1/{GPS} says start_time {GPS + 1}.0"):
        imported(settings, path, tmp_path / "out")


def test_a_file_without_the_attributes_is_not_guessed_at(settings, tmp_path):
    path = write(tmp_path / "a.hdf", [(0, 40)])
    with h5py.File(path, "a") as file:
        for ifo in IFOS:
            del file[f"{ifo}/{GPS}"].attrs["delta_t"]
    with pytest.raises(ValueError, match="with attributes start_time and delta_t"):
        imported(settings, path, tmp_path / "out")
