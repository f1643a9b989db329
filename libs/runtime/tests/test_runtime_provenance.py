"""Provenance and the comparison of settings."""

import numpy as np
import pytest
from ledger import ProductError, StrainSegment, read_provenance
from ledger.product import product_id
from runtime import load_experiment, make_provenance, require_same
from runtime.provenance import SAME_MODEL, SAME_STRAIN


@pytest.fixture
def product(write, tmp_path):
    experiment = load_experiment(write())
    path = tmp_path / "strain.hdf5"
    segment = StrainSegment(
        strain={ifo: np.zeros(8, "float32") for ifo in experiment.ifos},
        gps_start=0.0,
        sample_rate=1024.0,
    )
    segment.write(path, make_provenance("test", experiment, seed=3))
    return path


def test_provenance_records_experiment_seed_and_parents(product, write, tmp_path):
    experiment = load_experiment(write())
    made = make_provenance("stage verb", experiment, 3, {"strain": product})
    assert made.settings == experiment.settings()
    assert made.parents == {"strain": product_id(product)}
    assert made.seed == 3
    assert made.code_version.startswith("0.1.0")
    assert read_provenance(product).settings == experiment.settings()


def test_same_settings_pass(product, write):
    require_same(product, load_experiment(write()), SAME_MODEL)


@pytest.mark.parametrize(
    ("changes", "keys", "found", "expected"),
    [
        ({"sample_rate": 2048}, SAME_STRAIN, "sample_rate = 1024.0", "2048.0"),
        ({"whitening.psd_length": 16}, SAME_MODEL, "whitening.psd_length = 8.0", "16.0"),
        ({"ifos": ["L1", "H1"]}, SAME_STRAIN, r"ifos = \['H1', 'L1'\]", r"\['L1', 'H1'\]"),
    ],
)
def test_other_settings_name_both_values_and_both_files(
    product, write, changes, keys, found, expected
):
    other = write(changes, "other.yaml")
    sentence = rf"{product} was made with {found}, but {other} says {expected}"
    with pytest.raises(ProductError, match=sentence):
        require_same(product, load_experiment(other), keys)


def test_settings_that_do_not_matter_here_may_differ(product, write):
    other = load_experiment(write({"whitening.psd_length": 16}, "other.yaml"))
    require_same(product, other, SAME_STRAIN)
