"""The whole chain at its smallest: killed in training, run again, run once more."""

import itertools
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import ledger
import pytest
from conftest import LAW, PIPELINE, law_environment, run_law
from ledger.product import REGISTRY
from runtime import load_experiment

from aframe.environment import REPOSITORY, ensure

pytestmark = pytest.mark.chain

ARGUMENTS = (PIPELINE, "--experiment", "smoke", "--workers", "2")


def products(folder: Path) -> list[Path]:
    """All HDF5 products in a folder, visible ones only."""
    return sorted(p for p in folder.rglob("*.hdf5") if not p.name.startswith("."))


def partials(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.partial"))


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file: a file written anew differs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            found[str(path.relative_to(folder))] = (status.st_ino, status.st_mtime_ns)
    return found


def processes_with(text: str) -> list[str]:
    """Command lines of the living processes that name a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


class Chain:
    """One store, in which the pipeline was killed in training and then run to its end."""

    def __init__(self, store: Path) -> None:
        for project in ("datagen", "train", "export", "infer", "evaluate"):
            ensure(REPOSITORY / "projects" / project)
        self.store = store
        self.kill_in_training()
        self.result = run_law(*ARGUMENTS, store=store, timeout=900)
        (self.version,) = (store / "smoke").iterdir()

    def kill_in_training(self) -> None:
        with (self.store / "first.log").open("w") as log:
            law = subprocess.Popen(
                [str(LAW), "run", *ARGUMENTS],
                cwd=REPOSITORY,
                env=law_environment(self.store),
                stdout=log,
                stderr=log,
            )
            try:
                end = time.monotonic() + 600
                while not list(self.store.glob("smoke/*/stages/TrainLocal-0/log.txt")):
                    assert law.poll() is None, (self.store / "first.log").read_text()[-3000:]
                    assert time.monotonic() < end, "training did not begin within 10 minutes"
                    time.sleep(0.1)
                time.sleep(4)  # into the training itself
            finally:
                os.kill(law.pid, signal.SIGKILL)
                law.wait()
        end = time.monotonic() + 5
        while processes_with(str(self.store)) and time.monotonic() < end:
            time.sleep(0.1)
        self.survivors = processes_with(str(self.store))
        (version,) = (self.store / "smoke").iterdir()
        self.before = {
            str(p.relative_to(version)): identities(p.parent) for p in products(version)
        }
        self.made_before = {
            str(p.relative_to(version)): p.stat().st_mtime_ns for p in products(version)
        }
        stages = list((version / "stages").iterdir())
        self.interrupted = {p.name for p in stages if not (p / "wall.json").exists()}
        self.trained_before = (version / "train-0" / "model.yaml").exists()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    return Chain(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def experiment():
    return load_experiment(REPOSITORY / "configs" / "smoke")


def test_a_killed_pipeline_leaves_no_process(chain):
    assert chain.survivors == []


def test_it_was_killed_in_the_middle(chain):
    assert "strain/index.hdf5" in chain.made_before
    assert not chain.trained_before


def test_the_pipeline_ends_well_and_says_where_the_report_is(chain):
    assert chain.result.returncode == 0, chain.result.stderr[-3000:]
    assert f"Report: {chain.version / 'report' / 'index.html'}" in chain.result.stderr
    assert (chain.version / "report" / "index.html").is_file()


def test_it_went_on_from_where_it_was_killed(chain):
    now = {name: (chain.version / name).stat().st_mtime_ns for name in chain.made_before}
    assert now == chain.made_before


def test_no_half_written_product_is_left(chain):
    assert partials(chain.version) == []


def test_every_product_is_what_it_says(chain, experiment):
    found = products(chain.version)
    names = {str(path.relative_to(chain.version)) for path in found}
    expected = {"strain/index.hdf5", "training-waveforms.hdf5", "validation-0.hdf5"}
    expected |= {"injections-0.hdf5"}
    expected |= {f"events-0/{name}.hdf5" for name in ("background", "foreground", "zero-lag")}
    assert expected <= names
    assert len([name for name in names if name.startswith("strain/strain-")]) == 6
    for path in found:
        product = REGISTRY[ledger.product_name(path)].read(path)
        product.validate()
        assert ledger.read_provenance(path).settings == experiment.settings()


def test_products_name_their_parents(chain):
    from ledger.product import product_id

    index = product_id(chain.version / "strain" / "index.hdf5")
    parents = ledger.read_provenance(chain.version / "injections-0.hdf5").parents
    assert index in parents.values()
    injections = product_id(chain.version / "injections-0.hdf5")
    parents = ledger.read_provenance(chain.version / "events-0" / "foreground.hdf5").parents
    assert injections in parents.values()


def test_no_path_of_this_machine_is_in_a_product(chain):
    for path in products(chain.version):
        assert str(chain.store).encode() not in path.read_bytes(), path


def test_roles_are_disjoint_in_time(chain):
    base = chain.version / "strain" / "index.hdf5"
    index = ledger.StrainIndex.read(base)
    spans = {
        role: [(file.gps_start, file.gps_stop) for file in index.files(base, role)]
        for role in ("training", "validation", "search")
    }
    assert all(spans.values())
    flat = sorted(span for group in spans.values() for span in group)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(flat))


def test_records_lie_beside_the_outputs(chain):
    stages = {path.name for path in (chain.version / "stages").iterdir()}
    made = {"StrainIndex", "TrainingWaveformBranches-0", "TrainLocal-0", "InferLocal-0"}
    assert made <= stages
    assert {f"SimulateStrain-{branch}" for branch in range(6)} <= stages
    for stage in stages:
        folder = chain.version / "stages" / stage
        # A stage that was killed after its product was in place, but before its process ended, is
        # done and has no time.
        if (folder / "wall.json").exists() or stage not in chain.interrupted:
            assert json.loads((folder / "wall.json").read_text())["wall_s"] > 0
        assert (folder / "log.txt").is_file()
        assert load_experiment(folder / "experiment.yaml").name == "smoke"
        assert " -m " in (folder / "command.txt").read_text()


def test_summary_has_the_documented_contents(chain, experiment):
    summary = json.loads((chain.version / "report" / "summary.json").read_text())
    assert summary["schema"] == 1
    assert summary["experiment"] == "smoke"
    assert summary["version"] == chain.version.name
    assert summary["ifos"] == ["H1", "L1"]
    assert summary["zero_lag_livetime_s"] > 0
    background = summary["background"]
    assert background["livetime_s"] > 0
    assert background["num_slides"] > 0
    assert background["num_events"] > 0
    assert isinstance(background["loudest"], float)
    injections = summary["injections"]
    assert injections["num_injected"] == injections["num_accepted"] + injections["num_rejected"]
    assert injections["num_accepted"] > 0
    assert len(injections["num_found"]) == len(experiment.evaluation.false_alarm_rates)
    for row in summary["sensitive_volume"]:
        assert {"mass_1_source", "mass_2_source", "far_per_year"} <= set(row)
        assert {"volume_gpc3", "std_gpc3"} <= set(row)
    for row in summary["zero_lag"]:
        assert {"gps", "statistic", "far_per_year", "far_interval_per_year"} <= set(row)
    assert all(stage["wall_s"] >= 0 for stage in summary["stages"].values())
    assert any("TrainLocal" in name for name in summary["stages"])


def test_status_after_the_run(chain):
    status = run_law(PIPELINE, "--experiment", "smoke", "--print-status", "-1", store=chain.store)
    assert status.returncode == 0
    assert "absent" not in status.stdout
    assert "existent" in status.stdout


def test_a_second_run_does_nothing_and_says_so(chain):
    before = identities(chain.version)
    begun = time.monotonic()
    result = run_law(*ARGUMENTS, store=chain.store)
    assert time.monotonic() - begun < 15
    assert result.returncode == 0
    assert "nothing to do" in result.stderr
    assert str(chain.version / "report" / "index.html") in result.stderr
    assert identities(chain.version) == before


def test_removed_output_is_made_again(chain):
    before = identities(chain.version)
    report = chain.version / "report"
    options = ("--experiment", "smoke", "--remove-output", "1,a,y")
    result = run_law(PIPELINE, *options, store=chain.store)
    assert result.returncode == 0, result.stderr[-3000:]
    assert (report / "index.html").is_file()
    after = identities(chain.version)
    assert after["report/index.html"] != before["report/index.html"]
    kept = [name for name in before if not name.startswith(("report", "stages"))]
    assert all(after[name] == before[name] for name in kept)


def test_any_order_and_number_of_workers_give_the_same_bytes(chain, tmp_path):
    """Two workers there; here one, and the branches backwards."""
    experiment = ("--experiment", "smoke")
    for branch in reversed(range(6)):
        result = run_law(
            "aframe.SimulateStrain", *experiment, "--branch", str(branch), store=tmp_path
        )
        assert result.returncode == 0, result.stderr[-3000:]
    for task in ("Injections", "ValidationWaveforms", "TrainingWaveforms"):
        result = run_law(f"aframe.{task}", *experiment, "--workers", "1", store=tmp_path)
        assert result.returncode == 0, result.stderr[-3000:]
    again = tmp_path / "smoke" / chain.version.name
    made = products(again)
    assert len(made) == 10
    for path in made:
        other = chain.version / path.relative_to(again)
        assert path.read_bytes() == other.read_bytes(), path.name
