"""Two reports beside each other."""

import json
import shutil
import subprocess
import sys

import pytest
from evaluate.comparison import compare, compared_numbers, differing_settings, read_report


def test_settings_that_differ_by_their_dotted_name():
    first = {"a": 1, "b": {"c": [1, 2], "d": {"e": 3}}, "only": {"x": 1}}
    second = {"a": 1, "b": {"c": [1, 3], "d": {"e": 3}}, "new": None, "late": 4}
    assert differing_settings(first, second) == {
        "b.c": ([1, 2], [1, 3]),
        "only": ({"x": 1}, None),
        "late": (None, 4),
    }
    assert differing_settings(first, first) == {}


@pytest.fixture
def other(made, tmp_path):
    """A version with another setting, fewer injections found, and a known event less."""
    folder = tmp_path / "version"
    shutil.copytree(made[0], folder / "report")
    path = folder / "report" / "summary.json"
    summary = json.loads(path.read_text())
    summary["settings"]["highpass"] = 20.0
    summary["version"] = "v2"
    summary["injections"]["num_found"]["8766"] -= 100
    summary["known_events"].pop()
    path.write_text(json.dumps(summary))
    return folder


def test_comparison_tells_what_differs(made, other, tmp_path):
    _, summary = made
    compare((made[0], other), tmp_path / "out")
    told = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert told["settings"] == {"highpass": {"A": summary["settings"]["highpass"], "B": 20.0}}
    assert told["reports"]["B"]["version"] == "v2"
    found = summary["injections"]["num_found"]["8766"]
    assert told["numbers"]["injections found at 8766 / yr"] == {"A": found, "B": found - 100}
    fraction = told["numbers"]["fraction of accepted found at 8766 / yr"]
    assert fraction["A"] == pytest.approx(found / summary["injections"]["num_accepted"])
    volume = told["numbers"]["sensitive volume of 35 + 35 M☉ at 8766 / yr [Gpc³]"]
    assert volume["A"] == volume["B"] > 0
    assert not any("12.175" in name for name in told["numbers"])
    page = (tmp_path / "out" / "index.html").read_text()
    assert "highpass" in page
    assert "not known" in page
    assert "sample_rate" not in page


def test_numbers_that_one_report_lacks(made, other):
    path = other / "report" / "summary.json"
    summary = json.loads(path.read_text())
    summary["population_volume"] = [
        {"population": "steep", "far_per_year": 8766.0, "volume_gpc3": 2.0, "std_gpc3": 0.1}
    ]
    path.write_text(json.dumps(summary))
    rows = compared_numbers([read_report(made[0], "A"), read_report(other, "B")])
    assert rows["sensitive volume of steep at 8766 / yr [Gpc³]"] == [None, 2.0]


def test_what_is_no_report_is_refused(made, other, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no summary\.json in"):
        compare((made[0], tmp_path), tmp_path / "out")
    (other / "report" / "lines.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lines\.json"):
        compare((made[0], other), tmp_path / "out")
    path = other / "report" / "summary.json"
    for text, part in (
        ("{", "not JSON"),
        ('{"schema": 9}', "schema 1"),
        ('{"schema": 1}', "older"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=part) as caught:
            compare((made[0], other), tmp_path / "out")
        assert str(path) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_command_line_says_a_sentence(tmp_path):
    """Also, two words after `--runs` are the list that it takes."""
    words = ["compare", "--runs", str(tmp_path), str(tmp_path), "--output", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "evaluate", *words], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        f"evaluate compare: no summary.json in {tmp_path} or"
    )
