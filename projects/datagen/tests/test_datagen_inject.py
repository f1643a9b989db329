import dataclasses

import h5py
import lal
import numpy as np
import priors
import pytest
from conftest import SMOKE
from datagen.inject import inject_signals
from datagen.slots import find_slots
from ledger import InjectionSet, ProductError, StrainIndex, StrainSegment
from ledger.reader import StrainReader
from runtime import load_experiment, make_provenance
from waveforms import detector_responses, signal_model

RATE = 512
SIZE = 4 * RATE
COALESCENCE = 3.0
START = 1240581784
# a file for training, three to search of which the first two touch; GPS start and length [s]
FILES = ((START - 100, 40), (START, 16), (START + 16, 12), (START + 40, 16))
# sums of some whole numbers of this, below 2**24 of them, are exact in float32 in any order
UNIT = 2.0**-90


@pytest.fixture
def strain(tmp_path, smoke):
    """Index of small files with whole numbers of UNIT in them, of two folds."""
    folder = tmp_path / "strain"
    generator = np.random.default_rng(1)
    for start, length in FILES:
        values = {
            ifo: UNIT * generator.integers(-(2**20), 2**20, length * RATE).astype(np.float32)
            for ifo in smoke.ifos
        }
        segment = StrainSegment(strain=values, gps_start=float(start), sample_rate=float(RATE))
        segment.write(folder / f"{start}.hdf5", make_provenance("test", smoke))
    index = StrainIndex(
        ifos=smoke.ifos,
        sample_rate=float(RATE),
        path=[f"{start}.hdf5" for start, _ in FILES],
        label=[f"file at {start}" for start, _ in FILES],
        gps_start=np.array([start for start, _ in FILES], dtype=float),
        gps_stop=np.array([start + length for start, length in FILES], dtype=float),
        role=np.array([[2, 0], [0, 2], [1, 2], [0, 2]]),
        known_label=["an event"],
        known_time=np.array([START + 2.0]),
        known_window=np.array([[START + 1.0, START + 3.0]]),
    )
    index.write(folder / "index.hdf5", make_provenance("test", smoke))
    return folder / "index.hdf5"


def injection_set(time, shift=None, response=None, parameters=None, file=None, stream=None):
    """Injections; whole numbers of UNIT as responses if none are given."""
    count, nothing = len(time), np.zeros(0)
    if response is None:
        numbers = np.random.default_rng(2).integers(-(2**20), 2**20, (count, 2, SIZE))
        response = UNIT * numbers.astype(np.float32)
    return InjectionSet(
        ifos=("H1", "L1"),
        sample_rate=float(RATE),
        coalescence=COALESCENCE,
        snr_threshold=4.0,
        volume=1.0,
        stream=stream or "injections/1",
        time=np.array(time, dtype=float),
        shift=np.zeros((count, 2)) if shift is None else np.array(shift, dtype=float),
        snr=np.ones(count),
        ifo_snr=np.ones((count, 2)),
        file=np.zeros(count, dtype=int) if file is None else np.array(file),
        draw=np.arange(count),
        parameters=parameters or {},
        response=response,
        rejected={},
        rejected_snr=nothing,
        rejected_by=nothing,
        rejected_file=nothing,
        rejected_draw=nothing,
        failed_file=nothing,
        failed_draw=nothing,
        failed_reason=[],
    )


def injected(strain, injections, smoke, fold=1, name="mock", experiment=SMOKE):
    """Inject into the strain; gives the copies' index."""
    path = strain.parents[1] / f"{name}-injections.hdf5"
    injections.write(path, make_provenance("test", smoke))
    output = strain.parents[1] / name
    inject_signals(experiment, strain, path, output, fold)
    return output / "index.hdf5"


def read(index_path, role="search", fold=1):
    """Segments of a role."""
    index = StrainIndex.read(index_path)
    return [StrainSegment.read(file.path) for file in index.files(index_path, role, fold)]


def summed(injections):
    """All signals on one array per detector, from START - 100 to START + 200, by plain sums."""
    total = np.zeros((2, 300 * RATE))
    for row, time in enumerate(injections.time):
        for column in range(2):
            arrival = time + injections.shift[row, column] - injections.coalescence
            begin = round((arrival - START + 100) * RATE)
            for sample in range(SIZE):
                total[column, begin + sample] += float(injections.response[row, column, sample])
    return total


def assert_adds_up(strain, copies, injections):
    """Strain and all signals give the copies exactly, in every sample of every file."""
    total = summed(injections)
    before, after = read(strain), read(copies)
    assert len(after) == len(before) == 3
    for left, right in zip(before, after, strict=True):
        assert (right.gps_start, right.size) == (left.gps_start, left.size)
        begin = round((left.gps_start - START + 100) * RATE)
        for column, ifo in enumerate(left.ifos):
            signals = total[column, begin : begin + left.size]
            expected = left.strain[ifo].astype(np.float64) + signals
            assert right.strain[ifo].dtype == np.float32
            np.testing.assert_array_equal(right.strain[ifo], expected)
    return total


