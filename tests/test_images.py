"""Images are built for real, and stages run in them: the same bytes, and nothing of the host.

`$AFRAME_TEST_IMAGES` names a folder of images to test instead of building them.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from conftest import run_law
from runtime.provenance import code_version

from aframe.environment import REPOSITORY, ensure
from aframe.sandbox import FORWARDED, SECRETS, THREADING, Sandbox, StageError, run_stage
from aframe.tasks import Evaluate

pytestmark = pytest.mark.container

# What a base of Debian needs besides what is always there; see apptainer/base.def.
SYSTEM = ("python3", "python3-venv", "libpython3.{}", "ca-certificates")
# Documents and translations, a third of what is unpacked.
LEFT_OUT = ("doc", "locale", "man", "info")


def reason_not_to_run() -> str:
    """Why no image can be built or run here; empty if they can."""
    for program in ("apptainer", "mmdebstrap", "apt-get"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False).returncode:
        return "no user namespaces on this machine"
    return ""


def package_source() -> tuple[str, str]:
    """Address and suite of this machine's own system packages."""
    release = Path("/etc/os-release").read_text()
    suite = re.search(r"^VERSION_CODENAME=(\w+)$", release, re.MULTILINE)
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for line in listed.splitlines():
        address, *rest = line.split()
        if suite and rest == [suite[1], "main"]:
            return address, suite[1]
    pytest.skip("this machine has no source of Debian or Ubuntu packages")


def make_root_file_system(folder: Path) -> None:
    address, suite = package_source()
    version = {"bookworm": 11, "trixie": 13, "noble": 12}.get(suite)
    if version is None:
        pytest.skip(f"{suite} has no Python that the images are tested with")
    packages = ",".join(SYSTEM).format(version)
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    command = ["mmdebstrap", "--quiet", "--variant=apt", f"--include={packages}", *left_out]
    subprocess.run([*command, suite, str(folder), address], check=True)
    # device files stop an image from being unpacked without privileges
    shutil.rmtree(folder / "dev")
    (folder / "dev").mkdir()


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Folder of a base and the image of `evaluate`, the one stage without torch."""
    if reason := reason_not_to_run():
        pytest.skip(reason)
    if given := os.environ.get("AFRAME_TEST_IMAGES"):
        yield Path(given)
        return
    folder = tmp_path_factory.mktemp("images")
    make_root_file_system(folder / "root")
    uv = Path(sys.prefix) / "bin" / "uv"
    cache = subprocess.run([uv, "cache", "dir"], check=True, capture_output=True, text=True)
    settings = {
        "AFRAME_CONTAINER_ROOT": str(folder),
        "BASE_BOOTSTRAP": "localimage",
        "BASE_FROM": str(folder / "root"),
        # folders: compressing them would take longer than all else
        "APPTAINER_FLAGS": "--fakeroot --sandbox",
        "UV_CACHE_DIR": cache.stdout.strip(),
    }
    build = ["make", "images", "PROJECT=evaluate"]
    subprocess.run(build, cwd=REPOSITORY, env=os.environ | settings, check=True)
    yield folder
    # more than a gigabyte, which pytest would keep
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _in_images(images, monkeypatch):
    monkeypatch.setenv("AFRAME_CONTAINER_ROOT", str(images))
    if os.geteuid() == 0:
        # a root with fewer capabilities than apptainer asks for
        monkeypatch.setenv("APPTAINER_USERNS", "1")


@pytest.fixture
def image(images):
    return images / "evaluate.sif"


def apptainer(*arguments: object, **variables: str) -> str:
    done = subprocess.run(
        ["apptainer", *map(str, arguments)],
        env=os.environ | variables,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def look_inside(code: str, folder: Path, reads=(), **place) -> str:
    """Run Python code as `evaluate` is run in its image; gives the last line that it prints."""
    run_stage(
        Sandbox("apptainer", **place), "Probe", "evaluate", ["python", "-c", code], folder,
        writes=folder, reads=reads,
    )  # fmt: skip
    return (folder / "log.txt").read_text().splitlines()[-1]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_label_and_help_say_what_an_image_is(image):
    about = json.loads(apptainer("inspect", "--json", "--labels", "--helpfile", image))
    about = about["data"]["attributes"]
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True
    ).stdout.strip()
    package = tomllib.loads((REPOSITORY / "projects/evaluate/pyproject.toml").read_text())
    labels = about["labels"]
    assert labels["org.opencontainers.image.title"] == "aframe-evaluate"
    assert labels["org.opencontainers.image.revision"] == commit
    version = labels["org.opencontainers.image.version"]
    assert version.removesuffix("+changed") == package["project"]["version"]
    text = apptainer("run-help", image)
    assert re.search(r"^ *reads .*--experiment FILE", text, re.MULTILINE)
    assert re.search(r"^ *writes .*--output DIR", text, re.MULTILINE)


def test_an_image_holds_the_lock_and_nothing_that_only_builds_or_tests(image):
    code = (
        "import importlib.metadata, json; "
        "print(json.dumps([[d.name, d.version] for d in importlib.metadata.distributions()]))"
    )

    def normal(name: str) -> str:
        return re.sub("[-_.]+", "-", name).lower()

    listed = json.loads(apptainer("exec", image, "python", "-c", code))
    installed = {normal(name): version for name, version in listed}
    lock = (REPOSITORY / "projects/evaluate/requirements.lock").read_text()
    # of some packages one version for each Python
    locked = {(normal(n), v) for n, v in re.findall(r"^(\S+)==([^ ]+)", lock, re.MULTILINE)}
    local = {"aframe-evaluate", "aframe-ledger", "aframe-priors", "aframe-runtime"}
    assert local <= set(installed)
    assert {(n, v) for n, v in installed.items() if n not in local} <= locked
    assert {"numpy", "bokeh", "scipy"} <= set(installed)
    assert not {"pytest", "hypothesis", "pip", "uv"} & set(installed)
    look = (
        "ls /opt /opt/aframe/libs /mnt; find /var/lib/apt/lists /var/cache/apt /root -name '*.*' "
        "-type f -not -name '.*'; for p in gcc make git uv; do command -v $p; done; true"
    )
    found = apptainer("exec", "--containall", "--no-home", image, "sh", "-c", look).split()
    folders = ["/opt:", "/opt/aframe/libs:", "/mnt:"]
    assert sorted(found) == sorted([*folders, "aframe", "venv", "ledger", "priors", "runtime"])


def test_the_command_line_of_the_stage_and_other_programs_of_it(image):
    assert "usage: evaluate {report,compare}" in apptainer("run", image, "--help")
    script = "import sys; print(sys.executable, [p for p in sys.path if 'nowhere' in p])"
    # as the README of the first aframe has it, with the checkout bound over the code
    bind = ("--bind", f"{REPOSITORY}:/opt/aframe")
    for how in ("run", "exec"):
        shown = apptainer(how, "--nv", *bind, image, "python", "-c", script, PYTHONPATH="/nowhere")
        assert shown.split() == ["/opt/venv/bin/python", "[]"]
    assert "report" in apptainer("exec", *bind, image, "python", "-m", "evaluate", "--help")


# Run in an image, where `places` is a table of paths.
LOOK_ROUND = """
import json, os, sys
from pathlib import Path
import numpy

