import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import torch
from conftest import RATES, START, Deployment
from deepclean.frames import FrameFolder
from deepclean.frames.guarded import GuardedReader
from deepclean.models import (
    Journal,
    ModelError,
    Roles,
    load_version,
    publish,
    set_roles,
    set_state,
)
from deepclean.offline import as_recorded, clean_frames, constant
from deepclean.online.drops import Drops
from deepclean.online.output import Output
from deepclean.online.service import OnlineCleaner
from deepclean.online.source import FrameSource, Stream
from deepclean.served import ServerAway, building, connection, open_source
from deepclean.served.building import Form, add_version, is_served, served_versions
from deepclean.served.connection import Place
from deepclean.served.following import Follower
from deepclean.served.naming import model_name
from deepclean.served.sources import ServedSource
from deepclean.served.verbs import export
from hermes.aeriel.serve import find_server, serve
from test_deepclean_online import CHANNELS, Clock, run, written
from tritonclient.grpc import service_pb2_grpc

TRANSPORTS = ["inprocess", pytest.param("triton", marks=pytest.mark.triton)]
LENGTH = 40
DROPPED = 15


@pytest.fixture(scope="module")
def reader():
    with GuardedReader() as made:
        yield made


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Frames of a stretch with a second of witnesses missing; version 1 is in production."""
    made = Deployment(tmp_path_factory.mktemp("served"))
    made.write(0, LENGTH, drop={DROPPED})
    made.publish()
    return made


@pytest.fixture(scope="module")
def repository(frames):
    folder = frames.folder / "repository"
    export(frames.store, folder)
    return folder


@pytest.fixture(scope="module")
def server(repository):
    if find_server() is None:
        pytest.skip("no Triton server: projects/triton has no environment")
    with serve(repository, control="poll", timeout=90) as made:
        made.wait()
        yield made
        # sequences that are still open would hold up its end
        made.kill()


@pytest.fixture
def place(request, repository):
    """Where versions are asked: in this process, or a server."""
    if request.param == "inprocess":
        return Place(repository, 30.0)
    return Place(request.getfixturevalue("server").address, 30.0)


class Halving(torch.nn.Module):
    """Nonlinear, at half the rate: another function of samples that are shifted by one."""

    def __init__(self):
        super().__init__()
        self.hop_size, self.past_size, self.future_size = 2, 6, 2
        generator = torch.Generator().manual_seed(1)
        self.down = torch.nn.Parameter(torch.randn(4, 2, 4, generator=generator))
        self.up = torch.nn.Parameter(torch.randn(4, 1, 4, generator=generator))

    def forward(self, witnesses):
        padded = torch.nn.functional.pad(witnesses, (2, 0))
        coarse = torch.tanh(torch.nn.functional.conv1d(padded, self.down, stride=2))
        fine = torch.nn.functional.conv_transpose1d(coarse, self.up, stride=2)[:, 0]
        return torch.nn.functional.pad(fine, (0, 2))[:, : witnesses.shape[-1]] * 1e-22


def distance(found, expected, predictor):
    """Largest difference where both have seen all, relative to what is expected."""
    seen = slice(predictor.past_size, len(expected) - predictor.future_size)
    assert found.shape == expected.shape
    return np.abs(found[seen] - expected[seen]).max() / expected[seen].std()


def ask(source, store, version):
    """Predictors of a version on a server and in memory."""
    served = source.load(store, version).estimator.layers[0].predictor
    return served, load_version(store, version).estimator.layers[0].predictor


@pytest.mark.parametrize("form", [Form(), Form("torchscript", 0.25, 3)], ids=["onnx", "averaged"])
@pytest.mark.parametrize("place", TRANSPORTS, indirect=True)
def test_any_stretches_are_as_in_memory(frames, repository, place, tmp_path, form):
    network = tmp_path / "network.pt"
    torch.jit.script(Halving()).save(str(network))
    number = publish(frames.store, frames.problem_file, [network], (START, START + 1))
    set_state(frames.store, number, "rejected", "only asked here")
    add_version(frames.store, number, repository, form)
    source = ServedSource(place)
    wait_until_served(source, frames.store, number)
    served, memory = ask(source, frames.store, number)
    witnesses = np.random.default_rng(0).standard_normal((2, 9000)).astype(np.float32)
    changed = witnesses.copy()
    changed[:, 3100:3600] = 0
    stretches = [
        # a second after the other, with what lies beside it
        *((witnesses, first, first + 960) for first in range(0, 2560, 512)),
        # the last one again, and a part of it
        (witnesses, 2048, 3008),
        (witnesses, 2200, 2900),
        # other samples where some were sent: a second is dropped, then another one
        (changed, 2560, 3520),
        (witnesses, 3072, 4032),
        # a step back; a gap; no whole number of updates on
        (witnesses, 1024, 1984),
        (witnesses, 5000, 5960),
        (witnesses, 5100, 6160),
        # many at once, and fewer than an update
        (witnesses, 0, 9000),
        (witnesses, 20, 60),
        (witnesses, 60, 74),
    ]
    for values, first, stop in stretches:
        asked = values[:, first:stop]
        found = served.predict(asked, START * 512 + first)
        assert distance(found, memory.predict(asked, START * 512 + first), memory) < 1e-6


@pytest.mark.parametrize("place", TRANSPORTS, indirect=True)
def test_each_sample_is_sent_once(frames, place):
    served, memory = ask(ServedSource(place), frames.store, 1)
    witnesses = np.random.default_rng(0).standard_normal((2, 512 * 8)).astype(np.float32)
    latencies = None
    for first in range(0, 512 * 6, 512):
        # rounding of what is resampled anew is no change
        asked = witnesses[:, first : first + 960] * np.float32(1 + 1e-7 * (first // 512 % 2))
        found = served.predict(asked, START * 512 + first)
        assert distance(found, memory.predict(asked, START * 512 + first), memory) < 1e-6
        latencies = served.connection.open().latencies
    # two updates hold the first stretch, one each of the others
    assert latencies.count == 2 + 5


@pytest.mark.parametrize("place", TRANSPORTS, indirect=True)
def test_connections_that_are_not_used_are_let_go_of(frames, place, monkeypatch):
    source = ServedSource(place)
    (one, memory), (other, _) = ask(source, frames.store, 1), ask(source, frames.store, 1)
    witnesses = np.random.default_rng(0).standard_normal((2, 4096)).astype(np.float32)
    for first in range(0, 2560, 512):
        asked = witnesses[:, first : first + 960], START * 512 + first
        assert distance(one.predict(*asked), memory.predict(*asked), memory) < 1e-6
        client = one.connection.open()
        monkeypatch.setattr(connection, "IDLE_DURATION", 0.0 if first == 1024 else 120.0)
        other.predict(*asked)
        assert (one.connection.open() is client) == (first != 1024)
    place.close()
    assert distance(one.predict(*asked), memory.predict(*asked), memory) < 1e-6


def wait_until_served(source, store, version):
    """Until a server that looks at its repository each second has found a version."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return source.require(source.load(store, version))
        except ServerAway:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("place", TRANSPORTS, indirect=True)
