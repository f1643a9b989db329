"""What docs/serving.md tells a reader to type works, and prints what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hermes.aeriel.serve import find_server

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"


@pytest.mark.triton
def test_the_tutorial_runs(tmp_path: Path) -> None:
    if find_server() is None:
        pytest.skip("no Triton server: make the environment of projects/triton")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 6
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(blocks))
    command = [sys.executable, "-P", str(script)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "[1]"
    assert lines[1] == "(4, 1)"
    assert lines[2].startswith("(960, 1) the first 16 ")
    assert lines[-1] == "True"
    listed = subprocess.run(
        [sys.executable, "-m", "hermes", "ls", "models"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert all(name in listed.stdout for name in ("my-nn", "my-nn-stream", "snapshotter"))
