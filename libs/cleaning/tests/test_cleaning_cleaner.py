import numpy as np
import pytest
import torch
from cleaning import Choice, Cleaner, Model, NoiseEstimator, Problem, Recording, TorchPredictor
from cleaning.cleaner import HISTORY, LATENCY

FIRST = 1_000_000_000
RATES = {"H1:LINE": 1024, "H1:OTHER": 512}
CHANNELS = list(RATES)


class Witnessed(torch.nn.Module):
    """Noise as a gain times the first witness, smeared over whole hops."""

    hop_size = 16
    past_size = future_size = 32

    def __init__(self, gain):
        super().__init__()
        self.gain = gain

    def forward(self, witnesses):
        return self.gain * witnesses[:, 0]


class Remembering(Witnessed):
    """Noise as what the first witness was 5 s and 2 s ago."""

    hop_size = 1
    past_size, future_size = 5 * 512, 0

    def forward(self, witnesses):
        line = witnesses[:, 0]
        old, new = (
            torch.nn.functional.pad(line, (s * 512, 0))[:, : line.shape[-1]] for s in (5, 2)
        )
        return 0.5 * self.gain * (old + new)


PROBLEM = Problem.model_validate(
    {
        "name": "test",
        "ifo": "H1",
        "sample_rate": 2048,
        "layers": [{"bands": [[55, 65]], "witnesses": ["LINE", "OTHER"], "sample_rate": 512}],
    }
)


def model(version, gain=1e-21, kind=Witnessed):
    return Model(version, NoiseEstimator.of(PROBLEM, [TorchPredictor(kind(gain))]))


def frames(seconds, drop=(), drop_strain=(), seed=4, line=1.0):
    """Strain with a line that a witness sees, second by second."""
    random = np.random.default_rng(seed)
    time = FIRST + np.arange(seconds * 4096) / 4096
    strain = 1e-21 * (random.standard_normal(len(time)) + line * np.cos(2 * np.pi * 60 * time))
    witness = np.cos(2 * np.pi * 60 * (FIRST + np.arange(seconds * 1024) / 1024))
    other = random.standard_normal(seconds * 512)
    for i in range(seconds):
        second = FIRST + i
        witnesses = {
            "H1:LINE": witness[i * 1024 : (i + 1) * 1024],
            "H1:OTHER": other[i * 512 : (i + 1) * 512],
        }
        yield (
            second,
            None if second in drop_strain else strain[i * 4096 : (i + 1) * 4096],
            None if second in drop else witnesses,
        )


def clean(source, choose, start=FIRST, first=FIRST, at_once=1, **options):
    recording = Recording(4096, RATES, PROBLEM.sample_rate, first)
    cleaner = Cleaner(PROBLEM, recording, choose, start, **options)
    found = []
    for i, frame in enumerate(source, 1):
        recording.add(*frame)
        if i % at_once == 0:
            found += cleaner.advance()
    return found + cleaner.advance(final=True)


def constant(*models):
    choice = Choice(*models)
    return lambda second: choice


