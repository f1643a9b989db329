import pytest
import yaml
from cleaning import ProblemError, load_problem

GOOD = {
    "name": "60Hz-H1",
    "ifo": "H1",
    "layers": [{"bands": [[55, 65]], "witnesses": ["PEM-MAINS_DQ", "ASC-X"], "sample_rate": 512}],
}


def write(tmp_path, changes=None, layer=None):
    content = {**GOOD, **(changes or {})}
    if layer:
        content["layers"] = [{**GOOD["layers"][0], **layer}]
    path = tmp_path / "problem.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_names_get_the_detectors_prefix(tmp_path):
    problem = load_problem(write(tmp_path))
    assert problem.strain_channel == "H1:GDS-CALIB_STRAIN"
    assert problem.witnesses == ("H1:PEM-MAINS_DQ", "H1:ASC-X")


@pytest.mark.parametrize(
    ("changes", "layer", "message"),
    [
        ({"ifo": "hanford"}, None, "ifo"),
        ({"colour": "blue"}, None, "colour"),
        (None, {"bands": [[65, 55]]}, "bands must rise"),
        (None, {"bands": [[55, 65], [60, 70]]}, "must not overlap"),
        (None, {"bands": [[200, 300]]}, "half the layer's sample_rate"),
        (None, {"witnesses": ["A", "A"]}, "named twice: A"),
        (None, {"sample_rate": 8192, "bands": [[55, 65]]}, "above the cleaned strain's"),
        (None, {"witnesses": []}, "witnesses"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, changes, layer, message):
    with pytest.raises(ProblemError, match=message):
        load_problem(write(tmp_path, changes, layer))


def test_a_missing_channel_is_named(tmp_path):
    problem = load_problem(write(tmp_path))
    with pytest.raises(ProblemError, match=r"frames lacks H1:ASC-X, which"):
        problem.require_channels({"H1:GDS-CALIB_STRAIN", "H1:PEM-MAINS_DQ"}, "frames")


def test_a_missing_file_and_broken_text(tmp_path):
    with pytest.raises(ProblemError, match="no problem file"):
        load_problem(tmp_path / "none.yaml")
    path = tmp_path / "broken.yaml"
    path.write_text("a: [")
    with pytest.raises(ProblemError, match="is not YAML"):
        load_problem(path)


def test_the_digest_changes_with_the_order_of_witnesses(tmp_path):
    first = load_problem(write(tmp_path)).digest
    turned = load_problem(write(tmp_path, layer={"witnesses": ["ASC-X", "PEM-MAINS_DQ"]})).digest
    assert first != turned
