"""Every product comes back as it was written, and a wrong file says what is wrong with it."""

import dataclasses

import h5py
import ledger
import numpy as np
import pytest
from ledger import (
    GlitchSet,
    ProductError,
    Provenance,
    SegmentList,
    StrainIndex,
    StrainSegment,
    WaveformSet,
    WitnessSet,
)
from ledger.product import PARAMETER_UNITS, REGISTRY, open_product, product_id

IFOS = ("H1", "L1")
# Lengths of the axes that more than one product uses; every other axis gets its own.
LENGTHS = {"ifo": 2, "bound": 2}


def make(product, length):
    """A product with arbitrary contents, `length` long along every axis of free length."""
    if product is StrainSegment:
        strain = {
            ifo: np.arange(max(length, 1), dtype=np.float32) + i for i, ifo in enumerate(IFOS)
        }
        return StrainSegment(strain=strain, gps_start=1126259446.5, sample_rate=1024.0)
    rng = np.random.default_rng(length)
    values = {}
    for item in dataclasses.fields(product):
        meta = item.metadata
        if "axes" not in meta:
            values[item.name] = {
                "ifos": IFOS,
                "flags": IFOS,
                "kind": "background",
                "stream": "a/0",
            }.get(item.name, 2.5)
            continue
        shape = tuple(LENGTHS.get(axis, length) for axis in meta["axes"])
        if meta.get("group"):
            values[item.name] = {"mass_1_source": rng.normal(size=shape), "ra": np.zeros(shape)}
        elif meta["dtype"] == "str":
            values[item.name] = [f"näme {i}" for i in range(length)]
        elif meta["dtype"].startswith("int"):
            values[item.name] = rng.integers(0, 3, size=shape).astype(meta["dtype"])
        else:
            values[item.name] = rng.normal(size=shape).astype(meta["dtype"])
    if product is StrainIndex:
        values["gps_start"] = np.arange(length) * 10.0
        values["gps_stop"] = values["gps_start"] + 10
    if product is GlitchSet:
        values["snr"] = np.sqrt(np.square(values["shape"], dtype=np.float64).sum(axis=-1))
    if product is SegmentList:
        values["start"] = np.arange(length) * 10.0
        values["stop"] = values["start"] + 10
    if product is WitnessSet:
        # all axes in time are of one length
        values |= {"gps_start": 1126259446, "strain_rate": 1, "witness_rate": 1}
    return product(**values)


def assert_same(left, right):
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    else:
        assert left == right


@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_round_trip(name, length, tmp_path, provenance):
    written = make(REGISTRY[name], length)
    identity = written.write(tmp_path / "file.hdf5", provenance)
    read = REGISTRY[name].read(tmp_path / "file.hdf5")
    for item in dataclasses.fields(written):
        assert_same(getattr(written, item.name), getattr(read, item.name))
    assert ledger.product_name(tmp_path / "file.hdf5") == name
    assert ledger.read_provenance(tmp_path / "file.hdf5") == provenance
    assert product_id(tmp_path / "file.hdf5") == identity


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_same_contents_same_bytes(name, tmp_path, provenance):
    make(REGISTRY[name], 3).write(tmp_path / "a", provenance)
    make(REGISTRY[name], 3).write(tmp_path / "b", provenance)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_id_depends_on_contents_settings_and_parents(tmp_path, provenance):
    waveforms = make(WaveformSet, 3)
    first = waveforms.write(tmp_path / "a", provenance)
    assert waveforms.write(tmp_path / "b", provenance) == first
    other_settings = dataclasses.replace(provenance, settings={"sample_rate": 2048.0})
    other_parents = dataclasses.replace(provenance, parents={"strain": "xyz"})
    rate = dataclasses.replace(waveforms, sample_rate=3.5)
    waveforms.plus[0, 0] += 1
    ids = {
        first,
        waveforms.write(tmp_path / "c", provenance),
        rate.write(tmp_path / "d", provenance),
        waveforms.write(tmp_path / "e", other_settings),
        waveforms.write(tmp_path / "f", other_parents),
    }
    assert len(ids) == 5


