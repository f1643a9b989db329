import numpy as np
import pytest
from datagen.fetch.assembly import assemble
from datagen.fetch.digests import summary
from datagen.fetch.listing import NamedFile, covering, gaps, parse
from datagen.fetch.stretch import Stretch
from datagen.fetch.verification import verify
from datagen.resampling import decimate, reach
from datagen.retry import with_retries


class Flaky:
    """Fails a number of times, then succeeds."""

    def __init__(self, times, error):
        self.left, self.error, self.calls = times, error, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.left:
            raise self.error
        return "done"


@pytest.fixture
def waits(monkeypatch):
    told = []
    monkeypatch.setattr("datagen.retry.time.sleep", told.append)
    return told


def test_retries_wait_longer_and_longer(waits):
    flaky = Flaky(3, ConnectionError("no"))
    options = {"retry_on": (ConnectionError,), "attempts": 5, "first_wait": 0.5}
    assert with_retries(flaky, "work", **options) == "done"
    assert waits == [0.5, 1.0, 2.0]
    flaky = Flaky(9, ConnectionError("no"))
    with pytest.raises(ConnectionError):
        with_retries(flaky, "work", **options)
    assert flaky.calls == 5


def test_other_errors_are_raised_at_once(waits):
    flaky = Flaky(1, KeyError("no"))
    with pytest.raises(KeyError):
        with_retries(flaky, "work", retry_on=(ConnectionError,))
    assert flaky.calls == 1
    assert waits == []


@pytest.mark.parametrize(
    ("name", "ifo", "rate", "span"),
    [
        ("H-H1_HOFT_C00-1238166018-4096.gwf", "H1", None, (1238166018, 1238170114)),
        ("V-V1Online-1238166018-2000.gwf", None, None, (1238166018, 1238168018)),
        ("L-L1_LOSC_4_V1-968646656-4096.hdf5", "L1", 4096, (968646656, 968650752)),
        ("H-H1_GWOSC_16KHZ_R1-1126259446-32.hdf5", "H1", 16384, (1126259446, 1126259478)),
        ("L-L1_GWOSC_O3a_4KHZ_R1-10-5.hdf5", "L1", 4096, (10, 15)),
        ("HL-AFRAME-10.5-0.25.h5", None, None, (10.5, 10.75)),
    ],
)
def test_names(name, ifo, rate, span):
    file = parse(f"http://somewhere/there/{name}?format=api")
    assert (file.ifo, file.sample_rate) == (ifo, rate)
    assert (file.gps_start, file.gps_stop) == span
    assert file.name == name


def test_what_a_name_may_hold():
    assert parse("V-V1Online-0-1.gwf").may_hold("V1")
    assert parse("HL-AFRAME-0-1.hdf5").may_hold("L1")
    assert not parse("H-H1_HOFT-0-1.gwf").may_hold("H2")
    assert not parse("H-H1_HOFT-0-1.gwf").may_hold("L1")
    for name in ("index.hdf5", "H-H1_HOFT-0.gwf", "H-H1_HOFT-0-1.txt", ".H-H1_HOFT-0-1.gwf"):
        assert parse(name) is None


def named(start, stop, name=""):
    return NamedFile(name, name, "H", "H1", start, stop)


def test_covering_takes_few_files_and_finds_gaps():
    a, b, c, d = named(0, 10), named(5, 12), named(8, 20), named(25, 30)
    chosen = covering([d, b, c, a], 2, 40)
    assert chosen == [a, c, d]
    assert gaps(chosen, 2, 40) == [(20, 25), (30, 40)]
    assert covering([a], 10, 12) == []
    assert gaps([], 10, 12) == [(10, 12)]
    old, new = named(0, 10, "R1"), named(0, 10, "R2")
    assert covering([new, old], 0, 10) == [new]


RATE = 4096


def stretch(values, gps_start=100.0, mask=None, rate=RATE):
    return Stretch(values, gps_start, rate, "the file", mask)


@pytest.fixture
def noise():
    return np.random.default_rng(5).standard_normal(10 * RATE)


