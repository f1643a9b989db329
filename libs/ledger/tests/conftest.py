import pytest
from ledger import Provenance


@pytest.fixture
def provenance():
    return Provenance(
        generator="test write",
        code_version="0",
        settings={"sample_rate": 1024.0, "ifos": ["H1", "L1"]},
        seed=7,
        parents={"strain": "abc"},
    )
