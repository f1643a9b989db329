"""Tuning: the space, the study side by side, killed, in a bucket, on a cluster, and for real.

What orchestrates is tested with a stand-in for the training, which writes the same files in a
hundredth of the time; the last test trains.
"""

import contextlib
import csv
import http.client
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from pyarrow import fs
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from train.tune.cli import make_parser, resolve, split
from train.tune.picture import draw, place
from train.tune.report import explain, tabulate
from train.tune.settings import Settings
from train.tune.space import apply_values, locate, make_domains, read_space
from train.tune.storage import open_storage, read
from train.tune.study import Memory, make_scheduler, run_study
from train.tune.trial import Plan, Trial, make_trainable
from wandb.proto.wandb_internal_pb2 import RunRecord

REPOSITORY = Path(__file__).parents[3]

TRAINING = """
import argparse, csv, json, os, signal, sys, time
from pathlib import Path
import yaml

parser = argparse.ArgumentParser()
parser.add_argument("--config", type=Path)
parser.add_argument("--run_dir", type=Path)
given = parser.parse_args()
config = yaml.safe_load(given.config.read_text())
quality, epochs = config["model"]["init_args"]["quality"], config["trainer"]["max_epochs"]
run, first, rows = given.run_dir, 0, []
if quality > 1:
    sys.exit("train: the loss is nan")
folder = Path(os.environ["DIARY"]).parent
if folder.joinpath("busy").exists():
    sys.exit("train: the device is busy")
if (run / "last.ckpt").exists():
    first = int((run / "last.ckpt").read_text()) + 1
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < first]

def write(name, text):
    (run / "partial").write_text(text)
    (run / "partial").rename(run / name)

def note(what, epoch):
    line = {"trial": run.name, "what": what, "epoch": epoch, "time": time.time()}
    line |= {"pid": os.getpid(), "group": os.environ["WANDB_RUN_GROUP"]}
    with open(os.environ["DIARY"], "a") as file:
        file.write(json.dumps(line) + "\\n")

def asked(*_):
    note("asked", -1)
    sys.exit(143)

def begun():  # trials in the order in which they began
    lines = map(json.loads, open(os.environ["DIARY"]).read().splitlines())
    return list(dict.fromkeys(line["trial"] for line in lines if line["what"] == "begin"))

def wait_for(condition):
    end = time.monotonic() + 100
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)

signal.signal(signal.SIGTERM, asked)
note("begin", first)
for epoch in range(first, epochs):
    time.sleep(config["data"]["epoch_duration"])
    if epoch == 0:
        wait_for(lambda: len(begun()) >= config["data"]["company"])
    if epoch == 2 or run.name not in begun()[:2]:
        wait_for(lambda: not folder.joinpath("hold").exists())
    rows.append({"epoch": epoch, "valid_auroc": quality * (epoch + 1) / epochs})
    write("metrics.csv", "epoch,valid_auroc\\n" + "".join(
        f"{row['epoch']},{row['valid_auroc']}\\n" for row in rows))
    write("last.ckpt", str(epoch))
    note("epoch", epoch)
for name in ("best.ckpt", "config.yaml", "model.yaml"):
    write(name, "{}")
write("model.pt", str(quality))
note("end", epochs)
"""

DRIVER = """
import json, sys
from train.tune.cluster import prepare
prepare()
from runtime.cli import configure_logging, run_or_explain
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.basic_variant import BasicVariantGenerator
from train.tune.cli import make_parser
from train.tune.study import run_study
from train.tune.trial import Plan
configure_logging()
parser = make_parser()
settings = parser.instantiate_classes(parser.parse_args([f"--tune={sys.argv[1]}"])).tune
plan = Plan(**json.loads(sys.argv[2]))
run_or_explain("driver", lambda: print(run_study(settings, settings.space, plan, seed=5)))
"""


def config_of(epochs: int, duration: float, company: int = 1) -> dict[str, Any]:
    """A training of the stand-in.

    Args:
        epochs: How many.
        duration: Length of each [s].
        company: How many trials must have begun for the first epoch to end.
    """
    return {
        "experiment": "experiment.yaml",
        "trainer": {"max_epochs": epochs},
        "model": {"class_path": "train.X", "init_args": {"quality": 0.5, "options": None}},
        "data": {"epoch_duration": duration, "company": company},
    }