def test_offline_is_as_in_memory(frames, place, reader):
    problem = frames.problem
    folders = [
        FrameFolder(frames.folder / "frames" / "strain", [problem.strain_channel], reader),
        FrameFolder(frames.folder / "frames" / "witness", list(RATES), reader),
    ]

    def clean(model):
        span = (START + 10, START + 30)
        return list(clean_frames(problem, *folders, constant(model), *span))

    expected = clean(load_version(frames.store, 1))
    found = clean(ServedSource(place).load(frames.store, 1))
    assert [c.second for c in found] == [c.second for c in expected]
    assert expected[DROPPED - 10].dropped
    rms = np.sqrt(np.mean([(c.raw - c.production) ** 2 for c in expected]))
    assert rms > 1e-24
    for mine, theirs in zip(found, expected, strict=True):
        assert np.abs(mine.production - theirs.production).max() <= 1e-6 * rms
        assert np.abs(mine.out_dq - theirs.out_dq).max() <= 1e-6 * rms


class Live(Deployment):
    """A live installation that is fed, second by second, with frames that are there already."""

    def __init__(self, folder, frames):
        super().__init__(folder)
        self.frames, self.fed = frames, 0
        self.store = frames.store

    def in_production(self, version):
        """Have a version in production, and none on trial."""
        set_roles(self.store, Roles(production=version))

    def feed(self, stop):
        for second in range(START + self.fed, START + stop):
            for kind in ("strain", "witness"):
                source = self.frames.frame(kind, second)
                if source.exists():
                    self.frame(kind, second).symlink_to(source)
        self.fed = stop

    def cleaner(self, reader, source):
        """An online cleaner, as a process begun anew would make it."""
        streams = [
            Stream("strain", self.folder / "frames/strain", {self.problem.strain_channel: 4096}),
            Stream("witnesses", self.folder / "frames/witness", RATES),
        ]
        clock = Clock()
        drops = Drops(self.folder / "drops.jsonl")
        made = OnlineCleaner(
            self.problem,
            FrameSource(streams, drops, reader, patience=2.0, clock=clock),
            Output(self.folder / "cleaned", self.problem, self.folder / "early"),
            self.store,
            Journal(self.folder / "journal.jsonl"),
            4096,
            RATES,
            runs_on=source,
        )
        made.clock = clock
        return made