def test_good_strain_passes(noise):
    verify(stretch(noise, mask=np.ones(10, dtype=bool)), 100, 110)
    # an unfit sample outside of what is used does no harm
    noise[0] = np.nan
    noise[-1] = np.inf
    verify(stretch(noise, mask=np.arange(10) % 9 > 0), 101, 109)
    verify(stretch(noise), 200, 210)


def test_constant_strain_of_a_sixteenth_of_a_second(noise):
    noise[5000 : 5000 + RATE // 16] = noise[5000]
    verify(stretch(noise), 100, 110)
    noise[5000 + RATE // 16] = noise[5000]
    place = 100 + 5000 / RATE
    with pytest.raises(ValueError, match=rf"constant .* in \[{place}, {place + 257 / RATE}\)"):
        verify(stretch(noise), 100, 110)


def test_every_second_of_the_mask(noise):
    for second in range(10):
        mask = np.ones(10, dtype=bool)
        mask[second] = False
        with pytest.raises(ValueError, match=rf"\[{100.0 + second}, {101.0 + second}\)"):
            verify(stretch(noise, mask=mask), 100, 110)
    # a part of a second needs its second
    mask = np.arange(10) != 3
    with pytest.raises(ValueError, match=r"bit mask"):
        verify(stretch(noise, mask=mask), 103.9, 105)
    verify(stretch(noise, mask=mask), 104, 105)


def test_assembly_of_stretches_that_overlap(noise):
    pieces = [
        stretch(noise[a:b], 100 + a / RATE) for a, b in ((0, 9000), (7001, 9001), (8000, 40960))
    ]
    found = assemble("H1", pieces, 101, 109, 1024)
    lost = reach(4)
    assert (found.lost_left, found.lost_right) == (0, 0)
    expected = decimate(noise, 4)[1024 - lost : 9 * 1024 - lost]
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-6)


def test_assembly_at_the_ends_of_what_there_is(noise):
    lost = reach(4)
    whole = decimate(noise, 4)
    # at the left nothing before, at the right NaN after, or too little
    for tail in (noise[9 * RATE : 9 * RATE], np.full(RATE, np.nan), noise[: 4 * lost - 1]):
        piece = stretch(np.concatenate((noise[: 9 * RATE], tail)))
        found = assemble("H1", [piece], 100, 109, 1024)
        assert (found.lost_left, found.lost_right) == (lost, lost)
        inner = found.values[lost : 9 * 1024 - lost]
        np.testing.assert_allclose(inner, whole[: 9 * 1024 - 2 * lost], rtol=0, atol=1e-6)
    # the first stretch ends before the piece, and the next does not join it
    first, second = stretch(noise[:4000]), stretch(noise[4096:], 101)
    assert assemble("H1", [first, second], 101, 109, 1024).lost_left == lost
    first = stretch(noise[:4096])
    assert assemble("H1", [first, second], 101, 109, 1024).lost_left == 0


def test_assembly_refuses(noise):
    half = stretch(noise[: 5 * RATE])
    later = stretch(noise[5 * RATE + 1 :], 105 + 1 / RATE)
    with pytest.raises(ValueError, match=rf"no strain of H1 in \[105.0, {105 + 1 / RATE}\)"):
        assemble("H1", [half, later], 100, 109, 1024)
    with pytest.raises(ValueError, match=r"no strain of H1 in \[105.0, 109.0\)"):
        assemble("H1", [half], 100, 109, 1024)
    with pytest.raises(ValueError, match=r"no strain of H1 in \[100.0, 109.0\)"):
        assemble("H1", [], 100, 109, 1024)
    with pytest.raises(ValueError, match="has 2048 Hz, the strain before it 4096 Hz"):
        assemble("H1", [half, stretch(noise, 105, rate=2048)], 100, 109, 1024)
    with pytest.raises(ValueError, match="is not the time of a sample"):
        assemble("H1", [stretch(noise, 100.0001)], 101, 109, 1024)
    with pytest.raises(ValueError, match="expected 3000 Hz or a multiple"):
        assemble("H1", [half], 100, 104, 3000)


def test_digests_of_many_files():
    few = {"a": "1", "b": "2"}
    assert summary(few) == few
    many = {f"{i:03}": str(i) for i in range(200)}
    (name,) = summary(many)
    assert name == "200 files, 000 to 199"
    assert summary(many) != summary(many | {"007": "x"})
