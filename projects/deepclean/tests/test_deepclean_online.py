import json
import time

import numpy as np
import pytest
from cleaning import Choice, Cleaner, Recording
from conftest import RATES, START
from deepclean.frames import list_frames, read_channels
from deepclean.frames.guarded import GuardedReader
from deepclean.models import Journal, Roles, load_version, read_roles
from deepclean.online.drops import Drops
from deepclean.online.listing import Listing
from deepclean.online.output import Output
from deepclean.online.service import OnlineCleaner
from deepclean.online.source import FrameSource, Stream

CHANNELS = [
    f"H1:GDS-CALIB_STRAIN_DEEPCLEAN_{name}"
    for name in ("PRODUCTION_OUT_DQ", "PRODUCTION", "CANARY")
]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def reader():
    with GuardedReader() as made:
        yield made


@pytest.fixture
def online(deployment, reader):
    """Make an online cleaner of the deployment, as a process begun anew would."""

    def make():
        folder = deployment.folder
        streams = [
            Stream("strain", folder / "frames/strain", {deployment.problem.strain_channel: 4096}),
            Stream("witnesses", folder / "frames/witness", RATES),
        ]
        clock = Clock()
        source = FrameSource(
            streams, Drops(folder / "drops.jsonl"), reader, patience=2.0, clock=clock
        )
        output = Output(folder / "cleaned", deployment.problem, folder / "early")
        journal = Journal(deployment.store / "journal.jsonl")
        made = OnlineCleaner(
            deployment.problem, source, output, deployment.store, journal, 4096, RATES
        )
        made.clock = clock
        return made

    return make


def run(cleaner, wait=False):
    """Let it do all it can; with `wait`, also what it can after its patience is over."""
    while cleaner.step() or (wait and _waited(cleaner)):
        pass


def _waited(cleaner):
    cleaner.clock.now += 3.0
    return cleaner.step()


def written(deployment):
    return {
        name.start - START: read_channels(name.path, CHANNELS)
        for name in list_frames(deployment.folder / "cleaned")
    }


def written_until(deployment, folder="cleaned"):
    """Last second in a folder of frames; None if there is none."""
    path = deployment.folder / folder
    names = list_frames(path) if path.is_dir() else []
    return names[-1].start - START if names else None


def offline(deployment, stop):
    """All in one go, from the frames, what was given up, and the versions that were used."""
    problem = deployment.problem
    drops = Drops(deployment.folder / "drops.jsonl")
    journal = Journal(deployment.store / "journal.jsonl")
    models = {0: None}

    def choose(second):
        roles = journal.at(second)
        for version in (roles.production, roles.canary):
            if version not in models:
                models[version] = load_version(deployment.store, version)
        return Choice(models[roles.production], models[roles.canary])

    recording = Recording(4096, RATES, 4096, START)
    cleaner = Cleaner(problem, recording, choose, START)
    for second in range(START, START + stop):
        strain = witnesses = None
        if ("strain", second) not in drops:
            path = deployment.frame("strain", second)
            strain = read_channels(path, [problem.strain_channel])[problem.strain_channel].values
        if ("witnesses", second) not in drops:
            found = read_channels(deployment.frame("witness", second), RATES)
            witnesses = {name: channel.values for name, channel in found.items()}
        recording.add(second, strain, witnesses)
    return {c.second - START: c for c in cleaner.advance()}


def assert_parity(deployment, stop):
    expected = offline(deployment, stop)
    found = written(deployment)
    assert sorted(found) == sorted(expected)
    rms = max(np.sqrt(np.mean((c.raw - c.production) ** 2)) for c in expected.values())
    for second, cleaned in expected.items():
        for name, wanted in zip(
            CHANNELS, (cleaned.out_dq, cleaned.production, cleaned.canary), strict=True
        ):
            difference = np.abs(found[second][name].values - wanted).max()
            assert difference <= 1e-6 * rms, (second, name)
    return expected


def test_online_is_offline(deployment, online):
    deployment.publish()
    deployment.write(0, 30)
    run(online())
    expected = assert_parity(deployment, 30)
    assert len(expected) == 28
    noise = expected[20].raw - expected[20].out_dq
    assert np.sqrt(np.mean(noise**2)) > 1e-24


def test_one_frame_at_a_time_and_early_frames(deployment, online):
    deployment.publish()
    cleaner = online()
    for second in range(14):
        deployment.write(second, second + 1)
        run(cleaner)
        # two seconds for all channels, one for production alone
        assert written_until(deployment, "cleaned") == (second - 2 if second > 1 else None)
        assert written_until(deployment, "early") == (second - 1 if second else None)
    expected = assert_parity(deployment, 14)
    for name in list_frames(deployment.folder / "early")[:-1]:
        values = read_channels(name.path, [CHANNELS[1]])[CHANNELS[1]].values
        difference = values - expected[name.start - START].production
        assert np.abs(difference).max() < 1e-30


