import os
from pathlib import Path

import pytest
import yaml
from runtime import load_experiment

ROOT = Path(__file__).parents[3]
SMOKE = ROOT / "configs" / "smoke"


@pytest.fixture(scope="session")
def smoke():
    return load_experiment(SMOKE)


@pytest.fixture
def edited(tmp_path):
    """Write a shipped experiment with some settings changed, by dotted names."""

    def write(name="smoke", **changes):
        content = yaml.safe_load((ROOT / "configs" / name / "experiment.yaml").read_text())
        for key, value in changes.items():
            place = content
            *parents, last = key.split("__")
            for parent in parents:
                place = place[parent]
            place[last] = value
        folder = tmp_path / f"experiment-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
        return folder

    return write


@pytest.fixture(scope="session")
def smoke_strain(tmp_path_factory, smoke):
    """Index of the smoke experiment's strain."""
    from datagen.index import index_strain
    from datagen.simulate import simulate_strain
    from ledger import strain_file_name

    folder = tmp_path_factory.mktemp("strain")
    for branch, (role, start, stop) in enumerate(smoke.strain.simulated_files()):
        simulate_strain(SMOKE, branch, folder / strain_file_name(role, start, stop - start))
    index_strain(SMOKE, folder)
    return folder / "index.hdf5"


@pytest.fixture(scope="session")
def real_data():
    folder = Path(os.environ.get("AFRAME_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "strain" / "events").is_dir():
        pytest.skip(f"no real data at {folder} (set AFRAME_TEST_DATA)")
    return folder / "strain"


@pytest.fixture
def fails(capsys):
    """Run the command line and return the sentence with which it fails."""
    from datagen.cli import main

    def run(*argv):
        with pytest.raises(SystemExit) as stopped:
            main([str(a) for a in argv])
        assert stopped.value.code == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert "Traceback" not in "".join(lines)
        return lines[-1]

    return run
