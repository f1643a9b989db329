import collections
import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from cleaning import LinearFilter
from conftest import PROBLEM, SIMULATION, START
from deepclean.__main__ import VERBS
from deepclean.frames import list_frames, read_channels
from deepclean.live import turn
from deepclean.live.supervisor import Service, Supervisor
from deepclean.live.verbs import play, status
from deepclean.locking import alone
from deepclean.models import list_versions, set_state
from deepclean.online.drops import Drops
from deepclean.play import Player, draw_fault
from deepclean.trainer import Trainer
from deepclean.trainings import Trainings
from deepclean.verbs import clean, monitor, online
from runtime import command_line
from test_deepclean_online import CHANNELS

FORK = multiprocessing.get_context("fork")
STOP = START + 60


@pytest.fixture
def experiment(deployment):
    """A folder as `configs/` has them."""
    folder = deployment.folder / "experiment"
    folder.mkdir()
    content = {
        "name": "small",
        "simulation": "simulation.yaml",
        "training": {"start": START - 1000, "duration": 16},
        "evaluation": {"start": START, "duration": STOP - START},
    }
    files = {"experiment": content, "problem": PROBLEM}
    files["simulation"] = SIMULATION | {"drop_rate": 0.03}
    for name, values in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))
    return folder


class Time:
    """Time that passes only where somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def player(deployment, folder, **options):
    clock = Time()
    return Player(
        deployment.plant,
        deployment.problem,
        folder,
        START,
        clock=clock,
        sleep=clock.sleep,
        **options,
    )


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*/*.gwf"))}


def test_frames_come_when_their_second_is_over(deployment, tmp_path):
    made = player(deployment, tmp_path / "played", rate=4.0)
    seen = {}
    sleep = made.sleep

    def look(seconds):
        seen[made.clock()] = len(list_frames(tmp_path / "played" / "strain"))
        sleep(seconds)

    made.sleep = look
    made.play(START + 5)
    assert seen == {0.0: 0, 0.25: 1, 0.5: 2, 0.75: 3, 1.0: 4}
    assert [n.start for n in list_frames(tmp_path / "played" / "strain")] == [
        START + i for i in range(5)
    ]


def test_a_player_goes_on_where_it_was(deployment, tmp_path):
    options = {"rate": float("inf"), "faults": 0.3, "seed": 4}
    player(deployment, tmp_path / "whole", **options).play(START + 40)
    for stop in (1, 2, 3, 9, 17, 24, 40):
        player(deployment, tmp_path / "parts", **options).play(START + stop)
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    assert list(whole) == list(parts)
    kinds = {
        fault.kind
        for folder in ("strain", "witness")
        for i in range(40)
        if (fault := draw_fault(4, folder, START + i, 0.3))
    }
    assert kinds == {"late", "corrupt", "duplicate"}
    # all but the last have come, however late
    present = {n.start - START for n in list_frames(tmp_path / "whole" / "strain")}
    assert present >= set(range(36))


def test_played_frames_are_those_of_the_simulation(deployment, tmp_path):
    player(deployment, tmp_path, rate=float("inf")).play(START + 20)
    made = deployment.plant(START, START + 20)
    name = deployment.problem.strain_channel
    found = [read_channels(n.path, [name])[name].values for n in list_frames(tmp_path / "strain")]
    np.testing.assert_allclose(np.concatenate(found), made.strain, rtol=0, atol=1e-30)


def begin(verb, **options):
    def work():
        os.setsid()
        verb(**options)

    process = FORK.Process(target=work)
    process.start()
    return process


def assert_as_offline(root, experiment, store, stop):
    """Cleaned frames are complete and what cleaning the same frames in one go gives.

    Returns:
        The strain of seconds that were not cleaned; the largest difference, in units of the
        noise's rms.
    """
    clean(experiment, root / "frames", store, root / "offline", 0, START, stop, 1, recorded=root)
    drops = Drops(root / "drops.jsonl")
    lost = {second for second in range(START, stop) if ("strain", second) in drops}
    online_frames = list_frames(root / "cleaned")
    seconds = [name.start for name in online_frames]
    assert seconds == sorted(set(range(START, stop)) - lost)
    assert [name.start for name in list_frames(root / "offline")] == seconds
    versions = "H1:DEEPCLEAN-VERSION_CANARY"
    found = {n.start: read_channels(n.path, [*CHANNELS, versions]) for n in online_frames}
    expected = {n.start: read_channels(n.path, CHANNELS) for n in list_frames(root / "offline")}
    noise = [f[CHANNELS[2]].values - f[CHANNELS[1]].values for f in expected.values()]
    rms = np.sqrt(np.mean(np.square(noise)))
    assert rms > 1e-24
    largest = 0.0
    for second in seconds:
        for name in CHANNELS:
            difference = found[second][name].values - expected[second][name].values
            assert np.abs(difference).max() <= 1e-6 * rms, (second, name)
            largest = max(largest, np.abs(difference).max() / rms)
    # without a canary its channel is the strain as it came; one that goes is faded out
    without = {second for second in seconds if found[second][versions].values[0] == 0}
    return {s: found[s][CHANNELS[2]].values for s in without if s - 1 in without}, largest


def kill_group(process):
    """Kill a process with all that it has begun, as a guard does."""
    # one that was just forked leads no group yet, and has begun nothing
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()


class Kills:
    """Runs verbs side by side, kills one at random again and again, and begins it again.

    Args:
        verbs: What begins each, by its name.
        seed: Of which is killed when.
    """

    def __init__(self, verbs, seed):
        self.verbs = verbs
        self.chance = random.Random(seed)
        self.running = {name: verb() for name, verb in verbs.items()}
        self.number = collections.Counter()

    def kill_one(self):
        name = self.chance.choice(list(self.verbs))
        process = self.running[name]
        if process.is_alive():
            kill_group(process)
            self.number[name] += 1
        process.join()
        if process.exitcode != 0:
            self.running[name] = self.verbs[name]()

    def done(self, name):
        return self.running[name].exitcode == 0

    def end(self):
        for process in self.running.values():
            if process.is_alive():
                kill_group(process)
            process.join()


def kill_at_random(kills, folder, limit, at_times):
    """Let the verbs work, and kill them, until the cleaner is done.

    Args:
        kills: The verbs.
        folder: Where the cleaner writes.
        limit: Longest time that it may take [s].
        at_times: Called with the number of frames that are written.
    """
    deadline = time.monotonic() + limit
    chance = kills.chance
    try:
        while not kills.done("cleaner"):
            assert time.monotonic() < deadline, "no progress"
            written = len(list_frames(folder)) if folder.is_dir() else 0
            at_times(written)
            aim = written + chance.randint(1, 8)
            pause = time.monotonic() + 4
            while time.monotonic() < pause and kills.running["cleaner"].is_alive():
                if folder.is_dir() and len(list_frames(folder)) >= aim:
                    break
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.05))
            kills.kill_one()
    finally:
        kills.end()


def verbs_of(experiment, root, store, stop, trial=100):
    """Player, cleaner and monitor, ten times as fast as time and not without faults."""
    return {
        "player": lambda: begin(
            play,
            experiment=experiment,
            output=root / "frames",
            rate=10.0,
            duration=stop - START,
            faults=0.05,
            seed=2,
        ),
        "cleaner": lambda: begin(
            online,
            experiment=experiment,
            frames=root / "frames",
            store=store,
            output=root,
            patience=0.3,
            until=stop - 3,
        ),
        "monitor": lambda: begin(
            monitor,
            store=store,
            output=root,
            cold_storage=root / "cold",
            trial=trial,
            carousel=1000,
            storage_length=16,
            period=0.1,
        ),
    }


def assert_nothing_lost(deployment, experiment, stop):
    """What was cleaned is all that could be, in its place, as cleaned offline.

    Returns:
        The largest difference, in units of the noise's rms.
    """
    root = deployment.folder
    raw, largest = assert_as_offline(root, experiment, deployment.store, stop)
    assert len(raw) > 20
    made = deployment.plant(START, stop).strain.reshape(-1, 4096)
    for second, values in raw.items():
        np.testing.assert_allclose(values, made[second - START], rtol=0, atol=1e-27)
    # nothing half written is left
    assert not [p for p in (root / "cleaned").iterdir() if p.name.startswith(".")]
    # each second is stored once
    stored = list_frames(root / "cold") if (root / "cold").is_dir() else []
    covered = [s for name in stored for s in range(name.start, name.stop)]
    assert len(covered) == len(set(covered))
    return largest


def test_killed_at_random_nothing_is_lost_doubled_or_shifted(deployment, experiment):
    deployment.publish()
    kills = Kills(verbs_of(experiment, deployment.folder, deployment.store, STOP), 5)

    def swap(written):
        if written > 20 and len(list_versions(deployment.store)) == 1:
            deployment.publish(gain=0.95)

    kill_at_random(kills, deployment.folder / "cleaned", 120, swap)
    assert kills.number.total() >= 8
    assert_nothing_lost(deployment, experiment, STOP - 2)


LONG = "AFRAME_LONG_TESTS"


@pytest.mark.skipif(LONG not in os.environ, reason=f"takes minutes: set {LONG}=1")
def test_ten_minutes_of_kills(deployment, experiment, trainer, capsys):
    """Ten minutes of data with all services, versions published, trained and judged meanwhile."""
    root, store, stop = deployment.folder, deployment.store, START + 600
    deployment.publish()
    verbs = verbs_of(experiment, root, store, stop, trial=16)
    verbs["status"] = lambda: begin(status, output=root, store=store)

    def train():
        made = trainer(duration=64, cadence=150)
        while True:
            if made.step() is None:
                time.sleep(0.2)

    verbs["trainer"] = lambda: begin(train)
    kills = Kills(verbs, 7)
    # as good as the first, one that does harm, as good again; what is trained is the last of them
    waiting = [(20, 1.0), (200, 1.3), (300, 1.0)]

    def swap(written):
        if waiting and written > waiting[0][0]:
            deployment.publish(waiting.pop(0)[1], promote=False)

    kill_at_random(kills, root / "cleaned", 600, swap)
    largest = assert_nothing_lost(deployment, experiment, stop - 2)
    states = [manifest.state for manifest in list_versions(store)]
    said = [
        f"kills: {dict(kills.number)}; seconds: {len(list_frames(root / 'cleaned'))}",
        f"given up: {len(Drops(root / 'drops.jsonl'))}; versions: {states}",
        f"largest difference to offline: {largest:.1e} of the noise's rms",
    ]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *said, ""]))
    assert min(kills.number[name] for name in verbs) >= 5
    assert {"production", "rejected", "retired"} <= set(states)


def test_one_cleaner_for_a_folder(deployment, experiment):
    options = {"experiment": experiment, "frames": deployment.folder / "frames"}
    options |= {"store": deployment.store, "output": deployment.folder / "live"}
    with (
        alone(deployment.folder / "live" / ".cleaner", "a cleaner"),
        pytest.raises(ValueError, match="already running"),
    ):
        online(**options)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


SUPERVISE = """
import sys
from pathlib import Path
from deepclean.live import turn
from deepclean.live.supervisor import Service, Supervisor