def test_dropped_frames_are_given_up_and_it_goes_on(deployment, online):
    deployment.publish()
    deployment.write(0, 40, drop={15, 16, 17, 30})
    deployment.frame("strain", START + 24).unlink()
    cleaner = online()
    run(cleaner)
    # nothing is given up before its time
    assert not (deployment.folder / "drops.jsonl").exists()
    assert max(written(deployment)) == 12
    cleaner.clock.now += 3
    run(cleaner, wait=True)
    drops = [json.loads(x) for x in (deployment.folder / "drops.jsonl").read_text().splitlines()]
    assert [(d["kind"], d["second"] - START) for d in drops] == [
        *(("witnesses", i) for i in (15, 16, 17)),
        ("strain", 24),
        ("witnesses", 30),
    ]
    expected = assert_parity(deployment, 40)
    assert 24 not in expected
    assert expected[16].dropped


def test_a_late_frame_stays_given_up(deployment, online):
    deployment.publish()
    deployment.write(0, 20, drop={10})
    cleaner = online()
    run(cleaner)
    cleaner.clock.now += 3
    run(cleaner)
    # it comes after all, and the cleaner is begun anew
    deployment.write(10, 11)
    deployment.write(20, 26)
    again = online()
    run(again, wait=True)
    expected = assert_parity(deployment, 26)
    assert expected[10].dropped


@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "text"])
def test_a_corrupt_frame_is_a_dropped_one(deployment, online, damage):
    deployment.publish()
    deployment.write(0, 20)
    path = deployment.frame("witness", START + 12)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "noise":
        random = np.random.default_rng(1)
        for place in random.integers(200, len(content) - 200, 300):
            content[place] ^= 0xFF
    elif damage == "empty":
        content = bytearray()
    else:
        content = bytearray(b"not a frame at all\n" * 100)
    path.write_bytes(bytes(content))
    cleaner = online()
    run(cleaner)
    cleaner.clock.now += 3
    run(cleaner, wait=True)
    expected = assert_parity(deployment, 20)
    assert expected[12].dropped
    assert sorted(expected) == list(range(18))


@pytest.mark.parametrize("ends", [[3], [9, 10, 11], [14, 15, 16, 17, 18, 19], [22, 23, 24]])
def test_restarts_change_nothing(deployment, online, ends):
    deployment.publish()
    deployment.write(0, 30, drop={16})
    for end in ends:
        cleaner = online()
        while True:
            if not cleaner.step():
                cleaner.clock.now += 3
                if not cleaner.step():
                    break
            done = written_until(deployment)
            if done is not None and done >= end:
                break
    last = online()
    run(last, wait=True)
    expected = assert_parity(deployment, 30)
    assert sorted(expected) == list(range(28))


def test_models_are_swapped_and_a_restart_uses_what_was_used(deployment, online):
    deployment.publish()
    deployment.write(0, 16)
    cleaner = online()
    run(cleaner)
    # a canary comes, then is promoted, with a restart in between
    second = deployment.publish(gain=0.9, promote=False)
    deployment.write(16, 22)
    run(cleaner)
    assert read_roles(deployment.store) == Roles(production=1, canary=second)
    from deepclean.models import set_state

    set_state(deployment.store, second, "production", "test")
    cleaner = online()
    deployment.write(22, 36)
    run(cleaner)
    expected = assert_parity(deployment, 36)
    versions = [expected[i].production_version for i in range(34)]
    assert versions[0] == 1
    assert versions[-1] == second
    assert sorted(versions) == versions
    canaries = [expected[i].canary_version for i in range(34)]
    assert second in canaries
    # the hand-over makes no step
    noise = np.concatenate([expected[i].raw - expected[i].production for i in range(10, 34)])
    usual = np.abs(np.diff(noise[: 4096 * 4])).max()
    assert np.abs(np.diff(noise)).max() < 1.5 * usual


def test_a_broken_version_is_not_used(deployment, online):
    deployment.publish()
    deployment.write(0, 14)
    cleaner = online()
    run(cleaner)
    broken = deployment.publish(gain=0.9)
    path = deployment.store / f"{broken:04d}" / "layer-0.pt"
    path.write_bytes(path.read_bytes()[:-10])
    deployment.write(14, 20)
    run(cleaner)
    assert Journal(deployment.store / "journal.jsonl").at(START + 19).production == 1
    assert_parity(deployment, 20)


def test_a_folder_shows_each_frame_as_soon_as_it_is_there(tmp_path):
    listing = Listing(tmp_path)
    # whatever the clock of the file system
    for second in range(200):
        (tmp_path / f"H-STRAIN-{START + second}-1.gwf").touch()
        assert max(listing.frames(START)) == START + second
        if second in (50, 150):
            time.sleep(0.1)
            assert max(listing.frames(START)) == START + second
    for name in ("H-STRAIN-1000000300-64.gwf", ".H-STRAIN-1000000301-1.gwf.partial", "x"):
        (tmp_path / name).touch()
    (tmp_path / f"H-STRAIN-{START}-1.gwf").unlink()
    assert set(listing.frames(0)) == {START + i for i in range(1, 200)}
    assert set(listing.frames(START + 198)) == {START + 198, START + 199}
