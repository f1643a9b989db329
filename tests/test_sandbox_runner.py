"""Running one stage's command: output, errors, and that it never outlives us."""

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runtime.provenance import code_version

from aframe import sandbox
from aframe.errors import Sentences
from aframe.sandbox import Sandbox, StageError, run_stage


class Fake(Sandbox):
    """Runs Python code given as the first argument in place of a stage."""

    def command(self, project, arguments, writes, reads=()):
        return [sys.executable, "-c", *arguments]


def run(code: str, folder: Path, **place) -> float:
    return run_stage(Fake(**place), "Fake-0", "fake", [code], folder, writes=folder)


def wait_for(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_output_is_kept_and_shown_and_time_measured(tmp_path, capfd):
    code = "import sys, time; print('one'); sys.stderr.write('two\\n'); time.sleep(0.2)"
    wall = run(code, tmp_path)
    assert 0.2 <= wall < 5
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\n"
    assert capfd.readouterr().err == "[Fake-0] one\n[Fake-0] two\n"
    command = shlex.split((tmp_path / "command.txt").read_text())
    assert command == [sys.executable, "-c", code]


def test_output_comes_while_the_stage_runs(tmp_path):
    code = "import time; print('started'); time.sleep(30)"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_sandbox_runner import run; "
        "from pathlib import Path; run(sys.argv[2], Path(sys.argv[3]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parent), code, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "[Fake-0] started\n"
        process.kill()


def test_failure_carries_the_last_sentence_of_the_stage(tmp_path):
    code = "import sys; print('working'); sys.exit('fake: the rate is 3, expected 4')"
    with pytest.raises(
        StageError, match="Fake-0 failed: fake: the rate is 3, expected 4"
    ) as caught:
        run(code, tmp_path)
    assert f"log: {tmp_path}/log.txt" in str(caught.value)
    assert "working\n" in (tmp_path / "log.txt").read_text()


def test_failure_without_a_word(tmp_path):
    with pytest.raises(StageError, match="Fake-0 failed: exit code 3"):
        run("raise SystemExit(3)", tmp_path)


def test_death_by_signal_is_named(tmp_path):
    with pytest.raises(StageError, match=r"ended by signal 9 \(SIGKILL; out of memory, or killed"):
        run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", tmp_path)


def test_bytes_that_are_not_text_do_no_harm(tmp_path):
    run("import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\n')", tmp_path)


# Writes its own pid and that of a child it starts, then works on for ever.
ENDLESS = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("pids.tmp", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("pids.tmp", "pids")
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("interrupted; run it again to go on")
"""

CALLER = """
import multiprocessing, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_sandbox_runner import ENDLESS, run
folder = Path(sys.argv[2])
if sys.argv[3] == "worker":  # as law does with --workers 2
    worker = multiprocessing.get_context("fork").Process(target=run, args=(ENDLESS, folder))
    worker.start()
    worker.join()
else:
    run(ENDLESS, folder)
"""


@pytest.mark.parametrize("where", ["main", "worker"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stage_dies_with_law_however_law_dies(how, where, tmp_path):
    command = [sys.executable, "-c", CALLER, str(Path(__file__).parent), str(tmp_path), where]
    # what a shell starts in the background ignores Ctrl-C, and so would all that it starts
    listening = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    options = {"stderr": subprocess.DEVNULL, "start_new_session": True, **listening}
    with subprocess.Popen(command, **options) as caller:
        try:
            assert wait_for((tmp_path / "pids").exists)
            pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
            assert all(alive(pid) for pid in pids)
            if how == signal.SIGINT:
                # Ctrl-C reaches the whole foreground group, workers included
                os.killpg(caller.pid, how)
            else:
                os.kill(caller.pid, how)
            assert wait_for(lambda: not any(alive(pid) for pid in pids))
        except BaseException:
            caller.kill()
            raise
    if how == signal.SIGINT:
        assert "run it again to go on" in (tmp_path / "log.txt").read_text()


def test_the_same_stage_waits_for_its_other_run(tmp_path, caplog):
    code = (
        "import sys, time; from pathlib import Path; from aframe.sandbox import reserved\n"
        "with reserved(Path(sys.argv[1]), 'first'):\n"
        "    print('held', flush=True); time.sleep(1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        begun = time.monotonic()
        with caplog.at_level(logging.INFO, "aframe"), sandbox.reserved(tmp_path, "second"):
            assert time.monotonic() - begun > 0.5


def test_gpus_and_python_settings_in_a_venv(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    variables = Sandbox(gpus="0,1").variables()
    assert variables["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert not {"PYTHONPATH", "VIRTUAL_ENV"} & set(variables)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert Sandbox().variables()["CUDA_VISIBLE_DEVICES"] == "3"


@pytest.fixture
def apptainer(tmp_path, monkeypatch):
    """A program called apptainer that is never run, and a folder with an image."""
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    images = tmp_path / "images"
    images.mkdir()
    (images / "train.sif").write_text("")
    monkeypatch.setenv("AFRAME_CONTAINER_ROOT", str(images))
    return images


def test_command_in_an_image(apptainer, tmp_path):
    place = Sandbox("apptainer", dev=True, gpus="0")
    store, strain = tmp_path / "store", tmp_path / "strain"
    command = place.command("train", ["fit", "--fold", "0"], store, [strain])
    text = " ".join(command)
    assert f"--bind {store}:{store} --bind {strain}:{strain}:ro" in text
    assert f"--bind {sandbox.REPOSITORY}:/opt/aframe:ro" in text
    assert "--containall --cleanenv --no-home" in text
    assert "--nv" in command
    assert "--env CUDA_VISIBLE_DEVICES=0" in text
    assert command[-4:] == [str(apptainer / "train.sif"), "fit", "--fold", "0"]


def test_nothing_of_the_checkout_and_no_gpu_without_being_asked(apptainer, tmp_path):
    command = Sandbox("apptainer").command("train", ["fit"], tmp_path)
    assert "/opt/aframe" not in " ".join(command)
    assert "--nv" not in command


def test_keys_reach_an_image_and_no_command_line(apptainer, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store")
    place = Sandbox("apptainer")
    command = " ".join(place.command("train", ["tune"], tmp_path))
    assert "--env AWS_ENDPOINT_URL=http://store" in command
    assert "hidden" not in command
    variables = place.variables()
    assert variables["APPTAINERENV_AWS_SECRET_ACCESS_KEY"] == "hidden"
    assert variables["SINGULARITYENV_AWS_SECRET_ACCESS_KEY"] == "hidden"
    assert "APPTAINERENV_WANDB_API_KEY" not in variables
    assert "APPTAINERENV_AWS_SECRET_ACCESS_KEY" not in Sandbox().variables()


def test_a_cache_is_shared_with_images(apptainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFRAME_CACHE", "cache")
    command = " ".join(Sandbox("apptainer").command("train", ["fit"], tmp_path))
    assert f"--bind {tmp_path}/cache:{tmp_path}/cache " in command
    assert f"--env AFRAME_CACHE={tmp_path}/cache " in command
    assert (tmp_path / "cache").is_dir()


def test_code_of_the_checkout_comes_with_its_commit(apptainer, tmp_path):
    commit = code_version().partition("+")[2]
    command = " ".join(Sandbox("apptainer", dev=True).command("train", ["fit"], tmp_path))
    assert f"--env AFRAME_COMMIT={commit} " in command
    # without, the image says its own
    assert "AFRAME_COMMIT" not in " ".join(Sandbox("apptainer").command("train", [], tmp_path))


@pytest.mark.parametrize("given", ["", "/scratch"])
def test_temporary_files_of_an_image_are_on_the_disk(given, tmp_path, monkeypatch):
    if given:
        monkeypatch.setenv("APPTAINER_WORKDIR", given)
    code = (
        "import os; folder = os.environ['APPTAINER_WORKDIR']; print(os.path.isdir(folder), folder)"
    )
    run(code, tmp_path, kind="apptainer")
    found, folder = (tmp_path / "log.txt").read_text().split()
    assert (folder == given) == bool(given)
    assert found == str(not given)
    assert not Path(folder).exists()


def test_missing_images_and_apptainer_are_sentences(apptainer, tmp_path, monkeypatch):
    with pytest.raises(StageError, match=r"no image .*export.sif: `make images`"):
        Sandbox("apptainer").command("export", [], tmp_path)
    with pytest.raises(StageError, match=r"no image .*other.sif"):
        Sandbox("apptainer", image=str(tmp_path / "other.sif")).command("train", [], tmp_path)
    monkeypatch.delenv("AFRAME_CONTAINER_ROOT")
    with pytest.raises(StageError, match="give --image FILE, or set AFRAME_CONTAINER_ROOT"):
        Sandbox("apptainer").command("train", [], tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StageError, match="apptainer is not installed"):
        Sandbox("apptainer").command("train", [], tmp_path)


def record(message: str, error: BaseException | None = None, level: int = logging.ERROR):
    info = (type(error), error, None) if error else None
    return logging.LogRecord("luigi-interface", level, "", 0, message, ("x",), info)


def test_a_users_error_is_one_sentence_and_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.delenv("AFRAME_TRACEBACK", raising=False)
    user = record("failed %s", ValueError("too short"))
    assert Sentences().filter(user)
    assert (user.getMessage(), user.exc_info) == ("too short", None)
    ours = record("failed %s", KeyError("a"))
    assert Sentences().filter(ours)
    assert ours.exc_info is not None
    assert not Sentences().filter(record("Informed scheduler %s", level=logging.INFO))
    monkeypatch.setenv("AFRAME_TRACEBACK", "1")
    user = record("failed %s", ValueError("too short"))
    assert Sentences().filter(user)
    assert user.exc_info is not None