def test_no_seed_stays_no_seed(tmp_path):
    provenance = Provenance(generator="g", code_version="0", settings={})
    make(WaveformSet, 1).write(tmp_path / "a", provenance)
    assert ledger.read_provenance(tmp_path / "a").seed is None


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - {"strain"}))
def test_units_and_axes_stand_in_the_file(name, tmp_path, provenance):
    make(REGISTRY[name], 2).write(tmp_path / "a", provenance)
    with h5py.File(tmp_path / "a") as file:
        for item in dataclasses.fields(REGISTRY[name]):
            if "axes" not in item.metadata:
                continue
            node = file[item.name]
            if item.metadata.get("group"):
                assert node["mass_1_source"].attrs["unit"] == PARAMETER_UNITS["mass_1_source"]
            else:
                assert node.attrs["unit"] == item.metadata["unit"]
                assert node.attrs["axes"] == ",".join(item.metadata["axes"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_and_nothing_written(bad, tmp_path, provenance):
    waveforms = make(WaveformSet, 3)
    waveforms.cross[1, 2] = bad
    with pytest.raises(ProductError, match="waveforms: cross holds NaN or infinite"):
        waveforms.write(tmp_path / "a", provenance)
    segment = make(StrainSegment, 8)
    segment.strain["L1"][3] = bad
    with pytest.raises(ProductError, match=r"L1 holds NaN .*\[1126259446.5, 1126259446.50"):
        segment.write(tmp_path / "a", provenance)
    assert list(tmp_path.iterdir()) == []


def test_shapes_are_checked_against_the_declaration():
    waveforms = make(WaveformSet, 3)
    with pytest.raises(ProductError, match=r"cross has 2 along stored, .* has 3"):
        dataclasses.replace(waveforms, cross=waveforms.cross[:2]).validate()
    with pytest.raises(ProductError, match="plus has 1 axes, expected 2"):
        dataclasses.replace(waveforms, plus=waveforms.plus[0]).validate()
    segment = make(StrainSegment, 8)
    with pytest.raises(ProductError, match="L1 has 7 samples, H1 has 8"):
        dataclasses.replace(
            segment, strain={"H1": segment.strain["H1"], "L1": segment.strain["L1"][:7]}
        ).validate()
    with pytest.raises(ProductError, match="no detector"):
        dataclasses.replace(segment, strain={}).validate()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*gone.hdf5: expected a waveforms"):
        WaveformSet.read(tmp_path / "gone.hdf5")


def test_another_product_is_named(tmp_path, provenance):
    make(StrainSegment, 8).write(tmp_path / "a", provenance)
    with pytest.raises(ProductError, match="holds strain, expected waveforms"):
        WaveformSet.read(tmp_path / "a")


def test_a_foreign_hdf5_file_is_no_product(tmp_path):
    with h5py.File(tmp_path / "a", "w") as file:
        file["H1"] = np.zeros(3)
    with pytest.raises(ProductError, match="holds no aframe product, expected strain"):
        StrainSegment.read(tmp_path / "a")


def test_another_schema_is_named(tmp_path, provenance):
    make(WaveformSet, 2).write(tmp_path / "a", provenance)
    with h5py.File(tmp_path / "a", "r+") as file:
        file.attrs["schema"] = 99
    with pytest.raises(ProductError, match="schema 99, this code reads schema 2"):
        WaveformSet.read(tmp_path / "a")


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all"])
def test_not_hdf5_is_a_sentence(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ProductError, match="not a readable HDF5 file"):
        open_product(tmp_path / "a")


def test_a_truncated_file_is_a_sentence(tmp_path, provenance):
    make(WaveformSet, 200).write(tmp_path / "a", provenance)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "b").write_bytes(content[: len(content) // 2])
    with pytest.raises(ProductError, match=r"b is not a readable HDF5 file .*truncated"):
        WaveformSet.read(tmp_path / "b")


def test_part_of_a_strain_file(tmp_path, provenance):
    segment = make(StrainSegment, 2048)
    segment.write(tmp_path / "a", provenance)
    part = StrainSegment.read(tmp_path / "a", ifos=("L1",), start=512, stop=1024)
    assert part.ifos == ("L1",)
    assert part.gps_start == segment.gps_start + 0.5
    assert part.gps_stop == segment.gps_start + 1.0
    np.testing.assert_array_equal(part.strain["L1"], segment.strain["L1"][512:1024])
    with pytest.raises(ProductError, match=r"holds no V1: found H1, L1, expected H1, V1"):
        StrainSegment.read(tmp_path / "a", ifos=("H1", "V1"))


def index(starts, stops, roles):
    return StrainIndex(
        ifos=IFOS,
        sample_rate=1024.0,
        path=[f"{i}.hdf5" for i in range(len(starts))],
        label=[f"file {i}" for i in range(len(starts))],
        gps_start=np.array(starts),
        gps_stop=np.array(stops),
        role=np.array(roles, dtype="int8"),
        known_label=[],
        known_time=np.zeros(0),
        known_window=np.zeros((0, 2)),
    )


def test_an_index_gives_the_files_of_a_role_in_time_order(tmp_path):
    found = index([20.0, 0.0, 10.0], [30.0, 10.0, 20.0], [[0, 2], [0, 2], [2, 0]])
    found.validate()
    assert found.num_folds == 2
    files = found.files(tmp_path / "index.hdf5", "training", fold=0)
    assert [file.gps_start for file in files] == [0.0, 20.0]
    assert files[0].path == tmp_path / "1.hdf5"
    assert files[0].roles == ("training", "search")
    assert found.files(tmp_path / "index.hdf5", "validation", fold=1) == []


def test_overlapping_files_are_both_named():
    with pytest.raises(ProductError, match=r"0.hdf5 \[0.0, 11.0\) overlaps 1.hdf5 \[10.0, 20.0\)"):
        index([0.0, 10.0], [11.0, 20.0], [[0], [2]]).validate()


def test_livetimes_and_draws_add_up():
    events = make(REGISTRY["events"], 4)
    assert events.livetime == pytest.approx(sum(events.slide_livetime))
    assert make(REGISTRY["injections"], 4).num_drawn == 8
