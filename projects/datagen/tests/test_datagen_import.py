import shutil

import h5py
import numpy as np
import pytest
from conftest import ROOT
from datagen.cli import main
from datagen.import_strain import assign_roles, import_strain
from gwpy.timeseries import TimeSeries, TimeSeriesDict
from ledger import StrainIndex, StrainSegment
from scipy import signal

GPS = 1000000000
IFOS = ("H1", "L1")


def tone(start, duration, rate, ifo="H1"):
    """A signal that is a function of GPS time, in the band of all sample rates used here."""
    time = start - GPS + np.arange(round(duration * rate)) / rate
    phase = {"H1": 0.1, "L1": 1.3, "V1": 2.0}[ifo]
    return 1e-21 * (
        np.cos(2 * np.pi * 50.25 * time + phase) + np.cos(2 * np.pi * 190.5 * time + 2 * phase)
    )


def write_gwpy(path, start, duration, rate, ifos=IFOS, holes=()):
    series = TimeSeriesDict()
    for ifo in ifos:
        values = tone(start, duration, rate, ifo)
        for low, high in holes:
            values[round((low - start) * rate) : round((high - start) * rate)] = np.nan
        series[ifo] = TimeSeries(values, t0=start, sample_rate=rate, name=ifo, channel=ifo)
    series.write(path, format="hdf5" if path.suffix != ".gwf" else "gwf", overwrite=True)


def write_gwosc(path, start, duration, rate, ifo):
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("strain/Strain", data=tone(start, duration, rate, ifo))
        dataset.attrs["Xstart"] = start
        dataset.attrs["Xspacing"] = 1 / rate
        dataset.attrs["Npoints"] = len(dataset)
        dataset.attrs["Yunits"] = ""
        dataset.attrs["Xunits"] = "second"
        file["meta/Detector"] = ifo
        file["meta/GPSstart"] = start
        file["meta/Duration"] = duration


def write_event(path, start, duration, rate, ifos=IFOS, name="GW1", after=20.0):
    with h5py.File(path, "w") as file:
        for ifo in ifos:
            file[f"{ifo}/strain"] = tone(start, duration, rate, ifo).astype(np.float32)
        file.attrs.update(
            gps_start=float(start), sample_rate=float(rate), duration=float(duration)
        )
        file.attrs.update(tgps=start + after, event=name)


@pytest.fixture
def settings(edited):
    """open-events with short whitening, at 512 Hz, nothing cut."""

    def write(**changes):
        base = {
            "sample_rate": 512,
            "lowpass": 200,
            "whitening__psd_length": 8,
            "strain__edge_fraction": 0.0,
            "strain__validation_fraction": 0.5,
        }
        return edited("open-events", **(base | changes))

    return write


def run(experiment, source, output):
    import_strain(experiment, source, output)
    return StrainIndex.read(output / "index.hdf5")


def check_tones(index, output):
    for name in index.path:
        segment = StrainSegment.read(output / name, IFOS)
        for ifo in IFOS:
            expected = tone(segment.gps_start, segment.duration, 512, ifo)
            assert np.abs(segment.strain[ifo] - expected).max() < 3e-4 * 1e-21


def spans(index):
    return list(zip(index.gps_start.tolist(), index.gps_stop.tolist(), strict=True))


@pytest.fixture
def four(tmp_path):
    """A folder of four gwpy files at 2048 Hz."""
    source = tmp_path / "source"
    source.mkdir()
    for i in range(4):
        write_gwpy(source / f"f{i}.hdf5", GPS + 100 * i, 40, 2048)
    return source


def test_gwpy_files_are_resampled_in_place(four, settings, tmp_path):
    index = run(settings(), four, tmp_path / "out")
    reach = 37 / 512
    for i, (start, stop) in enumerate(spans(index)):
        assert GPS + 100 * i < start <= GPS + 100 * i + reach
        assert GPS + 100 * i + 40 - reach <= stop < GPS + 100 * i + 40
    check_tones(index, tmp_path / "out")
    assert index.label == ["f0", "f1", "f2", "f3"]