def test_signals_are_where_they_should_be_and_nowhere_else(strain, smoke):
    injections = injection_set([START + 5 + 3 / RATE, START + 45.5])
    total = assert_adds_up(strain, injected(strain, injections, smoke), injections)
    assert np.count_nonzero(total.any(axis=0)) == 2 * SIZE


def test_overlapping_signals_sum(strain, smoke):
    """In the search of upstream the last one overwrites the others."""
    time = [START + 5, START + 6, START + 6 + 1 / RATE, START + 6]
    injections = injection_set(time)
    total = assert_adds_up(strain, injected(strain, injections, smoke), injections)
    alone = summed(injection_set(time[-1:], response=injections.response[-1:]))
    assert np.count_nonzero(total - alone) > SIZE


def test_a_shift_moves_one_detector(strain, smoke):
    plain = injection_set([START + 6.0])
    shifted = dataclasses.replace(plain, shift=np.array([[0.0, 2.5]]))
    assert_adds_up(strain, injected(strain, shifted, smoke, name="shifted"), shifted)
    before = read(strain)[0]
    one, two = (
        read(injected(strain, injections, smoke, name=name))[0]
        for name, injections in (("a", plain), ("b", shifted))
    )
    np.testing.assert_array_equal(one.strain["H1"], two.strain["H1"])
    left, right = (segment.strain["L1"] - before.strain["L1"] for segment in (one, two))
    moved = round(2.5 * RATE)
    assert left.any()
    np.testing.assert_array_equal(right[moved:], left[:-moved])


def test_a_shift_may_reach_into_another_file(strain, smoke):
    injections = injection_set([START + 6.0, START + 45.0], [(0.0, 35.0), (-40.0, 0.0)])
    assert_adds_up(strain, injected(strain, injections, smoke), injections)