def writable(folder):
    try:
        Path(folder, "new").touch()
        return True
    except OSError:
        return False

print(json.dumps({
    "python": sys.executable,
    "base": sys.base_prefix,
    "numpy": numpy.__file__,
    "path": sys.path,
    "variables": dict(os.environ),
    "seen": [name for name, path in places.items() if Path(path).exists()],
    "writable": [name for name, path in places.items() if writable(path)],
    "home": [path.name for path in Path.home().glob("[!.]*")],
    "on_disk": os.stat(places["temporary"]).st_dev == os.stat(places["writes"]).st_dev,
}))
"""


def test_nothing_of_the_host_is_seen_but_what_the_stage_needs(images, tmp_path, monkeypatch):
    for name in ("HIDDEN", "PYTHONPATH", "LAW_HOME", "SLURM_JOB_ID", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key")
    monkeypatch.setenv("AFRAME_CACHE", str(tmp_path / "cache"))
    writes, reads, other = (tmp_path / name for name in ("writes", "reads", "other"))
    for folder in (writes, reads, other):
        folder.mkdir()
        (folder / "file").write_text("")
    places = {
        "writes": writes,
        "reads": reads,
        "other": other,
        "cache": tmp_path / "cache",
        "repository": REPOSITORY,
        "code": "/opt/aframe",
        "temporary": "/tmp",
    }
    code = f"places = { ({k: str(v) for k, v in places.items()}) }\n{LOOK_ROUND}"
    found = json.loads(look_inside(code, writes, reads=[reads]))
    assert found["python"] == "/opt/venv/bin/python"
    assert found["base"] == "/usr"
    assert found["numpy"].startswith("/opt/venv/lib/")
    assert all(path.startswith(("/opt/", "/usr/lib/")) for path in found["path"] if path)
    assert found["seen"] == ["writes", "reads", "cache", "code", "temporary"]
    assert found["writable"] == ["writes", "cache", "temporary"]
    assert found["home"] == []
    assert found["on_disk"], "/tmp of the image lies in memory"
    variables = found["variables"]
    own = {"HOME", "LANG", "LC_ALL", "PATH", "PWD", "PS1", "PROMPT_COMMAND", "SHLVL", "_"}
    own |= {"LD_LIBRARY_PATH", "MPLCONFIGDIR", "PYTHONNOUSERSITE", "PYTHONUNBUFFERED"}
    own |= {"AFRAME_COMMIT", *THREADING, *FORWARDED, *SECRETS}
    own |= {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}
    rest = {name for name in variables if not name.startswith(("APPTAINER_", "SINGULARITY_"))}
    assert rest <= own
    assert variables["PYTHONPATH"] == ""
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["AWS_SECRET_ACCESS_KEY"] == "key"
    assert "CUDA_VISIBLE_DEVICES" not in variables


def test_gpus_reach_the_stage(images, tmp_path):
    code = "import os; print('devices', os.environ['CUDA_VISIBLE_DEVICES'])"
    assert look_inside(code, tmp_path, gpus="0,1") == "devices 0,1"
    assert " --nv " in (tmp_path / "command.txt").read_text()


def test_dev_runs_the_code_of_the_checkout(images, tmp_path, monkeypatch):
    checkout, writes = tmp_path / "checkout", tmp_path / "writes"
    writes.mkdir()
    ignore = shutil.ignore_patterns(".venv", "__pycache__", "tests")
    for part in ("libs", "projects/evaluate"):
        shutil.copytree(REPOSITORY / part, checkout / part, ignore=ignore)
    (checkout / "projects/evaluate/evaluate/novelty.py").write_text("WORD = 'from the checkout'\n")
    monkeypatch.setattr("aframe.sandbox.REPOSITORY", checkout)
    code = "import evaluate.novelty as n; print(n.WORD, n.__file__)"
    with pytest.raises(StageError, match=r"No module named 'evaluate.novelty'"):
        look_inside(code, writes)
    shown = look_inside(code, writes, dev=True)
    assert shown == "from the checkout /opt/aframe/projects/evaluate/evaluate/novelty.py"


def test_the_sentence_of_a_failed_stage(images, tmp_path):
    missing = tmp_path / "experiment.yaml"
    with pytest.raises(StageError, match=f"Probe failed: .*{missing}"):
        run_stage(
            Sandbox("apptainer"), "Probe", "evaluate",
            ["report", "--experiment", str(missing), "--version", "v1", "--results", "[]",
             "--runs", "[]", "--strain", str(missing), "--stages", str(missing),
             "--output", str(tmp_path / "report")],
            tmp_path, writes=tmp_path,
        )  # fmt: skip


def test_a_stage_in_an_image_dies_with_law(images, tmp_path):
    endless = "import time; open('alive', 'w').close(); time.sleep(612.25)"
    code = (
        "import sys; from pathlib import Path; from aframe.sandbox import Sandbox, run_stage; "
        "folder = Path(sys.argv[1]); stage = ['python', '-c', sys.argv[2]]; "
        "run_stage(Sandbox('apptainer'), 'Probe', 'evaluate', stage, folder, writes=folder)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), endless]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as law:
        assert wait_for((tmp_path / "alive").exists)
        assert living("612.25", besides=law.pid)
        law.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not living("612.25"))


def wait_for(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def living(text: str, besides: int = 0) -> list[int]:
    """Processes with a text on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in path.read_bytes().decode(errors="replace"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != besides]


