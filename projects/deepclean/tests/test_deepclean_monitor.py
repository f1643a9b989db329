import numpy as np
from conftest import START
from deepclean.frames import frame_name, list_frames, read_channels, write_frame
from deepclean.models import list_versions, load_version, read_roles
from deepclean.online.monitor import Monitor
from deepclean.online.storage import ColdStorage, prune
from deepclean.online.telemetry import Telemetry
from deepclean.online.verdict import Rules
from test_deepclean_verdict import record


def states(deployment):
    return {m.version: m.state for m in list_versions(deployment.store)}


def monitor(deployment):
    return Monitor(deployment.store, Telemetry(deployment.folder / "telemetry"), Rules(trial=24))


def feed(watch, first, number, **changes):
    for second in range(first, first + number):
        watch.telemetry.add(record(second, **changes))


def test_a_version_lives_from_canary_to_production_to_retirement(deployment):
    watch = monitor(deployment)
    first = deployment.publish(promote=False)
    feed(watch, START, 20, canary=first, production=0, ratios=())
    watch.step()
    assert states(deployment) == {first: "canary"}
    feed(watch, START + 20, 10, canary=first, production=0, ratios=())
    watch.step()
    assert states(deployment) == {first: "production"}
    second = deployment.publish(promote=False)
    feed(watch, START + 30, 30, production=first, canary=second)
    watch.step()
    assert states(deployment) == {first: "retired", second: "production"}
    assert read_roles(deployment.store).canary == 0


def test_one_version_is_on_trial(deployment):
    first, second = deployment.publish(promote=False), deployment.publish(promote=False)
    assert states(deployment) == {first: "retired", second: "canary"}
    assert read_roles(deployment.store).canary == second


def test_a_harmful_canary_is_rejected_and_the_next_is_judged_on_its_own(deployment):
    watch = monitor(deployment)
    first = deployment.publish()
    bad = deployment.publish(promote=False)
    feed(watch, START, 10, production=first, canary=bad, ratio=1.2)
    watch.step()
    assert states(deployment)[bad] == "rejected"
    assert read_roles(deployment.store).production == first
    good = deployment.publish(promote=False)
    # seconds in which the bad one was on trial say nothing about the good one
    watch.step()
    assert states(deployment)[good] == "canary"
    feed(watch, START + 10, 25, production=first, canary=good)
    watch.step()
    assert states(deployment)[good] == "production"


def test_production_in_trouble_gives_way_to_the_one_before(deployment):
    watch = monitor(deployment)
    first, second = deployment.publish(), deployment.publish()
    assert states(deployment) == {first: "retired", second: "production"}
    feed(watch, START, 30, production=second, canary=0, good=False)
    watch.step()
    assert states(deployment) == {first: "production", second: "rejected"}
    # with none before it, raw strain
    feed(watch, START + 30, 30, production=first, canary=0, good=False)
    watch.step()
    assert states(deployment)[first] == "rejected"
    assert read_roles(deployment.store).production == 0
    # and no version was ever removed
    for version in (first, second):
        assert load_version(deployment.store, version).version == version


def write(folder, seconds):
    folder.mkdir(exist_ok=True)
    for second in seconds:
        values = np.full(16, float(second))
        name = frame_name("H", "DEEPCLEAN", second)
        write_frame(folder / name, second, 1, {"H1:A": values})


def test_the_newest_frames_stay(tmp_path):
    write(tmp_path / "cleaned", range(100, 120))
    assert prune(tmp_path / "cleaned", 5) == 15
    assert [n.start for n in list_frames(tmp_path / "cleaned")] == list(range(115, 120))


def test_long_stretches_are_stored_before_their_frames_go(tmp_path):
    cleaned, cold = tmp_path / "cleaned", ColdStorage(tmp_path / "cold", length=10)
    write(cleaned, [s for s in range(103, 126) if s != 115])
    stored = cold.collect(cleaned)
    assert stored == 120
    assert [(n.start, n.duration) for n in list_frames(cold.folder)] == [
        (103, 7),
        (110, 5),
        (116, 4),
    ]
    name = list_frames(cold.folder)[1]
    values = read_channels(name.path, ["H1:A"])["H1:A"].values
    np.testing.assert_array_equal(values, np.repeat(np.arange(110.0, 115), 16))
    # done again, nothing changes
    before = {n.path: n.path.stat().st_mtime_ns for n in list_frames(cold.folder)}
    cold.collect(cleaned)
    assert {n.path: n.path.stat().st_mtime_ns for n in list_frames(cold.folder)} == before
    # nor where only some of the frames that were joined are left
    prune(cleaned, 20, before=stored)
    assert list_frames(cleaned)[0].start == 105
    cold.collect(cleaned)
    assert {n.path: n.path.stat().st_mtime_ns for n in list_frames(cold.folder)} == before
    # what is not stored yet is not removed, however full the carousel
    prune(cleaned, 1, before=stored)
    assert [n.start for n in list_frames(cleaned)] == list(range(120, 126))
