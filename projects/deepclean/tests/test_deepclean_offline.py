"""Long spans: in pieces, by several processes, from and to both formats, layer by layer."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from cleaning import (
    BandPass,
    LinearFilter,
    Resampler,
    Series,
    fit_wiener,
    load_cleaning_experiment,
)
from conftest import PROBLEM, RATES, START
from deepclean.frames import (
    FrameFolder,
    GuardedReader,
    MissingChannelError,
    frame_name,
    list_frames,
    read_channels,
    write_frame,
)
from deepclean.frames.reading import channel_names
from deepclean.models import Journal, Roles, load_version
from deepclean.models import publish as publish_version
from deepclean.online.output import DROPPED
from deepclean.pieces import Order, choose_devices, clean_span, cut
from deepclean.verbs import clean, collect, publish, report, simulate
from gwpy.timeseries import TimeSeriesDict
from ledger import WitnessSet

RATE = 4096


def order(deployment, output, **changes):
    output.mkdir()
    # FrameLib writes the time of day into its files; those of HDF5 are the same at any time
    given = {"frame_length": 8, "version": 1, "format": "hdf5"} | changes
    frames = given.pop("frames", deployment.folder / "frames")
    return Order(deployment.problem, frames, deployment.store, output, **given)


def experiment(folder, start=START + 20, duration=32, **changes):
    content = {
        "name": "small",
        "seed": 3,
        "training": {"start": START - 1000, "duration": 20},
        "evaluation": {"start": start, "duration": duration},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content | changes))
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def samples(folder, start, stop):
    """All samples of a folder of cleaned frames, by channel."""
    names = sorted(channel_names(list_frames(folder)[0].path))
    with GuardedReader() as reader:
        found = FrameFolder(folder, names, reader)
        seconds = [found.second(second) for second in range(start, stop)]
    return {name: np.concatenate([second[name] for second in seconds]) for name in names}


def test_a_span_is_cut_at_multiples():
    assert cut(10, 30, 8) == [(10, 16), (16, 24), (24, 30)]
    assert cut(16, 24, 8) == [(16, 24)]
    assert cut(17, 18, 8) == [(17, 18)]


def test_the_number_of_processes_changes_no_byte(deployment):
    # cuts at 32 and 48: witnesses missing just before one, just after the other
    deployment.write(0, 62, drop={31, 48})
    deployment.frame("strain", START + 40).unlink()
    deployment.publish()
    folder = deployment.folder
    span = (START + 20, START + 60)
    for name, devices in (("one", ["cpu"]), ("three", ["cpu"] * 3)):
        number = clean_span(order(deployment, folder / name), *span, devices, shortest=16)
        assert number == len(list((folder / name).iterdir()))
    one = contents(folder / "one")
    assert list(one) == [
        f"H-DEEPCLEAN-{START + first}-{length}.hdf5"
        for first, length in ((20, 4), (24, 8), (32, 8), (41, 7), (48, 8), (56, 4))
    ]
    assert contents(folder / "three") == one
    # a piece is what it would be in one go
    clean_span(order(deployment, folder / "whole"), *span, ["cpu"])
    for start, stop in ((20, 40), (41, 60)):
        cut_up, whole = (
            samples(folder / name, START + start, START + stop) for name in ("one", "whole")
        )
        for name, values in whole.items():
            noise = 1e-24 if values.dtype == np.float64 else 0.5
            np.testing.assert_allclose(cut_up[name], values, rtol=0, atol=1e-6 * noise)


def test_hdf5_gives_what_gwf_gives(deployment):
    """Bit for bit, read from either format and written to either; what is broken is missing."""
    deployment.write(0, 40, drop={25, 29})
    deployment.publish()
    folder = deployment.folder
    for kind, names in (("strain", [deployment.problem.strain_channel]), ("witness", RATES)):
        other = folder / "frames-hdf5" / kind
        other.mkdir(parents=True)
        for frame in list_frames(folder / "frames" / kind):
            values = {n: c.values for n, c in read_channels(frame.path, names).items()}
            path = other / frame_name("H", kind.upper(), frame.start, 1, "hdf5")
            write_frame(path, frame.start, 1, values)
    holes = {name: np.zeros(rate, dtype=np.float32) for name, rate in RATES.items()}
    holes["H1:PITCH_DQ"][7] = np.nan
    for second in (25, 29):
        path = other / frame_name("H", "WITNESS", START + second, 1, "hdf5")
        write_frame(path, START + second, 1, holes)
    path.write_bytes(path.read_bytes()[:3000])
    experiment(folder, duration=18)
    for name, source, format in (
        ("one", "frames", "gwf"),
        ("two", "frames-hdf5", "gwf"),
        ("three", "frames-hdf5", "hdf5"),
    ):
        clean(folder, folder / source, deployment.store, folder / name, format=format)
    one, two, three = (
        samples(folder / name, START + 20, START + 38) for name in ("one", "two", "three")
    )
    assert one.keys() == two.keys() == three.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(two[name], values)
        np.testing.assert_array_equal(three[name], values)
    state = one["H1:DEEPCLEAN-STATE"].reshape(18, -1)[:, 0]
    assert np.flatnonzero(state & DROPPED).tolist() == [5, 9]
    assert all(path.suffix == ".hdf5" for path in (folder / "three").iterdir())
    for name in ("one", "three"):
        paths = [str(path) for path in sorted((folder / name).iterdir())]
        found = TimeSeriesDict.read(paths, list(one))
        for channel, values in one.items():
            np.testing.assert_array_equal(found[channel].value, values)


@pytest.mark.parametrize("format", ["gwf", "hdf5"])
def test_versions_that_change_within_a_long_frame_are_told(deployment, format):
    deployment.write(0, 34)
    deployment.publish()
    deployment.publish(gain=0.9, promote=False)
    folder = deployment.folder
    recorded = folder / "recorded"
    journal = Journal(recorded / "journal.jsonl")
    journal.add(START, Roles(production=1, canary=0))
    journal.add(START + 25, Roles(production=1, canary=2))
    journal.add(START + 28, Roles(production=2, canary=0))
    experiment(folder, start=START + 16, duration=16)
    clean(
        folder,
        folder / "frames",
        deployment.store,
        folder / "cleaned",
        frame_length=16,
        recorded=recorded,
        format=format,
    )
    (path,) = (folder / "cleaned").iterdir()
    names = [f"H1:DEEPCLEAN-{name}" for name in ("VERSION_PRODUCTION", "VERSION_CANARY", "STATE")]
    found = read_channels(path, names)
    production, canary, state = (found[name].values.reshape(16, -1) for name in names)
    assert (production == production[:, :1]).all()
    assert production[:, 0].tolist() == [1] * 12 + [2] * 4
    assert canary[:, 0].tolist() == [0] * 9 + [2] * 3 + [0] * 4
    assert (state[:, 0] & 1).all()
    if format == "hdf5":
        import h5py

        with h5py.File(path) as file:
            changes = json.loads(file.attrs["deepclean_versions"])
            assert json.loads(file.attrs["deepclean"])["problem"] == "60Hz-H1"
        seconds = [change["second"] - START for change in changes]
        assert seconds == [16, 25, 28]
        assert [c["production"] for c in changes] == [1, 1, 2]
    else:
        # the text of a frame's history
        content = path.read_bytes()
        for second in (16, 25, 28):
            assert f'{{"second": {START + second}, '.encode() in content


def test_an_error_in_a_process_ends_all_and_leaves_nothing(deployment):
    deployment.write(0, 60)
    deployment.publish()
    folder = experiment(deployment.folder)
    (network,) = (deployment.store / "0001").glob("layer-*.pt")
    network.write_bytes(network.read_bytes()[:-1])
    given = (folder, folder / "frames", deployment.store, folder / "cleaned")
    with pytest.raises(ValueError, match="not what the manifest says"):
        clean(*given, frame_length=16, stop=START + 300, workers=2)
    assert not (folder / "cleaned").exists()
    assert not list(folder.glob(".*cleaned*"))


def test_a_process_that_is_killed_ends_all(deployment, monkeypatch):
    deployment.write(0, 3)
    deployment.publish()
    before = set(children())

    def kill():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for pid in set(children()) - before:
                if b"spawn_main" in command(pid):
                    os.kill(pid, signal.SIGKILL)
                    return
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(ValueError, match="ended from outside"):
        clean_span(
            order(deployment, deployment.folder / "out"),
            START,
            START + 64,
            ["cpu", "cpu"],
            shortest=16,
        )
    thread.join()


def children():
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def test_a_missing_channel_is_named_before_anything_is_cleaned(deployment):
    deployment.write(0, 4)
    deployment.publish()
    folder = experiment(deployment.folder)
    layer = PROBLEM["layers"][0]
    layer = layer | {"witnesses": [*layer["witnesses"], "YAW_DQ", "ROLL_DQ"]}
    (folder / "problem.yaml").write_text(yaml.safe_dump(PROBLEM | {"layers": [layer]}))
    with pytest.raises(MissingChannelError, match="H1:YAW_DQ, H1:ROLL_DQ"):
        clean(folder, folder / "frames", deployment.store, folder / "cleaned")
    with pytest.raises(MissingChannelError, match="H1:YAW_DQ, H1:ROLL_DQ"):
        collect(folder, folder / "frames", folder / "witnesses.hdf5")


def test_several_processes_share_a_server_or_none(deployment):
    folder = experiment(deployment.folder)
    given = (folder, folder / "frames", deployment.store, folder / "cleaned")
    with pytest.raises(ValueError, match="give --server"):
        clean(*given, transport="triton", repository=folder, workers=2)


def test_the_devices_are_those_that_are_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_devices() == ["cpu"]
    assert choose_devices(workers=3) == ["cpu"] * 3
    with pytest.raises(ValueError, match="cuda:0: not there, found cpu"):
        choose_devices(["cpu", "cuda:0"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_devices() == ["cuda:0", "cuda:1"]
    assert choose_devices(["cuda:1"], 2) == ["cuda:1", "cuda:1"]
    with pytest.raises(ValueError, match="nothing would be cleaned"):
        choose_devices(workers=0)


LAYERS = {
    "name": "layers-H1",
    "ifo": "H1",
    "layers": [
        {"bands": [[55, 65]], "witnesses": ["MAINS_DQ"], "sample_rate": 512},
        {"bands": [[55, 65], [115, 125]], "witnesses": ["FAN_DQ", "HUM_DQ"], "sample_rate": 512},
    ],
}
SOURCES = {
    "seed": 5,
    "sources": {
        "mains": {"kind": "mains"},
        "hum": {"kind": "motion", "band": [57, 63]},
        "fan": {"kind": "motion", "band": [118, 122]},
    },
    "witnesses": {
        "MAINS_DQ": {"source": "mains", "rate": 1024, "noise": 1e-3},
        "HUM_DQ": {"source": "hum", "rate": 512, "noise": 1e-3},
        "FAN_DQ": {"source": "fan", "rate": 512, "noise": 1e-3},
    },
    "couplings": [
        {"sources": ["mains"], "size": 30.0, "delay": 0.002},
        {"sources": ["hum"], "size": 10.0, "delay": 0.003},
        {"sources": ["fan"], "size": 10.0, "at": 120.0},
    ],
}


def train(witnesses, layer, folder):
    """The best linear filter, as a run folder of `train` would have it."""
    found = WitnessSet.read(witnesses)
    rate = layer.sample_rate
    series = Series(found.strain, found.strain_rate, int(found.gps_start) * found.strain_rate)
    bands = BandPass(layer.bands, rate)(Resampler(found.strain_rate, rate)(series))
    offset = bands.first - int(found.gps_start) * rate
    seen = found.witness[:, offset : offset + bands.size].astype(np.float64)
    folder.mkdir()
    torch.jit.script(fit_wiener(seen, bands.values, rate, length=0.15)).save(
        str(folder / "model.pt")
    )
    (folder / "model.yaml").write_text(yaml.safe_dump({"measures": {}}))
    return found


def test_layers_learn_and_clean_one_after_the_other(tmp_path):
    (tmp_path / "problem.yaml").write_text(yaml.safe_dump(LAYERS))
    (tmp_path / "simulation.yaml").write_text(yaml.safe_dump(SOURCES))
    experiment(
        tmp_path,
        START,
        40,
        simulation="simulation.yaml",
        training={"start": START - 1000, "duration": 96},
    )
    settings = load_cleaning_experiment(tmp_path)
    layers = settings.load_problem().layers
    for span in ("training", "evaluation"):
        simulate(tmp_path, tmp_path / span, span, 32)
    runs, left = [], []
    for i, layer in enumerate(layers):
        path = tmp_path / f"witnesses-{i}.hdf5"
        collect(tmp_path, tmp_path / "training", path, i, list(runs))
        runs.append(tmp_path / f"run-{i}")
        left.append(train(path, layer, runs[-1]).strain)
    # the second layer is taught on what the first has left
    around = BandPass(((59.5, 60.5),), RATE)
    power = [np.square(around(Series(strain, RATE, 0)).values).mean() for strain in left]
    assert power[1] < 0.1 * power[0]
    store = tmp_path / "models"
    publish(tmp_path, runs, store, promote=True)
    frames = tmp_path / "evaluation"
    clean(tmp_path, frames, store, tmp_path / "cleaned", format="hdf5")
    report(tmp_path, frames, tmp_path / "cleaned", tmp_path / "report", frames / "truth")
    found = json.loads((tmp_path / "report" / "summary.json").read_text())
    ratio = found["asd_ratio"]
    assert ratio["optimum"] < 0.6
    assert ratio["production"] == pytest.approx(ratio["optimum"], rel=0.1)
    assert found["gate"]["good"] == 40
    assert {(c["layer"], c["channel"]) for c in found["coherence"]} == {
        (0, "H1:MAINS_DQ"),
        (1, "H1:FAN_DQ"),
        (1, "H1:HUM_DQ"),
    }
    for coherence in found["coherence"]:
        assert coherence["highest_before"] > 0.9
        assert coherence["after"] < 0.5 * coherence["before"]
    # the first layer alone leaves what it cannot know of
    with pytest.raises(ValueError, match="1 networks for the 2 layers"):
        publish(tmp_path, runs[:1], store)


def test_seconds_that_are_not_analysed_are_cleaned_counted_and_left_out(deployment):
    """A lock is lost for six seconds: a mean density would show nothing else."""
    state, folder = "H1:STATE", deployment.folder
    deployment.publish()
    experiment(folder, duration=30)
    lost = range(33, 39)
    for name in ("lost", "held"):
        (folder / name / "strain").mkdir(parents=True)
        (folder / name / "witness").mkdir()
        made = deployment.plant(START, START + 54)
        strain = made.strain.copy()
        if name == "lost":
            strain[lost.start * RATE : lost.stop * RATE] *= 1000
        for i in range(54):
            second = START + i
            values = np.ascontiguousarray(strain[i * RATE : (i + 1) * RATE])
            path = folder / name / "strain" / frame_name("H", "STRAIN", second)
            write_frame(path, second, 1, {deployment.problem.strain_channel: values})
            seen = {
                n: np.ascontiguousarray(made.witnesses[n][i * rate : (i + 1) * rate])
                for n, rate in RATES.items()
            }
            seen[state] = np.full(16, 3, dtype=np.int32)
            if name == "lost" and i in lost:
                # in some of its samples is enough
                seen[state][5:] = 1
            path = folder / name / "witness" / frame_name("H", "WITNESS", second)
            write_frame(path, second, 1, seen)
    (folder / "problem.yaml").write_text(yaml.safe_dump(PROBLEM | {"state": "STATE"}))
    found = {}
    for name in ("lost", "held"):
        cleaned = folder / f"{name}-cleaned"
        clean(folder, folder / name, deployment.store, cleaned)
        assert len(samples(cleaned, START + 20, START + 50)["H1:DEEPCLEAN-STATE"]) == 30 * 16
        report(folder, folder / name, cleaned, folder / f"{name}-report")
        text = (folder / f"{name}-report" / "summary.json").read_text()
        found[name] = json.loads(text)
    assert (found["lost"]["seconds"], found["lost"]["analysed"]) == (30, 24)
    assert (found["held"]["seconds"], found["held"]["analysed"]) == (30, 30)
    ratios = [found[name]["asd_ratio"]["production"] for name in ("lost", "held")]
    assert ratios[0] == pytest.approx(ratios[1], rel=0.1)
    ranges = [found[name]["range_mpc"]["before"] for name in ("lost", "held")]
    assert ranges[0] == pytest.approx(ranges[1], rel=0.1)
    assert "6 s more are not analysed" in (folder / "lost-report" / "index.html").read_text()
    # nothing but such seconds is nothing to report on
    with pytest.raises(ValueError, match="6 s have raw and cleaned strain, 0 of them"):
        report(
            folder,
            folder / "lost",
            folder / "lost-cleaned",
            folder / "none",
            start=START + lost.start,
            stop=START + lost.stop,
        )


def test_a_witness_that_is_too_slow_is_named_before_it_is_learned_from(deployment):
    folder = experiment(deployment.folder, training={"start": START - 1000, "duration": 4})
    for i in range(-1001, -995):
        second = START + i
        values = {deployment.problem.strain_channel: np.zeros(RATE)}
        write_frame(deployment.frame("strain", second), second, 1, values)
        values = {"H1:MAINS_DQ": np.zeros(1024), "H1:PITCH_DQ": np.zeros(2)}
        write_frame(deployment.frame("witness", second), second, 1, values)
    with pytest.raises(ValueError, match=r"H1:PITCH_DQ \(2 Hz\)"):
        collect(folder, folder / "frames", folder / "witnesses.hdf5")


def test_more_than_ten_layers_keep_their_order(tmp_path):
    layer = PROBLEM["layers"][0] | {"witnesses": ["A_DQ"]}
    path = tmp_path / "problem.yaml"
    path.write_text(yaml.safe_dump(PROBLEM | {"layers": [layer] * 12}))
    networks = []
    for i in range(12):
        networks.append(tmp_path / f"{i}.pt")
        network = LinearFilter(torch.full((1, 1), 1.0 + i), torch.ones(1), 1.0)
        torch.jit.script(network).save(str(networks[-1]))
    version = publish_version(tmp_path / "models", path, networks, (START, START + 1))
    loaded = load_version(tmp_path / "models", version).estimator
    gains = [layer.predictor.predict(np.ones((1, 4)), 0)[0] for layer in loaded.layers]
    assert gains == [1.0 + i for i in range(12)]