def test_a_signal_ends_with_its_file_and_goes_on_in_the_next(strain, smoke):
    """Cut at the start and at the end of lone files, whole where two files touch."""
    time = [START + 1.0, START + 15.5, START + 27.75, START + 40.0, START + 56 - 1 / RATE]
    injections = injection_set(time)
    assert_adds_up(strain, injected(strain, injections, smoke), injections)
    before, after = read(strain), read(injected(strain, injections, smoke, name="again"))
    changed = [
        right.strain["H1"] != left.strain["H1"] for left, right in zip(before, after, strict=True)
    ]
    # seconds before or after the coalescence that are in the file
    assert changed[0][: 2 * RATE].all()
    assert not changed[0][2 * RATE : 12 * RATE].any()
    assert changed[1][: RATE // 2].all()
    assert changed[2][:RATE].all()
    assert not changed[2][RATE + 1 : 13 * RATE - 1].any()


@pytest.fixture(scope="module")
def sources():
    count = 70
    population = priors.population("end_o3_ratesandpops", 0.3)
    generator = np.random.default_rng(3)
    parameters = population.sample(count, generator)
    # two of the three files, rows of one file together
    file = np.repeat([0, 2], [40, 30])
    span = np.array([[START + 3, START + 14], [0, 0], [START + 43, START + 54]])[file]
    time = np.round(generator.uniform(*span.T) * RATE) / RATE
    return parameters, time, file


def test_remade_signals_are_the_stored_ones(strain, smoke, sources):
    parameters, time, file = sources
    model = signal_model(smoke.waveforms, smoke.sample_rate)
    assert (model.size, model.coalescence) == (SIZE, COALESCENCE)
    response = np.concatenate(
        [
            detector_responses(
                model, {k: v[rows] for k, v in parameters.items()}, time[rows], smoke.ifos
            )
            for rows in (file == 0, file == 2)
        ]
    )
    stored = injection_set(time, response=response, parameters=parameters, file=file)
    bare = dataclasses.replace(stored, response=np.zeros((0, 2, SIZE), dtype=np.float32))
    kept = injected(strain, stored, smoke, name="stored")
    again = injected(strain, stored, smoke, name="stored")
    remade = injected(strain, bare, smoke, name="remade")
    for path in kept.parent.iterdir():
        assert path.read_bytes() == (again.parent / path.name).read_bytes()
    changed = 0
    for before, left, right in zip(read(strain), read(kept), read(remade), strict=True):
        for ifo in left.ifos:
            assert left.strain[ifo].tobytes() == right.strain[ifo].tobytes()
            changed += int((left.strain[ifo] != before.strain[ifo]).any())
    assert changed == 4


def test_a_binary_arrives_when_it_should(strain, smoke):
    """What was added peaks at the time, later by the shift and by lal's delay of the detector."""
    source = priors.population("nonspin_bbh", 0.3).sample(1, np.random.default_rng(4))
    source |= {name: np.array([m]) for name, m in (("mass_1_detector", 35.0),)}
    source |= {name: np.array([m]) for name, m in (("mass_2_detector", 30.0),)}
    source |= {"luminosity_distance": np.array([1.0]), "theta_jn": np.array([0.0])}
    time, shift = START + 48.25, np.array([[0.0, 1.5]])
    bare = np.zeros((0, 2, SIZE), dtype=np.float32)
    injections = injection_set([time], shift, bare, source, file=[2])
    after = read(injected(strain, injections, smoke))[2]
    before = read(strain)[2]
    detectors = {d.frDetector.prefix: d for d in lal.CachedDetectors}
    for ifo, moved in zip(after.ifos, shift[0], strict=True):
        added = after.strain[ifo].astype(np.float64) - before.strain[ifo]
        delay = lal.TimeDelayFromEarthCenter(
            detectors[ifo].location, *(float(source[k][0]) for k in ("ra", "dec")),
            lal.LIGOTimeGPS(time),
        )  # fmt: skip
        peak = after.gps_start + np.abs(added).argmax() / RATE
        # the strain is largest within half a cycle of the amplitude
        assert abs(peak - (time + moved + delay)) < 4e-3


def test_the_copies_are_strain_like_any(strain, smoke, tmp_path):
    injections = injection_set([START + 6.0, START + 45.0])
    path = injected(strain, injections, smoke)
    index, before = StrainIndex.read(path), StrainIndex.read(strain)
    assert index.num_folds == before.num_folds == 2
    assert [file.label for file in index.files(path, "search", 1)] == before.label[1:]
    # a network may be trained on none of them, in no fold
    others = [(role, fold) for role in ("training", "validation", "search") for fold in (0, 1)]
    assert [index.files(path, *other) for other in others[:-1]] == [[]] * 5
    assert index.known_label == before.known_label
    np.testing.assert_array_equal(index.known_window, before.known_window)
    files = index.files(path, "search", 1)
    assert [file.path.name for file in files] == [
        f"strain-search-{start}-{length}.hdf5" for start, length in FILES[1:]
    ]
    reader = StrainReader([file.path for file in files], smoke.ifos)
    np.testing.assert_array_equal(
        reader.read(2, 0, 100)[1], StrainSegment.read(files[2].path).strain["L1"][:100]
    )
    slots = find_slots(load_experiment(SMOKE), index, files[2], "search", 1, 2)
    assert len(slots.time)
    with h5py.File(path) as file:
        assert file.attrs["generator"] == "datagen inject"
        for name in ("strain", "injections"):
            assert f"{name}: " in file.attrs["parents"]


def test_validation_injections_go_into_validation_files(strain, smoke):
    injections = injection_set([START + 20.0], stream="validation-waveforms/0")
    path = injected(strain, injections, smoke, fold=0)
    [after], [before] = read(path, "validation", 0), read(strain, "validation", 0)
    assert after.gps_start == START + 16
    assert (after.strain["H1"] != before.strain["H1"]).sum() > SIZE / 2
    assert not read(path, "search", 0)


@pytest.mark.parametrize(
    ("time", "shift"),
    [(START + 35.0, (0.0, 0.0)), (START + 28.0, (0.0, 0.0)), (START + 6.0, (0.0, 25.0))],
)
def test_an_injection_outside_the_files_is_named(strain, smoke, time, shift):
    injections = injection_set([START + 5.0, time], [(0.0, 0.0), shift])
    with pytest.raises(ValueError, match=f"injection 1 at GPS {time}, .* none of the 3 search"):
        injected(strain, injections, smoke)
    assert not (strain.parents[1] / "mock").exists()


def test_an_injection_between_samples_is_named(strain, smoke):
    injections = injection_set([START + 5.0, START + 6.0], [(0.0, 0.0), (0.0, 0.3 / RATE)])
    with pytest.raises(ValueError, match=r"injection 1 at GPS .* between two samples of L1"):
        injected(strain, injections, smoke)
    assert not (strain.parents[1] / "mock").exists()


def test_other_folds_and_settings_are_refused(strain, smoke, edited):
    injections = injection_set([START + 5.0])
    with pytest.raises(ValueError, match="made for fold 1, not for fold 0"):
        injected(strain, injections, smoke, fold=0)
    with pytest.raises(ValueError, match="stream 'draws/1'"):
        injected(strain, injection_set([START + 5.0], stream="draws/1"), smoke)
    with pytest.raises(ValueError, match="no fold 2"):
        injected(strain, injection_set([START + 5.0], stream="injections/2"), smoke, fold=2)
    with pytest.raises(ProductError, match=r"waveforms\.duration = 4"):
        injected(strain, injections, smoke, experiment=edited(waveforms__duration=8))


def test_nothing_else_is_replaced(strain, smoke, tmp_path):
    injections = injection_set([START + 5.0])
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is no folder of strain with injections"):
        injected(strain, injections, smoke, name="mine")
    with pytest.raises(ValueError, match="would replace"):
        injected(strain, injections, smoke, name="strain")
    assert (mine / "thesis.tex").exists()
    assert len(read(strain)) == 3