def assert_same(found, expected):
    assert [c.second for c in found] == [c.second for c in expected]
    size = max(np.abs(e.raw - e.production).max() for e in expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("raw", "production", "canary", "out_dq"):
            difference = np.abs(getattr(one, name) - getattr(other, name)).max()
            assert difference <= 1e-6 * size, (one.second - FIRST, name)
        assert (one.good, one.dropped) == (other.good, other.dropped)
        np.testing.assert_allclose(one.ratios.inside, other.ratios.inside, rtol=1e-6)


def test_the_line_goes_after_the_gate_has_seen_eight_seconds():
    found = clean(frames(20), constant(model(1)))
    assert [c.second for c in found] == list(range(FIRST, FIRST + 20))
    for cleaned in found[:7]:
        np.testing.assert_array_equal(cleaned.out_dq, cleaned.raw)
        assert not cleaned.good
    # the last second lacks what follows it
    assert [c.good for c in found[8:]] == [True] * 11 + [False]
    time = np.arange(2048) / 2048
    line = np.exp(2j * np.pi * 60 * time)
    for cleaned in found[10:18]:
        before, after = (abs(np.vdot(line, x)) for x in (cleaned.raw, cleaned.out_dq))
        assert after < 0.2 * before
        np.testing.assert_array_equal(cleaned.out_dq, cleaned.production)


@pytest.mark.parametrize("second_kind", [Witnessed, Remembering])
@pytest.mark.parametrize("at_once", [2, 7, 40])
def test_one_second_at_a_time_is_the_same_as_many(at_once, second_kind):
    drop, missing = {FIRST + 14, FIRST + 15, FIRST + 30}, {FIRST + 24}
    models = [model(1), model(2, 0.9e-21, second_kind)]

    def choose(second):
        return Choice(models[second >= FIRST + 22], models[second >= FIRST + 26])

    expected = clean(frames(40, drop, missing), choose)
    found = clean(frames(40, drop, missing), choose, at_once=at_once)
    assert_same(found, expected)
    assert [c.second - FIRST for c in expected] == [i for i in range(40) if i != 24]


@pytest.mark.parametrize("kinds", [(Witnessed, Witnessed), (Remembering, Remembering)])
@pytest.mark.parametrize("restart", [15, 18, 19, 20, 22, 23, 25, 31, 34])
def test_a_restart_gives_what_an_unbroken_run_gives(restart, kinds):
    drop, missing = {FIRST + 18, FIRST + 19}, {FIRST + 24}
    models = [model(1, 1e-21, kinds[0]), model(2, 0.9e-21, kinds[1])]

    def choose(second):
        return Choice(models[second >= FIRST + 22])

    expected = clean(frames(40, drop, missing), choose)
    begin = FIRST + restart - HISTORY
    later = (f for f in frames(40, drop, missing) if f[0] >= begin)
    found = clean(later, choose, start=FIRST + restart, first=begin)
    assert_same(found, [c for c in expected if c.second >= FIRST + restart])


def test_nothing_is_subtracted_beside_a_dropped_second_and_it_goes_on():
    drop = {FIRST + 20}
    found = {c.second - FIRST: c for c in clean(frames(40, drop), constant(model(1)))}
    np.testing.assert_array_equal(found[20].production, found[20].raw)
    assert found[20].dropped
    assert not found[21].dropped
    whole = {c.second - FIRST: c for c in clean(frames(40), constant(model(1)))}
    for i in (12, 18, 22, 35):
        np.testing.assert_allclose(found[i].production, whole[i].production, atol=1e-30)
    # no step where noise is taken off again
    noise = np.concatenate([found[i].raw - found[i].production for i in range(18, 23)])
    assert (
        np.abs(np.diff(noise)).max()
        < 3 * np.abs(np.diff(whole[25].raw - whole[25].production)).max()
    )


def test_a_model_that_adds_noise_never_reaches_out_dq():
    found = clean(frames(30), constant(model(1, gain=-1e-21)))
    for cleaned in found:
        np.testing.assert_array_equal(cleaned.out_dq, cleaned.raw)
    assert not np.array_equal(found[15].production, found[15].raw)


@pytest.mark.parametrize("factor", [4.0, 9.0])
def test_the_gate_closes_before_the_bad_second_and_opens_again(factor):
    class Mad(Witnessed):
        def forward(self, witnesses):
            # a witness gone mad makes a mad estimate
            wild = torch.where(witnesses[:, 1].abs() > 50, factor, 1.0)
            return super().forward(witnesses) * wild

    mad = model(1, kind=Mad)
    source = []
    for second, strain, witnesses in frames(50):
        if second == FIRST + 20:
            witnesses = {**witnesses, "H1:OTHER": witnesses["H1:OTHER"] + 100}
        source.append((second, strain, witnesses))
    found = clean(source, constant(mad))
    good = [c.good for c in found]
    # the estimate of second 19 sees some of it
    assert all(good[8:19])
    # it is one of seven segments whose median the gate takes, and is seen all the same
    assert not good[20]
    assert not good[21]
    np.testing.assert_array_equal(found[20].out_dq, found[20].raw)
    # tapered out in the second before
    assert abs(found[19].out_dq[-1] - found[19].raw[-1]) < 1e-3 * np.abs(found[19].raw).max()
    # after what was bad has left the last eight seconds it is well again
    assert all(good[30:49])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_estimate_that_is_not_finite_never_reaches_out_dq(bad):
    class Broken(Witnessed):
        def forward(self, witnesses):
            noise = super().forward(witnesses).clone()
            return torch.where(witnesses[:, 1].abs() > 50, bad, noise)

    broken = model(1, kind=Broken)
    source = [
        (s, x, {**w, "H1:OTHER": w["H1:OTHER"] + 100 * (s == FIRST + 20)})
        for s, x, w in frames(40)
    ]
    one = clean(source, constant(broken))
    many = clean(source, constant(broken), at_once=40)
    for cleaned in (*one, *many):
        assert np.isfinite(cleaned.out_dq).all()
    np.testing.assert_array_equal(one[20].out_dq, one[20].raw)
    assert [c.good for c in one] == [c.good for c in many]
    assert one[35].good


def test_witnesses_that_are_not_finite_are_missing():
    source = []
    for second, strain, witnesses in frames(30):
        if second == FIRST + 20:
            witnesses = {**witnesses, "H1:OTHER": np.full(512, np.nan)}
        source.append((second, strain, witnesses))
    found = clean(source, constant(model(1)))
    expected = clean(frames(30, {FIRST + 20}), constant(model(1)))
    assert_same(found, expected)


def test_without_a_model_the_strain_is_raw():
    for cleaned in clean(frames(12), constant()):
        np.testing.assert_array_equal(cleaned.production, cleaned.raw)
        np.testing.assert_array_equal(cleaned.out_dq, cleaned.raw)
        assert cleaned.production_version == 0


def test_the_latency_is_two_seconds_and_one_for_production():
    recording = Recording(4096, RATES, PROBLEM.sample_rate, FIRST)
    cleaner = Cleaner(PROBLEM, recording, constant(model(1)), FIRST)
    whole = {c.second: c for c in clean(frames(20), constant(model(1)))}
    for second, strain, witnesses in frames(20):
        recording.add(second, strain, witnesses)
        given = [c.second for c in cleaner.advance()]
        assert given == ([second - LATENCY] if second >= FIRST + LATENCY else [])
        newest = cleaner.newest()
        if second > FIRST:
            assert newest is not None
            assert newest[0] == second - 1
            np.testing.assert_allclose(newest[1], whole[second - 1].production, atol=1e-6 * 1e-21)


def test_what_comes_late_is_refused():
    recording = Recording(4096, RATES, PROBLEM.sample_rate, FIRST)
    source = list(frames(4))
    recording.add(*source[0])
    recording.add(*source[2])
    with pytest.raises(ValueError, match="it counts as dropped"):
        recording.add(*source[1])
    assert recording.dropped(FIRST, FIRST + 3) == {FIRST + 1}


def test_memory_does_not_grow():
    recording = Recording(4096, RATES, PROBLEM.sample_rate, FIRST)
    cleaner = Cleaner(PROBLEM, recording, constant(model(1)), FIRST)
    for frame in frames(60):
        recording.add(*frame)
        cleaner.advance()
    assert len(cleaner._seconds) <= HISTORY + LATENCY + 1
    assert recording.stop - recording.first <= HISTORY + LATENCY + 1


def test_a_network_that_sees_too_much_is_refused():
    class Wide(Witnessed):
        future_size = 512

    wide = model(3, kind=Wide)
    with pytest.raises(ValueError, match=r"version 3 sees .* and 1\.\d+ s after it"):
        clean(frames(5), constant(wide))


class Absent:
    """A predictor that runs elsewhere, and gives no answer about some seconds."""

    hop_size, past_size, future_size = 16, 32, 32

    def __init__(self, away):
        self.away = away

    def predict(self, witnesses, first):
        if (first + witnesses.shape[-1] // 2) // 512 in self.away:
            raise ConnectionError("the server is gone")
        return 1e-21 * witnesses[0]


def test_without_an_answer_strain_goes_out_as_it_came():
    away = {FIRST + 15, FIRST + 16}
    absent = Model(1, NoiseEstimator.of(PROBLEM, [Absent(away)]))
    given_up = set()
    options = {
        "given_up": given_up,
        "give_up": lambda role, second, _: given_up.add((role, second)),
    }
    found = clean(frames(30), constant(absent), **options)
    assert given_up == {("production", second) for second in away}
    for cleaned in found:
        assert (cleaned.second in away) == (cleaned.dropped and cleaned.second < FIRST + 29)
        if cleaned.second in away:
            np.testing.assert_array_equal(cleaned.production, cleaned.raw)
            np.testing.assert_array_equal(cleaned.out_dq, cleaned.raw)
    # it fades out before, and in again
    for cleaned, place in ((found[14], slice(-20, None)), (found[17], slice(0, 20))):
        noise = np.abs(cleaned.raw - cleaned.production)
        assert noise[place].max() < 0.02 * noise.max()
    # the same again, all at once and with answers; and by one that is begun anew
    expected = clean(frames(30), constant(model(1)), at_once=30, given_up=given_up)
    assert_same(found, expected)
    late = [frame for frame in frames(30) if frame[0] >= FIRST + 20 - HISTORY]
    again = clean(late, constant(model(1)), FIRST + 20, FIRST + 20 - HISTORY, given_up=given_up)
    assert_same(again, expected[20:])
    with pytest.raises(ConnectionError):
        clean(frames(30), constant(absent))