class Study:
    """A study of the stand-in, driven by a process of its own."""

    def __init__(self, folder: Path, storage: str, config: dict[str, Any], **more: Any):
        self.folder = folder
        self.diary = folder / "diary"
        (folder / "training.py").write_text(TRAINING)
        (folder / "driver.py").write_text(DRIVER)
        self.plan = {
            "study": "mine",
            "config": config,
            "directory": str(folder),
            "temp_dir": str(folder / "work"),
            "metric": "valid_auroc",
            "command": [str(folder / "training.py")],
            "variables": {"DIARY": str(self.diary)},
        }
        self.given = {
            "name": "mine",
            "storage_dir": storage,
            "space": {"model.quality": {"uniform": [0.1, 1.0]}},
            "num_workers": 2,
            "gpus_per_worker": 0,
            "cpus_per_gpu": 1,
            **more,
        }
        (folder / "tune.yaml").write_text(yaml.safe_dump(self.given))

    @property
    def marker(self) -> str:
        """What all processes of the study have in their environment."""
        return f"STUDY_OF_A_TEST={self.folder}"

    def start(self, **variables: str) -> "subprocess.Popen[str]":
        names = (self.folder / "driver.py", self.folder / "tune.yaml")
        return subprocess.Popen(
            [sys.executable, *map(str, names), json.dumps(self.plan)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **dict([self.marker.split("=")]), **variables},
            start_new_session=True,
        )

    def finish(self, code: int = 0, **variables: str) -> str:
        process = self.start(**variables)
        output, _ = process.communicate(timeout=400)
        assert process.returncode == code, output
        return output

    def notes(self, what: str) -> list[dict[str, Any]]:
        if not self.diary.exists():
            return []
        lines = [json.loads(line) for line in self.diary.read_text().splitlines()]
        return [line for line in lines if line["what"] == what]


def alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def wait_for(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def processes(marker: str) -> list[int]:
    """Processes that have a text in their environment, zombies left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found


def end(leader: int, marker: str) -> None:
    """Kill what Ray leaves running for minutes after its driver was killed.

    Some of it has written its title over its environment, some has left its process group.

    Args:
        leader: Leader of the process group.
        marker: What all have in their environment.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    for pid in processes(marker):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# The space


def test_names_are_those_of_the_command_line() -> None:
    config = config_of(3, 1.0)
    assert locate("model.quality", config) == ("model", "init_args", "quality")
    assert locate("model.init_args.quality", config) == ("model", "init_args", "quality")
    assert locate("model.options.depth", config)[2:] == ("options", "depth")
    changed = apply_values(config, {"model.quality": 0.9, "model.options.depth": 4})
    assert changed["model"]["init_args"] == {"quality": 0.9, "options": {"depth": 4}}
    assert config["model"]["init_args"] == {"quality": 0.5, "options": None}
    further = apply_values(changed, {"model.options.width": 2})
    assert further["model"]["init_args"]["options"] == {"depth": 4, "width": 2}


@pytest.mark.parametrize(
    "name", ["model.qualty", "quality", "data.quality", "model.init_arg.quality"]
)
def test_unknown_names_are_refused_with_those_near(name: str) -> None:
    with pytest.raises(ValueError, match=r"does not have: near it are .*model\.quality"):
        apply_values(config_of(3, 1.0), {name: 1})


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (0.1, "expected one distribution"),
        ({"normal": [0, 1]}, "from 'normal': there are uniform"),
        ({"loguniform": [0.0, 1.0]}, "above 0 for loguniform"),
        ({"uniform": [2, 1]}, "is empty"),
        ({"uniform": ["1e-4", 1]}, "written 1.0e-4"),
        ({"uniform": [1]}, "takes 2 numbers"),
        ({"quniform": [0, 1]}, "takes 3 numbers"),
        ({"randint": [0, 1.5]}, "takes integers"),
        ({"choice": []}, "a list of values"),
    ],
)
def test_senseless_distributions_are_refused(entry: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_domains({"model.quality": entry})


def test_draws_lie_in_the_space() -> None:
    domains = make_domains(
        {
            "a": {"uniform": [1, 2]},
            "b": {"loguniform": [1e-4, 1e-2]},
            "c": {"randint": [3, 5]},
            "d": {"quniform": [0, 1, 0.25]},
            "e": {"choice": ["x", "y"]},
        }
    )
    drawn = {name: [domain.sample() for _ in range(400)] for name, domain in domains.items()}
    assert 1 <= min(drawn["a"]) < 1.05 < 1.95 < max(drawn["a"]) <= 2
    # half of the draws lie below the geometric mean
    assert sum(b < 1e-3 for b in drawn["b"]) == pytest.approx(200, abs=50)
    assert set(drawn["c"]) == {3, 4}
    assert set(drawn["d"]) == {0, 0.25, 0.5, 0.75, 1}
    assert set(drawn["e"]) == {"x", "y"}


def test_a_space_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("model.learning_rate: {loguniform: [1.0e-4, 1.0e-2]}\n")
    assert read_space(str(path)) == {"model.learning_rate": {"loguniform": [1e-4, 1e-2]}}
    with pytest.raises(FileNotFoundError, match=r"no search space nowhere\.yaml"):
        read_space("nowhere.yaml")
    path.write_text("model.learning_rate\n")
    with pytest.raises(ValueError, match="has lines as"):
        read_space(path)


# The options


def test_options_are_told_apart() -> None:
    given = ["--config", "a.yaml", "--tune.name", "x", "--fold=1", "--tune=t.yaml", "--tuner", "y"]
    study, training = split(given)
    assert study == ["--tune.name", "x", "--tune=t.yaml"]
    assert training == ["--config", "a.yaml", "--fold=1", "--tuner", "y"]


def parse(*arguments: str) -> Settings:
    parser = make_parser()
    return parser.instantiate_classes(parser.parse_args(arguments)).tune


def test_options_from_a_file_and_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "tune.yaml"
    path.write_text(
        "space: {model.quality: {uniform: [0, 1]}}\n"
        "num_samples: 5\n"
        "scheduler:\n"
        "  class_path: ray.tune.schedulers.MedianStoppingRule\n"
        "  init_args: {grace_period: 2, time_attr: epoch}\n"
        "searcher:\n"
        "  class_path: ray.tune.search.basic_variant.BasicVariantGenerator\n"
        "  init_args: {random_state: 4}\n"
    )
    where = ("--tune.name", "x", "--tune.storage_dir", str(tmp_path))
    settings = parse(f"--tune={path}", *where, "--tune.num_samples", "6")
    assert settings.num_samples == 6
    assert settings.space == {"model.quality": {"uniform": [0, 1]}}
    assert type(make_scheduler(settings, 10)).__name__ == "MedianStoppingRule"
    assert type(settings.searcher).__name__ == "BasicVariantGenerator"
    default = parse(*where, "--tune.space", "space.yaml")
    assert default.space == "space.yaml"
    assert default.resources == {"cpu": 6.0, "gpu": 1.0}
    scheduler = make_scheduler(default, 20)
    assert (scheduler._max_t, scheduler._reduction_factor) == (20, 2)
    with pytest.raises(ValueError, match=r"max_epochs is -1: ASHA"):
        make_scheduler(default, -1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("name", "a/b"),
        ("endpoint", "localhost:6379"),
        ("num_samples", 0),
        ("gpus_per_worker", 1.5),
        ("num_workers", 0),
    ],
)
def test_senseless_options_are_refused(option: str, value: Any) -> None:
    given = {"name": "x", "storage_dir": "y", "space": {}, option: value}
    with pytest.raises(ValueError, match=f"--tune.{option}"):
        Settings(**given).check()


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").glob("*/tune.yaml")), ids=str)
def test_shipped_files_name_what_there_is(path: Path, tmp_path: Path) -> None:
    settings = parse(f"--tune={path}", "--tune.name=x", f"--tune.storage_dir={tmp_path}")
    settings.check()
    make_domains(settings.space)
    files = {name: tmp_path / name for name in ("strain", "waveforms", "validation")}
    config = resolve(
        [
            f"--config={path.with_name('train.yaml')}",
            f"--experiment={path.with_name('experiment.yaml')}",
            *(f"--{name}={file}" for name, file in files.items()),
        ]
    )
    apply_values(config, dict.fromkeys(settings.space))


