"""Random pieces of strain."""

import h5py
import numpy as np
import pytest
from ledger import ProductError, StrainSegment
from ledger.reader import StrainReader


@pytest.fixture
def paths(tmp_path, provenance):
    made = []
    for number, size in enumerate((100, 40, 7)):
        ramp = np.arange(size, dtype=np.float32) + 1000 * number
        segment = StrainSegment(
            strain={"H1": ramp, "L1": -ramp}, gps_start=1000.0 * number, sample_rate=4.0
        )
        segment.write(tmp_path / f"{number}.hdf5", provenance)
        made.append(tmp_path / f"{number}.hdf5")
    return made


def test_pieces_are_those_of_the_files(paths):
    reader = StrainReader(paths, ("L1", "H1"))
    piece = reader.read(1, 3, 5)
    np.testing.assert_array_equal(piece, [-np.arange(1003.0, 1008), np.arange(1003.0, 1008)])


def test_every_place_is_as_likely(paths):
    reader = StrainReader(paths, ("H1",))
    drawn = reader.draw(40_000, 10, np.random.default_rng(3))
    np.testing.assert_array_equal(np.diff(drawn[:, 0], axis=1), 1)
    begins, counts = np.unique(drawn[:, 0, 0], return_counts=True)
    # the last file is too short for a piece; both ends of the others are reached
    assert set(begins) == {*range(91), *range(1000, 1031)}
    expected = 40_000 / (91 + 31)
    assert np.square(counts - expected).sum() / expected < 180  # chi-square of 121 degrees


def test_too_long_a_piece_and_wrong_files_are_sentences(paths, tmp_path):
    with pytest.raises(ValueError, match="no file is as long as 101 samples: the longest has 100"):
        StrainReader(paths, ("H1",)).draw(1, 101, np.random.default_rng(1))
    with pytest.raises(ProductError, match="holds no V1"):
        StrainReader(paths, ("V1",))
    with h5py.File(paths[0], "r+") as file:
        values = file["H1"][()]
        del file["H1"]
        file.create_dataset("H1", data=values, chunks=(10,))
    with pytest.raises(ProductError, match="stores its strain in chunks"):
        StrainReader(paths, ("H1",))