def test_frames_gwosc_and_events_together(settings, tmp_path):
    source, output = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    write_gwosc(source / "H-H1_X-1000000000-40.hdf5", GPS, 40, 1024, "H1")
    write_gwosc(source / "L-L1_X-1000000010-40.hdf5", GPS + 10, 40, 4096, "L1")
    write_event(source / "event.h5", GPS + 100.4, 40, 512, name="GWX")
    for ifo in IFOS:
        write_gwpy(source / f"{ifo}.gwf", GPS + 200, 40, 1024, ifos=(ifo,))
    write_gwpy(source / "both.hdf5", GPS + 300, 40, 512)
    index = run(settings(), source, output)
    assert [round(s - GPS, 1) for s in index.gps_start] == [10.1, 100.4, 200.1, 300.0]
    assert [round(s - GPS, 1) for s in index.gps_stop] == [39.9, 140.4, 239.9, 340.0]
    check_tones(index, output)
    assert index.known_label == ["GWX"]
    assert index.known_time[0] == GPS + 120.4
    np.testing.assert_allclose(index.known_window, [[GPS + 118.4, GPS + 122.4]])


def test_gaps_split_and_short_pieces_go(four, settings, tmp_path, caplog):
    caplog.set_level("INFO")
    write_gwpy(
        four / "f1.hdf5", GPS + 100, 60, 2048,
        holes=[(GPS + 120, GPS + 121), (GPS + 126, GPS + 126.001)],
    )  # fmt: skip
    index = run(settings(), four, tmp_path / "out")
    assert index.label == ["f0", "f1", "f1", "f2", "f3"]
    assert 119.9 < index.gps_stop[1] - GPS < 120
    assert 126 < index.gps_start[2] - GPS < 126.1
    check_tones(index, tmp_path / "out")
    assert "dropped" in caplog.text
    # pieces of one file have one role
    assert (index.role[1] == index.role[2]).all()


def test_edges_are_cut(four, settings, tmp_path):
    index = run(settings(strain__edge_fraction=0.1), four, tmp_path / "out")
    assert index.gps_start[0] - GPS == pytest.approx(4, abs=0.08)
    assert index.gps_stop[0] - GPS == pytest.approx(36, abs=0.08)


def test_roles():
    roles = assign_roles(25, 2, 0.25)
    assert (roles[:4, 0] == [2, 0, 2, 0]).all()
    for fold in (0, 1):
        counts = np.bincount(roles[:, fold], minlength=3)
        assert counts[2] in (12, 13)
        assert counts[1] == 3
    # each file is searched exactly once
    assert ((roles == 2).sum(axis=1) == 1).all()
    assert (assign_roles(9, 3, 1 / 3)[:, 0] == [2, 0, 0, 2, 1, 0, 2, 0, 1]).all()
    # few files: one is for validation all the same
    assert sorted(assign_roles(4, 2, 0.1)[:, 0].tolist()) == [0, 1, 2, 2]
    with pytest.raises(ValueError, match="too few for 2 folds"):
        assign_roles(2, 2, 0.25)