def test_products_say_the_same_commit_as_in_the_checkout(images, tmp_path):
    code = "from runtime.provenance import code_version; print(code_version())"
    assert look_inside(code, tmp_path) == code_version()
    assert look_inside(code, tmp_path, dev=True) == code_version()
    assert "+" in code_version()


@pytest.fixture
def search(tmp_path, monkeypatch):
    """A store in which all of a search is done but the report; gives the report's task."""
    monkeypatch.setenv("AFRAME_STORE", str(tmp_path / "store"))
    task = Evaluate(experiment="smoke")
    script = (
        "import sys; from pathlib import Path; from fake_search import FakeSearch; "
        "FakeSearch(Path(sys.argv[1]), sys.argv[2], num_injections=400, background_livetime=2e4)"
    )
    python = ensure(REPOSITORY / "projects" / "evaluate")
    tools = str(REPOSITORY / "projects" / "evaluate" / "tests")
    variables = os.environ | {"PYTHONPATH": tools}
    command = [str(python), "-c", script, str(task.path()), "smoke"]
    subprocess.run(command, env=variables, check=True)
    for target in task.input()["runs"]:
        for name in target.files:
            Path(target.path, name).touch()
    return task


def test_law_makes_the_same_bytes_in_an_image(search, images, tmp_path):
    report = search.path("report")
    made = {}
    for place in ("venv", "apptainer"):
        run = run_law(
            "aframe.Evaluate", "--experiment", "smoke", "--environment", place,
            store=tmp_path / "store", AFRAME_CONTAINER_ROOT=str(images),
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-3000:]
        command = (search.path("stages", search.stage) / "command.txt").read_text()
        assert ("evaluate.sif" in command) == (place == "apptainer")
        made[place] = digests(report)
        report.rename(tmp_path / place)
        # the report tells the time of earlier stages, and the first one of this stage would be one
        (search.path("stages", search.stage) / "wall.json").unlink()
    assert len(made["venv"]) > 5
    assert made["apptainer"] == made["venv"]


def test_law_says_what_is_missing(search, images, tmp_path):
    run = run_law(
        "aframe.Evaluate", "--experiment", "smoke", "--environment", "apptainer",
        store=tmp_path / "store", AFRAME_CONTAINER_ROOT=str(tmp_path),
    )  # fmt: skip
    assert run.returncode != 0
    assert f"no image {tmp_path}/evaluate.sif: `make images`" in run.stderr
