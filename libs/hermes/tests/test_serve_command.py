"""`python -m hermes` as a user calls it."""

import re
import signal
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
from hermes.__main__ import main
from hermes.aeriel.monitor import read_rows
from hermes.aeriel.serve import find_server
from test_serve import LIMIT, ask, repository, write_model  # noqa: F401

HERMES = [sys.executable, "-P", "-m", "hermes"]
needs_server = pytest.mark.skipif(find_server() is None, reason="no environment projects/triton")


@pytest.mark.triton
@needs_server
def test_serve_says_where_it_listens_and_monitor_reads_it(repository, tmp_path):  # noqa: F811
    process = subprocess.Popen(
        [*HERMES, "serve", str(repository), "--timeout", str(LIMIT)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        lines = dict(process.stdout.readline().split() for _ in range(3))
        np.testing.assert_array_equal(ask(lines["grpc"], "twice"), [0, 2, 4, 6])
        with urllib.request.urlopen(f"http://{lines['http']}/v2/health/ready") as answer:
            assert answer.status == 200
        options = ["--interval", "0.2", "--duration", "0.5"]
        options += ["--file", str(tmp_path / "m.csv"), "--plot", str(tmp_path / "m.html")]
        subprocess.run([*HERMES, "monitor", lines["metrics"], *options], check=True, timeout=LIMIT)
        assert {row.model for row in read_rows(tmp_path / "m.csv")} == {"twice"}
        assert (tmp_path / "m.html").exists()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == 0
        process.stdout.close()


def test_ls_shows_models_and_then_what_is_broken(repository, capsys):  # noqa: F811
    assert main(["ls", str(repository)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "twice: onnx, versions 1 served",
        "  input x (4) float32",
        "  output y (4) float32",
    ]
    write_model(repository, "broken", 1)
    (repository / "broken" / "config.pbtxt").write_text("nonsense: 1")
    assert main(["ls", str(repository)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("twice: onnx")
    assert re.match(r"hermes ls: .*broken/config.pbtxt", captured.err)


def test_what_a_user_can_mend_is_a_sentence(tmp_path, capsys):
    assert main(["serve", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith("hermes serve: no model repository at")
    assert main(["monitor", "127.0.0.1:1", "--plot", "page.html"]) == 1
    expected = "hermes monitor: --plot needs --file, the table that is plotted\n"
    assert capsys.readouterr().err == expected