def test_same_bytes_on_a_rerun_and_old_import_is_replaced(four, settings, tmp_path):
    experiment = settings()
    run(experiment, four, tmp_path / "out")
    first = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    run(experiment, four, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == first


def test_own_product_is_imported_unchanged(settings, tmp_path, smoke_strain):
    output = tmp_path / "out"
    index = run(settings(strain__edge_fraction=0.0), smoke_strain.parent, output)
    assert len(index.path) == 6
    own = StrainSegment.read(smoke_strain.parent / f"{index.label[0]}.hdf5")
    again = StrainSegment.read(output / index.path[0])
    assert (own.strain["H1"] == again.strain["H1"]).all()


def test_other_folders_are_not_replaced(four, settings, tmp_path, fails):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("x")
    arguments = ("import", "--experiment", settings(), "--source", four, "--output")
    assert "holds no strain-index" in fails(*arguments, precious)
    assert "would replace the source" in fails(*arguments, four)
    assert "would replace the source" in fails(*arguments, tmp_path)
    assert (precious / "thesis.tex").exists()
    assert len(list(four.iterdir())) == 4


@pytest.fixture
def refused(settings, tmp_path, fails):
    def check(source, **changes):
        message = fails(
            "import", "--experiment", settings(**changes), "--source", source,
            "--output", tmp_path / "out",
        )  # fmt: skip
        assert not (tmp_path / "out").exists()
        assert not list(tmp_path.glob(".*partial"))
        return message

    return check


def test_missing_or_empty_folder(refused, tmp_path):
    assert "no folder" in refused(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "holds no strain file" in refused(tmp_path / "empty")


def test_missing_detector(refused, tmp_path):
    (tmp_path / "s").mkdir()
    write_gwpy(tmp_path / "s" / "a.hdf5", GPS, 40, 512, ifos=("H1",))
    message = refused(tmp_path / "s")
    assert "no L1" in message
    assert "found H1, expected H1, L1" in message


def test_no_common_time(refused, tmp_path):
    (tmp_path / "s").mkdir()
    write_gwpy(tmp_path / "s" / "a.hdf5", GPS, 40, 512, ifos=("H1",))
    write_gwpy(tmp_path / "s" / "b.hdf5", GPS + 50, 40, 512, ifos=("L1",))
    assert "no time at which H1, L1 all are" in refused(tmp_path / "s")


@pytest.mark.parametrize("name", ["f2.hdf5", "f2.gwf"])
def test_broken_file_is_named(refused, four, name):
    content = (four / "f2.hdf5").read_bytes()
    (four / "f2.hdf5").unlink()
    for bad in (b"this is not HDF5", content[: len(content) // 2]):
        (four / name).write_bytes(bad)
        message = refused(four)
        assert name in message
        assert "truncated" in message


def test_hdf5_without_strain_is_named(refused, four):
    with h5py.File(four / "f2.hdf5", "w") as file:
        file["temperature"] = np.zeros(4)
    assert "f2.hdf5 holds no strain that is understood" in refused(four)


def test_nan_throughout(refused, four):
    write_gwpy(four / "f2.hdf5", GPS + 200, 40, 2048, holes=[(GPS + 200, GPS + 240)])
    message = refused(four)
    assert "f2.hdf5" in message
    assert "NaN throughout" in message


def test_all_pieces_too_short(refused, four):
    message = refused(four, whitening__psd_length=38)
    assert "as long as 40.5 s" in message


def test_overlapping_files(refused, four):
    shutil.copy(four / "f1.hdf5", four / "copy.hdf5")
    message = refused(four)
    assert "copy.hdf5" in message
    assert "f1.hdf5" in message
    assert "overlap" in message


def test_upsampling_and_odd_rates(refused, tmp_path):
    (tmp_path / "s").mkdir()
    for rate in (256, 768):
        write_gwpy(tmp_path / "s" / "a.hdf5", GPS, 40, rate)
        message = refused(tmp_path / "s")
        assert f"{rate} Hz, expected 512 Hz or a multiple" in message


def test_samples_out_of_step(refused, tmp_path):
    (tmp_path / "s").mkdir()
    write_gwpy(tmp_path / "s" / "a.hdf5", GPS, 40, 512, ifos=("H1",))
    write_gwpy(tmp_path / "s" / "b.hdf5", GPS + 0.5 / 512, 40, 512, ifos=("L1",))
    assert "fraction of a sample" in refused(tmp_path / "s")


def test_all_is_searched_where_the_experiment_has_other_strain_to_train_on(
    edited, four, tmp_path, caplog
):
    index = run(edited(lowpass=200.0), four, tmp_path / "simulated")
    assert (index.role == 2).all()
    assert index.role.shape == (4, 1)
    assert len(index.known_label) == 0
    check_tones(index, tmp_path / "simulated")
    assert "seen" not in caplog.text
    # real times of the training are named, those in no file are not
    spans = {"training": [GPS + 90, GPS + 201], "validation": [GPS + 500, GPS + 700]}
    strain = {"source": "fetch", "search": [GPS + 800, GPS + 999], **spans}
    index = run(edited(lowpass=200.0, strain=strain), four, tmp_path / "fetched")
    assert (index.role == 2).all()
    assert "f1, f2: holds times of the training of smoke" in caplog.text
    assert "validation" not in caplog.text


def test_one_file_is_imported(edited, four, tmp_path):
    index = run(edited(lowpass=200.0), four / "f1.hdf5", tmp_path / "out")
    assert index.label == ["f1"]
    check_tones(index, tmp_path / "out")


def test_real_event_files(real_data, tmp_path):
    experiment = ROOT / "configs" / "open-events"
    with pytest.raises(SystemExit) as stopped:
        main(
            f"import --experiment {experiment} --source {real_data / 'events'} "
            f"--output {tmp_path}/out".split()
        )
    assert stopped.value.code == 0
    index = StrainIndex.read(tmp_path / "out" / "index.hdf5")
    assert "GW150914" in index.known_label
    assert len(index.path) == len(list((real_data / "events").glob("*.hdf5")))
    row = index.label.index("GW150914")
    segment = StrainSegment.read(tmp_path / "out" / index.path[row])
    with h5py.File(real_data / "events" / "GW150914.hdf5") as file:
        first = round((segment.gps_start - file.attrs["gps_start"]) * 1024)
        raw = file["H1/strain"][first : first + segment.size]
    # its rate is the experiment's: the samples are the file's
    assert (segment.strain["H1"] == raw).all()
    assert first == round(0.05 * 131072)


def test_real_gwosc_files(real_data, settings, tmp_path):
    """Real files at 4096 Hz, against gwpy's reader and another way to resample."""
    source = tmp_path / "s"
    source.mkdir()
    for path in (real_data / "gwosc").glob("*4KHZ*.hdf5"):
        shutil.copy(path, source)
    with pytest.raises(ValueError, match=r"2 usable file\(s\) are too few"):
        import_strain(settings(sample_rate=1024), source, tmp_path / "out")
    from datagen.foreign import channels
    from datagen.import_strain import cut_and_resample, pair
    from runtime import load_experiment

    found = [channel for path in sorted(source.iterdir()) for channel in channels(path)]
    experiment = load_experiment(settings(sample_rate=1024))
    first, second = pair(found, IFOS, source)
    assert (first.gps_start, second.gps_start) == (1126259446, 1128678884)
    (segment,) = cut_and_resample(first, experiment)
    # scipy's resampling by Fourier transform, which knows no filter
    whole = TimeSeries.read(
        source / "H-H1_GWOSC_4KHZ_R2-1126259446-32.hdf5", format="hdf5.gwosc"
    ).value
    theirs = signal.resample(whole * signal.windows.tukey(len(whole), 0.1), 32 * 1024)
    offset = round((segment.gps_start - 1126259446) * 1024)
    sos = signal.butter(8, [40, 350], "bandpass", fs=1024, output="sos")
    band = [
        signal.sosfiltfilt(sos, values.astype(np.float64))[4096:-4096]
        for values in (segment.strain["H1"], theirs[offset : offset + segment.size])
    ]
    assert np.abs(band[0] - band[1]).max() < 1e-3 * np.abs(band[1]).max()


def test_a_band_wider_than_the_filter_leaves_is_refused(fails, settings, tmp_path):
    """Above it the PSD is next to nothing, and a signal divided by it next to infinite."""
    source = tmp_path / "source"
    source.mkdir()
    for i in range(8):
        write_gwpy(source / f"{i}.hdf5", GPS + 40 * i, 30, 1024)
    folders = ("--source", source, "--output", tmp_path / "out")
    for band in (None, 210.0):
        message = fails("import", "--experiment", settings(lowpass=band), *folders)
        assert f"lowpass is {band}, expected at most 209.92 Hz" in message
    run(settings(lowpass=209.0), source, tmp_path / "out")