# The result


def trial(
    folder: str, epochs: list[float], complete: bool, error: Any = None, **config: Any
) -> Any:
    frame = pd.DataFrame(
        {
            "epoch": range(len(epochs)),
            "valid_auroc": epochs,
            "valid_recall": [10 * e for e in epochs],
            "complete": [False] * (len(epochs) - 1) + [complete],
        }
    )
    return SimpleNamespace(
        path=f"/s/{folder}", metrics_dataframe=frame, config=config, error=error
    )


def test_the_table_has_the_best_epoch_of_each_trial() -> None:
    failed = SimpleNamespace(path="/s/d", metrics_dataframe=None, config={"rate": 9}, error="E")
    trials = [
        trial("a", [0.1, 0.5, 0.3], True, rate=1),
        trial("b", [0.2, 0.7], False, rate=2),
        failed,
    ]
    table = tabulate(trials, "valid_auroc", "max")
    assert list(table["trial"]) == ["b", "a", "d"]
    assert list(table["state"]) == ["stopped", "complete", "failed"]
    assert list(table["epochs"]) == [2, 3, 0]
    assert list(table["best_epoch"][:2]) == [2, 2]
    assert table["valid_recall"][1] == 5.0
    assert list(table["rate"]) == [2, 1, 9]
    least = tabulate(trials, "valid_auroc", "min")
    assert list(least["valid_auroc"][:2]) == [0.1, 0.2]


def test_axes_of_the_picture() -> None:
    where, labels = place(pd.Series([1.0, 3.0, 2.0]))
    assert list(where) == [0, 1, 0.5]
    assert labels[1.0] == "3"
    where, labels = place(pd.Series([1e-4, 1e-3, 1e-2]))
    assert where == pytest.approx([0, 0.5, 1])
    where, labels = place(pd.Series(["b", "a", "b"]))
    assert list(where) == [0.75, 0.25, 0.75]
    assert labels == {0.25: "a", 0.75: "b"}
    assert list(place(pd.Series([5, 5]))[0]) == [0.5, 0.5]
    table = tabulate([trial("a", [0.1, 0.5], True, rate=1, name=[1, 2])], "valid_auroc", "max")
    page = draw(table, ["rate", "name"], "valid_auroc", "max")
    assert page.count("[1, 2]") >= 1
    assert "src=" not in page.partition("<body>")[0]


def test_the_sentence_of_a_failed_trial() -> None:
    text = (
        "Failure # 1\nray.exceptions.RayTaskError(TrialError): ray::Trial.train() (pid=1)\n"
        "  File x\ntrain.tune.trial.TrialError: trial 1 failed: the loss is nan\n  log: /x on y\n"
    )
    assert explain(text) == "trial 1 failed: the loss is nan log: /x on y"


# The study


