"""The `ledger` command."""

import numpy as np
from ledger import StrainSegment
from ledger.cli import main
from ledger.product import REGISTRY


def test_ls_tells_what_a_file_says_about_itself(tmp_path, provenance, capsys):
    segment = StrainSegment(
        strain={"H1": np.zeros(4, "float32")}, gps_start=1126259446.0, sample_rate=1024.0
    )
    segment.write(tmp_path / "a.hdf5", provenance)
    assert main(["ls", str(tmp_path / "a.hdf5")]) == 0
    text = capsys.readouterr().out
    for part in ("product strain schema 1", "generator: test write", "seed: 7", "/H1 (4,)"):
        assert part in text
    assert "sample_rate: 1024.0" in text
    assert "strain: abc" in text
    assert "span: [1126259446.0000000, 1126259446.0039062)" in text


def test_ls_of_a_bad_file_is_a_sentence(tmp_path, capsys):
    (tmp_path / "a").write_text("nothing")
    assert main(["ls", str(tmp_path / "a")]) == 1
    assert main(["ls", str(tmp_path / "b")]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "not a readable HDF5 file" in first
    assert "no file" in second


def test_formats_has_a_section_for_every_product(capsys):
    assert main(["formats"]) == 0
    text = capsys.readouterr().out
    for name in REGISTRY:
        assert f"## `{name}` (schema {REGISTRY[name].schema})" in text
