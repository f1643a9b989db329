import json

import pytest
from evaluate.findings import find
from evaluate.report import report
from fake_search import FakeSearch


@pytest.fixture(scope="session")
def finished_search(tmp_path_factory):
    """A search of two folds; not to be changed."""
    return FakeSearch(
        tmp_path_factory.mktemp("search"),
        evaluation={"num_loudest": 2},
        background_livetime=4e5,
    )


@pytest.fixture(scope="session")
def findings(finished_search):
    """What it found; not to be changed."""
    return find(**finished_search.inputs())


@pytest.fixture(scope="session")
def made(finished_search, tmp_path_factory):
    """Folder of its report, and the contents of the summary; not to be changed."""
    output = tmp_path_factory.mktemp("made") / "report"
    report(**finished_search.keywords(output))

    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    text = (output / "summary.json").read_text()
    return output, json.loads(text, parse_constant=no_constant)