def test_asha_goes_on_with_what_it_knew() -> None:
    def scheduler() -> ASHAScheduler:
        return ASHAScheduler(metric="m", mode="max", max_t=4, grace_period=1, reduction_factor=2)

    def judge(judging: ASHAScheduler, name: str, measure: float) -> str:
        trial = SimpleNamespace(trial_id=name)
        judging.on_trial_add(None, trial)
        return judging.on_trial_result(None, trial, {"training_iteration": 1, "m": measure})

    one, other, fresh = scheduler(), scheduler(), scheduler()
    assert judge(one, "a", 0.5) == ASHAScheduler.CONTINUE
    Memory(other).set_state(pickle.loads(pickle.dumps(Memory(one).get_state())))
    assert judge(other, "b", 0.4) == ASHAScheduler.STOP
    assert judge(fresh, "b", 0.4) == ASHAScheduler.CONTINUE


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables of an S3 server on loopback with one bucket, `studies`."""
    program = shutil.which("moto_server", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs moto_server, an S3 server: pip install 'moto[server]'")
    port = free_port()
    command = [program, "-H", "127.0.0.1", "-p", str(port)]
    with (
        (tmp_path_factory.mktemp("s3") / "s3.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as server,
    ):

        def answers() -> bool:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port)
                connection.request("PUT", "/studies", headers={"Host": f"127.0.0.1:{port}"})
                return connection.getresponse().status == 200
            return False

        try:
            wait_for(answers)
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, bucket: dict[str, str]) -> SimpleNamespace:
    """A study in a bucket whose driver was killed in the third epoch, and that then ended.

    Until it is killed, the third trial does not end an epoch.

    Of its three trials the last one is the poorest, so that it is stopped in any case.
    """
    folder = tmp_path_factory.mktemp("killed")
    address = "s3://studies/first"
    config = config_of(epochs=4, duration=0.5, company=2)
    study = Study(folder, address, config, num_samples=3, copy_dir=str(folder / "copy"))
    files, root = open_storage_with(bucket, address)
    (folder / "hold").touch()
    sought = b"checkpoint_0".hex().encode()
    process = study.start(**bucket, TUNE_GLOBAL_CHECKPOINT_S="1")

    def is_kept() -> bool:
        """Whether the study knows of a checkpoint, whose name it keeps in a pickle, in hex."""
        with contextlib.suppress(OSError):  # it changes while it is read
            names = listing(files, f"{root}/mine")
            states = [name for name in names if "experiment_state" in name]
            return any(sought in read(files, name) for name in states)
        return False

    try:
        wait_for(is_kept)
        process.kill()
        begun, _ = process.communicate()
        pids = [line["pid"] for line in study.notes("begin")]
        wait_for(lambda: not any(map(alive, pids)))
    finally:
        end(process.pid, study.marker)
        process.wait()
    (folder / "hold").unlink()
    before = study.notes("end")
    first = [line["trial"] for line in study.notes("begin")]
    output = study.finish(**bucket)
    table = list(csv.DictReader(read(files, f"{root}/mine/trials.csv").decode().splitlines()))
    return SimpleNamespace(
        study=study,
        begun=begun,
        before=before,
        first=first,
        output=output,
        files=files,
        folder=f"{root}/mine",
        table=table,
        variables=bucket,
    )


def open_storage_with(variables: dict[str, str], address: str) -> tuple[fs.FileSystem, str]:
    """Open an address with variables of the environment that this process has not."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        files, root = open_storage(address)
        # the keys are read with the first request
        files.create_dir(root)
    return files, root


def listing(files: fs.FileSystem, folder: str) -> list[str]:
    """Paths of all files below a folder."""
    selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
    return [info.path for info in files.get_file_info(selector)]


def test_trials_run_side_by_side(killed: SimpleNamespace) -> None:
    """Epochs of two trials overlap in time, long before either has ended."""
    notes = killed.study.notes("epoch")
    begins = {line["trial"]: line["time"] for line in killed.study.notes("begin")[:2]}
    assert len(begins) == 2
    one, other = begins
    ends = {t: max(n["time"] for n in notes if n["trial"] == t) for t in begins}
    assert begins[one] < ends[other]
    assert begins[other] < ends[one]
    assert any("(2 running" in line for line in killed.begun.splitlines())
    assert {line["group"] for line in killed.study.notes("begin")} == {"mine"}


def test_a_killed_study_goes_on(killed: SimpleNamespace) -> None:
    assert "going on with study mine" in killed.output
    assert not killed.before
    again = [line for line in killed.study.notes("begin") if line["epoch"] > 0]
    # at least one went on in the middle, and it is one of those that had begun
    assert again
    assert {line["trial"] for line in again} <= set(killed.first)
    assert len(killed.table) == 3
    for row in killed.table:
        seen = [n["epoch"] for n in killed.study.notes("epoch") if n["trial"] == row["trial"]]
        assert set(seen) >= set(range(int(row["epochs"])))