folder = Path(sys.argv[1])
code = "import os, time; open({!r}, 'a').write(str(os.getpid()) + chr(10)); time.sleep(600)"
names = ("a", "b")
services = [Service(n, [sys.executable, "-c", code.format(str(folder / n))]) for n in names]
Supervisor(services, folder).run()
"""


def pids(path):
    return [int(line) for line in path.read_text().splitlines()] if path.is_file() else []


@pytest.fixture
def supervised(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(tmp_path)])
    wait_for(lambda: pids(tmp_path / "a") and pids(tmp_path / "b"))
    yield process
    process.kill()
    process.wait()


def test_a_service_that_is_killed_is_begun_again(supervised, tmp_path):
    for number in (2, 3):
        os.kill(pids(tmp_path / "a")[-1], signal.SIGKILL)
        wait_for(lambda n=number: len(pids(tmp_path / "a")) == n)
    assert len(pids(tmp_path / "b")) == 1
    wait_for(lambda: json.loads((tmp_path / "services.json").read_text())["a"]["restarts"] == 2)
    assert alive(pids(tmp_path / "b")[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_service_outlives_its_supervisor(supervised, tmp_path, number):
    supervised.send_signal(number)
    supervised.wait(20)
    last = [pids(tmp_path / name)[-1] for name in ("a", "b")]
    wait_for(lambda: not any(alive(pid) for pid in last))


def test_one_supervisor_for_a_folder(supervised, tmp_path):
    with pytest.raises(ValueError, match="already running"):
        Supervisor([], tmp_path).run()


def test_done_work_ends_all(tmp_path):
    work = Service("work", [sys.executable, "-c", "pass"], ends=True)
    rest = Service("rest", ["sleep", "600"])
    Supervisor([work, rest], tmp_path).run()
    state = json.loads((tmp_path / "services.json").read_text())
    assert state["work"] == {"group": None, "restarts": 0, "done": True}
    assert not state["rest"]["done"]


def test_a_service_that_fails_is_begun_again_after_longer_and_longer(tmp_path):
    mark = tmp_path / "mark"
    code = (
        "import pathlib, sys, time; p = pathlib.Path({!r}); old = p.read_text() if p.exists() "
        "else ''; p.write_text(old + f'{{time.monotonic()}} '); sys.exit(len(old.split()) < 3)"
    )
    work = Service("work", [sys.executable, "-c", code.format(str(mark))], ends=True)
    Supervisor([work], tmp_path).run()
    pauses = np.diff([float(x) for x in mark.read_text().split()])
    assert len(pauses) == 3
    assert (pauses >= [0.2, 0.4, 0.8]).all()
    assert "work" in {p.stem for p in (tmp_path / "logs").iterdir()}


def test_the_next_goes_on_when_one_is_killed(tmp_path, monkeypatch):
    at_work = tmp_path / "at_work"

    def work() -> None:
        """Say who is at work."""
        with at_work.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(60)

    monkeypatch.setattr(turn, "VERBS", {"work": work})
    monkeypatch.setattr(sys, "argv", ["turn", str(tmp_path / "lock"), "work"])
    processes = [FORK.Process(target=turn.main) for _ in range(3)]
    for process in processes:
        process.start()
    try:
        for number in (1, 2, 3):
            wait_for(lambda n=number: len(pids(at_work)) == n)
            # the others wait
            time.sleep(0.2)
            assert len(pids(at_work)) == number
            os.kill(pids(at_work)[-1], signal.SIGKILL)
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert set(pids(at_work)) == {process.pid for process in processes}


FAKE_TRAINING = """
import json, os, shutil, sys, time
from pathlib import Path
import yaml
from ledger import WitnessSet