def assert_as_recorded(live):
    """What was written online is what comes of it offline and in memory."""
    problem = live.problem
    with GuardedReader() as reader:
        expected = clean_frames(
            problem,
            FrameFolder(live.folder / "frames/strain", [problem.strain_channel], reader),
            FrameFolder(live.folder / "frames/witness", list(RATES), reader),
            as_recorded(live.store, Journal(live.folder / "journal.jsonl")),
            START,
            START + LENGTH,
            Drops(live.folder / "drops.jsonl"),
        )
        expected = {c.second - START: c for c in expected if c.second < START + LENGTH - 2}
    found = written(live)
    assert sorted(found) == sorted(expected) == list(range(LENGTH - 2))
    rms = np.std(expected[12].raw - expected[12].production)
    assert rms > 1e-24
    for second, cleaned in expected.items():
        for name, wanted in zip(
            CHANNELS, (cleaned.out_dq, cleaned.production, cleaned.canary), strict=True
        ):
            difference = np.abs(found[second][name].values - wanted).max()
            assert difference <= 1e-6 * rms, (second, name)
    return expected


@pytest.mark.parametrize("place", TRANSPORTS, indirect=True)
def test_online_through_a_restart_and_a_swap(frames, repository, place, reader, tmp_path):
    live = Live(tmp_path, frames)
    live.in_production(1)
    follower, source = Follower(live.store, repository, Form()), ServedSource(place)
    follower.step()
    wait_until_served(source, live.store, 1)
    live.feed(13)
    cleaner = live.cleaner(reader, source)
    run(cleaner)
    # a canary is published, and not yet served: it waits
    second = live.publish(gain=0.9, promote=False)
    live.feed(14)
    run(cleaner)
    assert Journal(live.folder / "journal.jsonl").at(START + LENGTH) == Roles(production=1)
    follower.step()
    wait_until_served(source, live.store, second)
    live.feed(19)
    run(cleaner, wait=True)
    # begun anew while the canary takes over
    set_state(live.store, second, "production", "test")
    follower.step()
    cleaner = live.cleaner(reader, source)
    for stop in range(20, LENGTH + 1):
        live.feed(stop)
        run(cleaner, wait=stop == 20)
    expected = assert_as_recorded(live)
    versions = [expected[i].production_version for i in range(LENGTH - 2)]
    assert sorted(set(versions)) == [1, second]
    assert any(c.canary_version == second for c in expected.values())
    assert expected[DROPPED].dropped


@pytest.mark.triton
def test_a_server_that_is_killed_and_comes_back(frames, reader, tmp_path, server):
    live = Live(tmp_path, frames)
    live.in_production(1)
    source = ServedSource(Place(server.address, 5.0))
    wait_until_served(source, live.store, 1)
    cleaner = live.cleaner(reader, source)
    for stop in range(1, 21):
        live.feed(stop)
        run(cleaner, wait=True)
    server.kill()
    # an answer for a second is asked for with the second after it
    away = {19, 20, 21, 22}
    for stop in (21, 22, 23, 24):
        live.feed(stop)
        run(cleaner)
    server.restart()
    server.wait()
    for stop in range(25, LENGTH + 1):
        live.feed(stop)
        if stop == 27:
            cleaner = live.cleaner(reader, source)
        run(cleaner)
    expected = assert_as_recorded(live)
    noise = {second: c.raw - c.production for second, c in expected.items()}
    for second in range(12, LENGTH - 2):
        assert (not noise[second].any()) == (second in away | {DROPPED})
        assert expected[second].dropped == (second in away | {DROPPED})
    # it fades out before, and in again
    usual = np.abs(noise[12]).max()
    assert max(np.abs(noise[18][-41:]).max(), np.abs(noise[23][:41]).max()) < 0.02 * usual
    assert min(np.abs(noise[18][:3000]).max(), np.abs(noise[23][-3000:]).max()) > 0.9 * usual


@pytest.fixture
def silent():
    """Address of a server that takes questions and never answers."""

    class Silent(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelConfig(self, request, context):  # noqa: N802
            over.wait()

    over = threading.Event()
    made = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Silent(), made)
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield f"127.0.0.1:{port}"
    over.set()
    made.stop(0)


def test_a_server_that_stays_silent(frames, silent):
    served, _ = ask(ServedSource(Place(silent, 0.3, rest=60.0)), frames.store, 1)
    begun = time.monotonic()
    with pytest.raises(ServerAway, match=r"did not answer within 0\.3 s"):
        served.predict(np.zeros((2, 960), np.float32), START * 512)
    assert 0.3 <= time.monotonic() - begun < 2
    # nobody waits for it again so soon
    begun = time.monotonic()
    for _ in range(20):
        with pytest.raises(ServerAway):
            served.predict(np.zeros((2, 960), np.float32), START * 512)
    assert time.monotonic() - begun < 0.2