def test_nothing_is_left_running(killed: SimpleNamespace) -> None:
    assert not processes(killed.study.marker)
    assert not list((killed.study.folder / "work/mine").iterdir())


def test_poor_trials_are_stopped_early(killed: SimpleNamespace) -> None:
    states = {row["state"] for row in killed.table}
    assert states == {"complete", "stopped"}
    for row in killed.table:
        assert (int(row["epochs"]) == 4) == (row["state"] == "complete")
        quality = float(row["model.quality"])
        expected = quality * int(row["epochs"]) / 4
        assert float(row["valid_auroc"]) == pytest.approx(expected)
    # compared with what was known before the driver was killed
    begun = list(dict.fromkeys(line["trial"] for line in killed.study.notes("begin")))
    (third,) = [row for row in killed.table if row["trial"] == begun[2]]
    assert int(third["epochs"]) == 1


def test_a_trial_that_is_stopped_may_end_in_its_own_way(killed: SimpleNamespace) -> None:
    """SIGTERM reaches the training, which saves itself, before anything is killed."""
    asked = {line["trial"] for line in killed.study.notes("asked")}
    assert asked >= {row["trial"] for row in killed.table if row["state"] == "stopped"}


def test_the_best_is_copied(killed: SimpleNamespace) -> None:
    complete = [row for row in killed.table if row["state"] == "complete"]
    best = max(complete, key=lambda row: float(row["valid_auroc"]))
    found = {
        name.removeprefix(f"{killed.folder}/"): read(killed.files, name)
        for name in listing(killed.files, f"{killed.folder}/best")
    }
    assert float(found["best/model.pt"]) == float(best["model.quality"])
    training = yaml.safe_load(found["best/train.yaml"])
    assert training["model"]["init_args"]["quality"] == float(best["model.quality"])
    assert "experiment" not in training
    assert {f"best/{name}" for name in ("best.ckpt", "model.yaml", "config.yaml")} <= set(found)
    page = read(killed.files, f"{killed.folder}/trials.html").decode()
    assert all(row["trial"] in page for row in killed.table)


