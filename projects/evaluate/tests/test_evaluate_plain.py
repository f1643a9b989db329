"""A report of a search without injections, and of one with times left out."""

import csv
import json
import shutil
from copy import copy

import numpy as np
import pytest
from evaluate.comparison import compare
from evaluate.findings import find
from evaluate.report import report


@pytest.fixture
def search(finished_search, tmp_path):
    """The search without its injections, in a folder of its own."""
    shutil.copytree(finished_search.folder, tmp_path / "search")
    mine = copy(finished_search)
    mine.results = [tmp_path / "search" / path.name for path in finished_search.results]
    for folder in mine.results:
        (folder / "foreground.hdf5").unlink()
        (folder / "injection-details.hdf5").unlink(missing_ok=True)
    return mine


def test_a_page_without_injections(search, made, tmp_path):
    report(**search.keywords(tmp_path / "report"))
    summary = json.loads((tmp_path / "report/summary.json").read_text())
    full = made[1]
    assert summary["injections"]["num_injected"] == 0
    assert summary["injections"]["num_found"] == {}
    assert summary["sensitive_volume"] == summary["population_volume"] == []
    assert summary["signals"] is None
    # what injections have no part in is the same
    names = ("gps", "statistic", "far_per_year", "far_interval_per_year", "noise_events")
    for mine, theirs in zip(summary["zero_lag"], full["zero_lag"], strict=True):
        assert [mine[name] for name in names] == [theirs[name] for name in names]
        assert mine["p_astro"] is None
    assert summary["known_events"] == full["known_events"]
    page = (tmp_path / "report/index.html").read_text()
    assert page.count("No injections were searched for, so that there is no sensitive volume") == 1
    assert "Injections found" not in page
    assert "Sensitive volume [Gpc³]" not in page
    assert "optimal network SNR ≥" not in page
    assert set(json.loads((tmp_path / "report/lines.json").read_text())["volume"]) == set()


def test_a_plain_search_beside_a_full_one(search, made, tmp_path):
    report(**search.keywords(tmp_path / "report"))
    compare(runs=[tmp_path / "report", made[0]], output=tmp_path / "compared")
    assert (tmp_path / "compared/index.html").is_file()


def test_injections_in_some_folds_alone(search, finished_search):
    shutil.copy(finished_search.results[0] / "foreground.hdf5", search.results[0])
    with pytest.raises(FileNotFoundError, match=r"no foreground.hdf5 in the results of fold 1"):
        find(**search.inputs())


def test_marks_are_told_by_name(search, tmp_path):
    search.rewrite(
        0,
        "zero-lag",
        {"strain": search.strain},
        mark=np.array([3, 3, 5]),
        mark_reason=["gates.txt", "CAT2 X:1", "gates.txt"],
        mark_ifo=np.array([-1, 1, 0]),
    )
    findings = find(**search.inputs())
    named = {c.key: c.left_out for c in findings.candidates if c.left_out}
    ifos = findings.experiment.ifos
    assert named == {
        (0, 3): ("gates.txt", f"CAT2 X:1 ({ifos[1]})"),
        (0, 5): (f"gates.txt ({ifos[0]})",),
    }
    report(**search.keywords(tmp_path / "report"))
    with (tmp_path / "report/events.csv").open() as file:
        rows = list(csv.DictReader(file))
    texts = [row["left_out"] for row in rows if row["left_out"]]
    assert sorted(texts) == [f"gates.txt ({ifos[0]})", f"gates.txt; CAT2 X:1 ({ifos[1]})"]
    assert len(rows) == len(findings.candidates)
