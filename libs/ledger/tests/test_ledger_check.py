"""`ledger check`."""

import h5py
import numpy as np
from ledger import StrainIndex, StrainSegment, WaveformSet
from ledger.cli import main


def write_all(folder, provenance):
    segment = StrainSegment(strain={"H1": np.ones(8, "float32")}, gps_start=100.0, sample_rate=4.0)
    segment.write(folder / "strain.hdf5", provenance)
    StrainIndex(
        ifos=("H1",),
        sample_rate=4.0,
        path=["strain.hdf5"],
        label=["a"],
        gps_start=np.array([100.0]),
        gps_stop=np.array([102.0]),
        role=np.array([[0]], dtype=np.int8),
        known_label=[],
        known_time=np.zeros(0),
        known_window=np.zeros((0, 2)),
    ).write(folder / "index.hdf5", provenance)
    waveforms = WaveformSet(
        sample_rate=4.0,
        coalescence=1.0,
        num_failed=0,
        parameters={"ra": np.arange(2.0)},
        plus=np.ones((2, 4), "float32"),
        cross=np.zeros((2, 4), "float32"),
    )
    waveforms.write(folder / "below" / "waveforms.hdf5", provenance)


def check(folder, capsys):
    code = main(["check", str(folder)])
    return code, capsys.readouterr().out


def test_good_products_pass(tmp_path, provenance, capsys):
    write_all(tmp_path, provenance)
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["x"] = 1
    (tmp_path / ".staged.hdf5").write_text("left behind")
    code, text = check(tmp_path, capsys)
    assert code == 0
    assert "no aframe product" in text
    assert text.endswith("3 good, 0 bad\n")


def test_a_changed_number_is_found(tmp_path, provenance, capsys):
    write_all(tmp_path, provenance)
    with h5py.File(tmp_path / "below" / "waveforms.hdf5", "r+") as file:
        file["plus"][1, 2] = 2
    code, text = check(tmp_path, capsys)
    assert code == 1
    assert "waveforms.hdf5 was changed after it was written" in text


def test_settings_belong_to_the_contents(tmp_path, provenance, capsys):
    write_all(tmp_path, provenance)
    with h5py.File(tmp_path / "strain.hdf5", "r+") as file:
        file.attrs["settings"] = "other: 1\n"
    code, text = check(tmp_path, capsys)
    assert code == 1
    assert "strain.hdf5 was changed" in text


def test_a_missing_or_longer_strain_file_is_found(tmp_path, provenance, capsys):
    write_all(tmp_path, provenance)
    longer = StrainSegment(strain={"H1": np.ones(9, "float32")}, gps_start=100.0, sample_rate=4.0)
    longer.write(tmp_path / "strain.hdf5", provenance)
    code, text = check(tmp_path, capsys)
    assert code == 1
    assert "holds [100.0, 102.25)" in text
    (tmp_path / "strain.hdf5").unlink()
    code, text = check(tmp_path, capsys)
    assert code == 1
    assert "strain.hdf5: expected a strain product" in text


def test_truncated_foreign_schema_and_unknown_are_named(tmp_path, provenance, capsys):
    write_all(tmp_path, provenance)
    path = tmp_path / "below" / "waveforms.hdf5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "truncated" in check(tmp_path, capsys)[1]
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 99
    assert "waveforms schema 99, this code reads schema" in check(tmp_path, capsys)[1]
    with h5py.File(path, "r+") as file:
        file.attrs["product"] = "of the future"
    assert "which this version does not know" in check(tmp_path, capsys)[1]


def test_nothing_to_check_is_a_sentence(tmp_path, capsys):
    assert main(["check", str(tmp_path)]) == 1
    assert "holds no .hdf5 file" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "gone")]) == 1
    assert "no folder" in capsys.readouterr().err