def test_the_result_of_a_study_in_a_bucket_is_copied(
    killed: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is copied again where the copy is gone; nothing else is on this machine."""
    for name, value in killed.variables.items():
        monkeypatch.setenv(name, value)
    copy = Path(killed.study.given["copy_dir"])
    names = ("trials.csv", "trials.html", "best/model.pt", "best/train.yaml")
    first = {name: (copy / name).read_bytes() for name in names}
    assert first == {name: read(killed.files, f"{killed.folder}/{name}") for name in names}
    shutil.rmtree(copy)
    settings = Settings(**killed.study.given | {"copy_dir": copy})
    done = run_study(settings, settings.space, Plan(**killed.study.plan), 5)
    assert done == "s3://studies/first/mine"
    assert first == {name: (copy / name).read_bytes() for name in names}
    left = {path.name for path in killed.study.folder.iterdir()}
    assert left == {"copy", "diary", "driver.py", "training.py", "tune.yaml", "work"}


def test_a_study_is_not_mixed_with_another(
    killed: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in killed.variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings(**killed.study.given)
    other = Plan(**{**killed.study.plan, "config": config_of(5, 0.5, 2)})
    with pytest.raises(ValueError, match=r"config.trainer.max_epochs was 4, is 5.*another"):
        run_study(settings, settings.space, other, 5)
    settings = Settings(**killed.study.given, searcher=BasicVariantGenerator())
    with pytest.raises(ValueError, match=r"searcher was None, is 'BasicVariantGenerator'"):
        run_study(settings, settings.space, Plan(**killed.study.plan), 5)


def make_trial(folder: Path, quality: float, epochs: int = 2, **more: Any) -> Trial:
    (folder / "training.py").write_text(TRAINING)
    plan = {
        "study": "mine",
        "config": config_of(epochs, 0.05),
        "directory": str(folder),
        "temp_dir": str(folder),
        "metric": "valid_auroc",
        "command": [str(folder / "training.py")],
        "variables": {"DIARY": str(folder / "diary")},
    }
    return make_trainable(Plan(**(plan | more)))({"model.quality": quality})


def test_a_failed_trial_says_why_and_keeps_its_log(tmp_path: Path) -> None:
    one = make_trial(tmp_path, quality=2.0)
    with pytest.raises(RuntimeError, match=r"failed: train: the loss is nan\n  log: .*log\.txt"):
        one.step()
    one.cleanup()
    assert list(tmp_path.glob("mine/*/log.txt"))


def test_a_measure_that_is_not_there(tmp_path: Path) -> None:
    one = make_trial(tmp_path, quality=0.5, metric="valid_volume")
    with pytest.raises(ValueError, match=r"does not measure valid_volume.* one of valid_auroc"):
        one.step()
    one.cleanup()


def test_a_training_that_ends_early_by_its_own_rule(tmp_path: Path) -> None:
    """It makes fewer epochs than the trainer's `max_epochs`, as early stopping does."""
    one = make_trial(tmp_path, quality=0.5, epochs=2)
    one.epochs = 10
    results = [one.step()]
    while not results[-1]["done"]:
        results.append(one.step())
    assert [r["epoch"] for r in results][:2] == [0, 1]
    assert results[-1]["valid_auroc"] == 0.5
    one.cleanup()


def test_a_trial_dies_with_its_worker(tmp_path: Path) -> None:
    """Even if the worker has no time to end it."""

    def work() -> None:
        make_trial(tmp_path, quality=0.5, config=config_of(2, 60.0)).step()

    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    diary = tmp_path / "diary"
    wait_for(diary.exists)
    wait_for(diary.read_text)
    pid = json.loads(diary.read_text())["pid"]
    assert alive(pid)
    worker.kill()
    worker.join()
    wait_for(lambda: not alive(pid), 10)


# Elsewhere


@pytest.fixture(scope="module")
def head() -> Iterator[dict[str, str]]:
    """Variables for a driver on a running cluster, `ENDPOINT` its address."""
    pytest.importorskip("grpc", reason="needs Ray's client: pip install 'ray[client]'")
    # Paths of sockets are limited to some hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    marker = f"CLUSTER_OF_A_TEST={folder}"
    variables = {
        **os.environ,
        **token,
        **dict([marker.split("=")]),
        "WANDB_MODE": "offline",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on loopback alone
    }
    port, client = free_port(), free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                f"{sys.prefix}/bin/ray", "start", "--head", "--block", f"--port={port}",
                f"--ray-client-server-port={client}", "--num-cpus=2", "--num-gpus=0",
                "--include-dashboard=false", "--object-store-memory=100000000",
                "--min-worker-port=0", "--max-worker-port=0",
                f"--temp-dir={folder}",
            ],
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", client)):
                return True
            return False

        wait_for(answers)
        yield token | {"ENDPOINT": f"ray://127.0.0.1:{client}"}
        assert process.poll() is None
    finally:
        end(process.pid, marker)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_study_on_a_running_cluster(tmp_path: Path, head: dict[str, str]) -> None:
    """Trials that failed, as all do at first, are tried again by the same command."""
    store = str(tmp_path / "store")
    study = Study(
        tmp_path,
        store,
        config_of(epochs=2, duration=0.5, company=2),
        num_samples=2,
        max_failures=0,
        endpoint=head["ENDPOINT"],
    )
    (tmp_path / "busy").touch()
    output = study.finish(1, **head)
    assert "no trial of 2 trained to its end; the first that failed: trial" in output
    assert "the device is busy" in output.splitlines()[-1]
    assert not (tmp_path / "store/mine/trials.csv").exists()
    (tmp_path / "busy").unlink()
    study.finish(**head)
    begins = study.notes("begin")
    ends = study.notes("epoch")
    assert len(begins) == 2
    assert max(b["time"] for b in begins) < min(e["time"] for e in ends if e["epoch"])
    with (tmp_path / "store/mine/trials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2


def test_another_scheduler_and_searcher(tmp_path: Path, head: dict[str, str]) -> None:
    """One trial after the other: what Optuna draws and what is stopped can be foretold."""
    study = Study(
        tmp_path,
        str(tmp_path / "store"),
        config_of(epochs=3, duration=0.3),
        num_samples=6,
        num_workers=1,
        endpoint=head["ENDPOINT"],
        scheduler={
            "class_path": "ray.tune.schedulers.MedianStoppingRule",
            "init_args": {
                "time_attr": "training_iteration",
                "grace_period": 2,
                "min_samples_required": 2,
            },
        },
        searcher={
            "class_path": "ray.tune.search.optuna.OptunaSearch",
            "init_args": {
                "sampler": {
                    "class_path": "optuna.samplers.TPESampler",
                    "init_args": {"seed": 5, "n_startup_trials": 2},
                }
            },
        },
    )
    study.finish(**head)
    with (tmp_path / "store/mine/trials.csv").open() as file:
        table = {row["trial"]: row for row in csv.DictReader(file)}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=5, n_startup_trials=2)
    same = optuna.create_study(direction="maximize", sampler=sampler)
    histories: list[np.ndarray] = []
    for begin in study.notes("begin"):
        row = table[begin["trial"]]
        asked = same.ask({"model.quality": optuna.distributions.FloatDistribution(0.1, 1.0)})
        quality = asked.params["model.quality"]
        assert float(row["model.quality"]) == pytest.approx(quality, abs=1e-12)
        measures = quality * np.arange(1, 4) / 3
        # stopped where the best is below the median of the others' means since the second epoch
        epochs = 3
        for epoch in (2, 3):
            means = [h[1:epoch].mean() for h in histories if len(h) >= epoch]
            if len(means) >= 2 and measures[epoch - 1] < np.median(means):
                epochs = epoch
                break
        assert int(row["epochs"]) == epochs
        assert row["state"] == ("complete" if epochs == 3 else "stopped")
        histories.append(measures[:epochs])
        same.tell(asked, measures[epochs - 1])
    assert len(histories) == 6
    assert {row["state"] for row in table.values()} == {"complete", "stopped"}