words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
folder, run = Path(__file__).parent, Path(words["--run_dir"])
run.mkdir(parents=True, exist_ok=True)
data = WitnessSet.read(Path(words["--data.init_args.witnesses"]))
stretch = yaml.safe_load(Path(words["--experiment"]).read_text())["training"]
assert data.gps_start == stretch["start"]
assert len(data.usable) == stretch["duration"]
words["pid"] = os.getpid()
with (folder / "told").open("a") as told:
    told.write(json.dumps(words) + chr(10))
if (folder / "hang").exists():
    time.sleep(60)
shutil.copy(folder / "network.pt", run / "model.pt")
(run / "best.ckpt").write_text("weights")
(run / "model.yaml").write_text(yaml.safe_dump({"measures": {"valid_asd_ratio": 0.5}}))
"""


def run_forked(words):
    """The command line, without the time that its imports take."""

    def run():
        command_line("deepclean", VERBS, list(words))

    process = FORK.Process(target=run)
    process.start()
    process.join()
    return process.exitcode


@pytest.fixture
def trainer(deployment, experiment):
    """Make a trainer, as a process begun anew would, whose training is a small stand-in."""
    script = deployment.folder / "fake.py"
    script.write_text(FAKE_TRAINING)
    network = torch.jit.script(LinearFilter(torch.zeros(2, 33), torch.ones(2), 1.0))
    network.save(str(deployment.folder / "network.pt"))
    (experiment / "train.yaml").write_text("model: {init_args: {learning_rate: 0.01}}\n")

    def make(duration=8, cadence=4):
        trainings = Trainings(
            experiment,
            deployment.folder / "frames",
            deployment.store,
            deployment.folder / "trainings",
            experiment / "train.yaml",
            duration,
            cadence,
        )
        return Trainer(trainings, [sys.executable, str(script)], run_forked)

    return make


def told(deployment):
    return [json.loads(line) for line in (deployment.folder / "told").read_text().splitlines()]


def test_versions_are_trained_as_data_come(deployment, trainer):
    deployment.write(0, 9)
    assert trainer().step() is None
    deployment.write(9, 12)
    assert trainer().step() == 1
    assert trainer().step() is None
    (first,) = list_versions(deployment.store)
    assert first.span == (START + 3, START + 11)
    assert (first.state, first.parent) == ("canary", 0)
    assert "--model.init_args.start_from" not in told(deployment)[0]
    set_state(deployment.store, 1, "production", "test")
    deployment.write(12, 15)
    assert trainer().step() is None
    deployment.write(15, 16)
    assert trainer().step() == 2
    second = list_versions(deployment.store)[1]
    assert (second.span, second.parent) == ((START + 7, START + 15), 1)
    # gently, from the weights of what is in production
    words = told(deployment)[1]
    assert float(words["--model.init_args.learning_rate"]) == pytest.approx(1e-3)
    folder = deployment.folder / "trainings"
    weights = folder / f"{START + 3}-{START + 11}" / "train-0" / "best.ckpt"
    assert words["--model.init_args.start_from"] == str(weights)
    assert weights.is_file()
    assert not list(folder.glob("*/*.hdf5"))
    # what nothing will go on from goes
    set_state(deployment.store, 2, "production", "test")
    deployment.write(16, 24)
    assert trainer().step() == 3
    assert not weights.exists()


def test_a_trainer_that_is_killed_goes_on(deployment, trainer):
    deployment.write(0, 12)
    hang = deployment.folder / "hang"
    hang.touch()
    process = FORK.Process(target=lambda: trainer().step())
    process.start()
    wait_for(lambda: (deployment.folder / "told").is_file(), 60)
    process.kill()
    process.join()
    # where a guard is at work this goes with it
    os.kill(told(deployment)[0]["pid"], signal.SIGKILL)
    # new data do not begin a new training before the old one is done
    deployment.write(12, 20)
    hang.unlink()
    assert trainer().step() == 1
    assert list_versions(deployment.store)[0].span == (START + 3, START + 11)
    # ended between publishing and saying so, it publishes nothing twice
    (deployment.folder / "trainings" / f"{START + 3}-{START + 11}" / "version").unlink()
    assert trainer().step() == 1
    assert len(list_versions(deployment.store)) == 1


def test_a_training_that_fails_is_not_tried_again(deployment, trainer):
    deployment.write(0, 12)
    made = trainer()
    made.train = ["false"]
    assert made.step() is None
    assert trainer().step() is None
    deployment.write(12, 16)
    assert trainer().step() == 1