@pytest.mark.triton
def test_a_server_that_falls_silent(frames, server):
    place = Place(server.address, 20.0)
    served, memory = ask(ServedSource(place), frames.store, 1)
    witnesses = np.random.default_rng(0).standard_normal((2, 4096)).astype(np.float32)
    asked = [(witnesses[:, i : i + 960], START * 512 + i) for i in range(0, 2560, 512)]
    expected = [memory.predict(*one) for one in asked]
    for one, wanted in zip(asked[:3], expected, strict=False):
        assert distance(served.predict(*one), wanted, memory) < 1e-6
    place.patience = 0.3
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with pytest.raises(ServerAway, match="did not answer within"):
            served.predict(*asked[3])
    finally:
        os.kill(server.pid, signal.SIGCONT)
    # an answer that came too late belongs to nothing
    place.patience = 20.0
    assert distance(served.predict(*asked[4]), expected[4], memory) < 1e-6


def test_no_server(frames):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    source = ServedSource(Place(address, 5.0))
    model = source.load(frames.store, 1)
    with pytest.raises(ConnectionError, match="no server answers"):
        source.require(model)


def test_another_network_of_that_number_is_not_asked(frames, repository, tmp_path):
    other = Deployment(tmp_path)
    other.publish(gain=0.5)
    source = ServedSource(Place(repository, 30.0))
    with pytest.raises(ServerAway, match="serve the repository of this store"):
        source.require(source.load(other.store, 1))
    with pytest.raises(ModelError, match="one repository for each store"):
        is_served(other.store, 1, repository)


def test_a_repository_follows_the_roles(tmp_path):
    live, repository, clock = Deployment(tmp_path), tmp_path / "repository", Clock()
    follower = Follower(live.store, repository, Form(), keep_duration=100.0, clock=clock)
    follower.step()
    assert served_versions(repository) == set()
    live.publish()
    second = live.publish(gain=0.9, promote=False)
    follower.step()
    assert served_versions(repository) == {1, second}
    before = sorted(p.stat().st_mtime_ns for p in repository.rglob("config.pbtxt"))
    set_state(live.store, second, "production", "test")
    clock.now = 99.0
    follower.step()
    # who still asks the old one finds it, and nothing that is served is touched
    assert sorted(p.stat().st_mtime_ns for p in repository.rglob("config.pbtxt")) == before
    clock.now = 198.0
    follower.step()
    assert served_versions(repository) == {1, second}
    clock.now = 200.0
    follower.step()
    assert served_versions(repository) == {second}
    # what is in production stays, however long
    clock.now = 1e6
    follower.step()
    assert served_versions(repository) == {second}
    # a role that comes back, and one whose networks cannot be had
    set_state(live.store, 1, "production", "rolled back")
    broken = live.publish(promote=False)
    (live.store / f"{broken:04d}" / "layer-0.pt").write_bytes(b"")
    follower.step()
    assert served_versions(repository) == {1, second}
    # a store that is not there yet says nothing about roles
    live.store.rename(tmp_path / "away")
    clock.now = 2e6
    follower.step()
    assert served_versions(repository) == {1, second}


def test_what_an_export_left_half_done_is_made_anew(tmp_path, monkeypatch):
    live, repository = Deployment(tmp_path), tmp_path / "repository"
    live.publish()
    add_version(live.store, 1, repository, Form())
    whole = {p.relative_to(repository) for p in repository.rglob("*")}
    (tmp_path / ".repository-export" / "made").mkdir(parents=True)
    (repository / model_name(1, 0)).rename(tmp_path / "gone")
    assert not is_served(live.store, 1, repository)
    export(live.store, repository)
    assert {p.relative_to(repository) for p in repository.rglob("*")} == whole | {
        (repository / ".export").relative_to(repository)
    }
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".repository")]

    # what does not give what the network gives is not put there
    class Shifted(building.ExactPart):
        def forward(self, witnesses):
            noise = super().forward(witnesses)
            return noise if torch.jit.is_tracing() else noise.roll(1)

    monkeypatch.setattr(building, "ExactPart", Shifted)
    with pytest.raises(ValueError, match="differs from that of the source"):
        add_version(live.store, 1, tmp_path / "other", Form())
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transport": "memory", "server": "localhost:8001"}, "takes neither .* found --server"),
        ({"transport": "inprocess"}, "takes --repository of .* found neither"),
        ({"transport": "triton", "server": "a:1", "repository": "b"}, "--server or --repository"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message), open_source(**options):
        pass
