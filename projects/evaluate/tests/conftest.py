import pytest
from fake_search import FakeSearch


@pytest.fixture(scope="session")
def finished_search(tmp_path_factory):
    """A search of two folds; not to be changed."""
    return FakeSearch(
        tmp_path_factory.mktemp("search"),
        evaluation={"num_loudest": 3},
        background_livetime=4e5,
    )