# For real


def test_the_command_line_tunes_a_training(
    inputs: dict[str, Path], head: dict[str, str], tmp_path: Path
) -> None:
    config = {
        "trainer": {
            "max_epochs": 2,
            "accelerator": "cpu",
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
        "model": {"class_path": "Supervised"},
        "data": {"batch_size": 16, "batches_per_epoch": 3, "validation_livetime": 200},
    }
    training, space = tmp_path / "train.yaml", tmp_path / "space.yaml"
    training.write_text(yaml.safe_dump(config))
    command = [
        sys.executable, "-m", "train.tune", f"--config={training}",
        *(f"--{name}={value}" for name, value in inputs.items()),
        "--tune.name", "real", "--tune.storage_dir", str(tmp_path / "store"),
        "--tune.temp_dir", str(tmp_path / "work"), "--tune.num_samples", "2",
        "--tune.num_workers", "2", "--tune.gpus_per_worker", "0", "--tune.cpus_per_gpu", "1",
        "--tune.space", str(space), "--use-wandb", "--tune.endpoint", head["ENDPOINT"],
    ]  # fmt: skip
    space.write_text("model.learning_rate: {loguniform: [1.0e-3, 1.0e-2]}\n")
    variables = {**os.environ, **head}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "store/real"
    with (folder / "trials.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len({row["model.learning_rate"] for row in table}) == 2
    best = next(row for row in table if row["state"] == "complete")
    written = yaml.safe_load((folder / "best/config.yaml").read_text())
    rate = written["model"]["init_args"]["learning_rate"]
    assert rate == pytest.approx(float(best["model.learning_rate"]))
    measured = yaml.safe_load((folder / "best/model.yaml").read_text())["measures"]
    assert measured["valid_auroc"] == pytest.approx(float(best["valid_auroc"]), abs=1e-6)
    assert (folder / "best/model.pt").stat().st_size > 1000
    # in W&B the trials are one group, each under its own name
    for row in table:
        (run,) = tmp_path.glob(f"work/real/{row['trial']}/wandb/offline-run-*/run-*.wandb")
        said = run.read_bytes()
        for field in ({"run_group": "real"}, {"display_name": row["trial"]}):
            assert RunRecord(**field).SerializeToString() in said
