import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lalsimulation
import numpy as np
import pytest
import waveforms
from waveforms import lal_worker

RATE, FMIN, FREF = 1024.0, 20.0, 50.0


@pytest.fixture(scope="module")
def model_of(settings_of):
    """Models with one process each, kept between tests."""
    kept = {}

    def model(approximant, **changes):
        key = (approximant, *changes.items())
        if key not in kept:
            settings = settings_of(approximant, generator="lalsimulation", **changes)
            kept[key] = waveforms.signal_model(settings, RATE, "cpu", workers=1)
        return kept[key]

    return model


def spectrum(values, zero, size=2**16):
    padded = np.zeros(size)
    padded[: len(values)] = values
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    return frequency, np.fft.rfft(padded) / RATE * np.exp(2j * np.pi * frequency * zero / RATE)


@pytest.mark.parametrize(
    "name",
    [
        *("gw150914", "equal without spin", "edge-on", "100 + 5", "100 + 5 at redshift 2"),
        *("spins of 0.98", "unequal, spins of 0.98"),
    ],
)
def test_imrphenomxphm_is_what_lalsimulation_gives_in_the_frequency_domain(
    model_of, corner, lal_arguments, compare, name
):
    sources = corner(name)
    model = model_of("IMRPhenomXPHM")
    plus, cross, good = model.polarizations(sources)
    assert good.all()
    total = float(sources["mass_1_detector"][0] + sources["mass_2_detector"][0])
    size = 2**16
    theirs = lalsimulation.SimInspiralChooseFDWaveform(
        *lal_arguments(sources, precessing=True),
        *(RATE / size, min(FMIN, 1899 / total) / 2, RATE / 2, FREF, None),
        lalsimulation.IMRPhenomXPHM,
    )
    for mine, yours in zip((plus, cross), theirs, strict=True):
        frequency, ours = spectrum(mine[0].numpy(), model.coalescence_sample, size)
        match, lag, ratio = compare(ours, yours.data.data, frequency, (FMIN + 2, 500))
        assert match > 0.999
        assert abs(lag) < 1e-4
        assert ratio == pytest.approx(1, abs=5e-3)


def test_seobnrv4_is_what_lalsimulation_gives_in_the_time_domain(
    model_of, corner, lal_arguments, compare
):
    sources = corner("gw150914")
    model = model_of("SEOBNRv4")
    signals = model.polarizations(sources)
    # the older interface, without conditioning, from a lower frequency
    theirs = lalsimulation.SimInspiralChooseTDWaveform(
        *lal_arguments(sources, precessing=False),
        *(1 / RATE, 12.0, FREF, None, lalsimulation.SEOBNRv4),
    )
    for mine, yours in zip(signals[:2], theirs, strict=True):
        frequency, ours = spectrum(mine[0].numpy(), model.coalescence_sample)
        values = yours.data.data.copy()
        rise = round(RATE / 2)
        values[:rise] *= np.sin(np.pi / 2 * np.arange(rise) / rise) ** 2
        _, other = spectrum(values, -float(yours.epoch) * RATE)
        match, lag, ratio = compare(ours, other, frequency, (FMIN + 4, 500), phase=True)
        assert match > 0.999
        # to the nearest sample, and the time of the peak is found on a grid
        assert abs(lag) < 1 / RATE
        assert ratio == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("approximant", ["IMRPhenomD", "IMRPhenomPv2"])
def test_ml4gw_and_lalsimulation_fill_the_same_array(
    settings_of, model_of, corner, compare, approximant
):
    sources = corner("gw150914", "light", "100 + 5 at redshift 2")
    theirs = model_of(approximant, duration=8.0)
    ours = waveforms.signal_model(settings_of(approximant, duration=8.0), RATE, "cpu")
    assert (ours.size, ours.coalescence_sample) == (theirs.size, theirs.coalescence_sample)
    for mine, yours in zip(
        ours.polarizations(sources)[:2], theirs.polarizations(sources)[:2], strict=True
    ):
        for i in range(3):
            frequency, a = spectrum(mine[i].numpy(), 0)
            _, b = spectrum(yours[i].numpy(), 0)
            # the cut and the tapers lie below the band
            match, lag, ratio = compare(a, b, frequency, (30, 500))
            assert match > 0.999
            assert abs(lag) < 1 / RATE
            assert ratio == pytest.approx(1, abs=0.01)


def test_a_heavy_binary_begins_lower(corner, model_of):
    sources = corner("gw150914", "100 + 5 at redshift 2")
    task = model_of("IMRPhenomXPHM").task
    for i, expected in ((0, FMIN), (1, 1899 / 315)):
        source = {name: float(v[i]) for name, v in sources.items()}
        parameters = lal_worker.lal_parameters(task, source)
        start = lalsimulation.SimInspiralWaveformParamsLookupF22Start(parameters)
        assert start == pytest.approx(expected)


def test_a_long_signal_is_cut_and_tapered(corner, model_of):
    sources = corner("light")
    whole, _, _ = model_of("IMRPhenomD").polarizations(sources)
    model = model_of("IMRPhenomD", duration=4.0, right_pad=0.01)
    cut, _, _ = model.polarizations(sources)
    taper, end = round(5 / FMIN * RATE), round(0.99 * RATE)
    same = whole[0, -model.size - end : -end] if end else whole[0]
    np.testing.assert_array_equal(cut[0, taper:-16], same[taper:-16])
    assert cut[0, 0] == 0
    assert abs(cut[0, -1]) < abs(same[-1])
    assert (abs(cut[0]) <= abs(same)).all()


def test_the_number_of_processes_changes_no_byte(settings_of, corner, model_of):
    names = ["gw150914", "heavy", "100 + 5", "face-on", "spins of 0.98"] * 5
    sources = corner(*names)
    settings = settings_of("IMRPhenomXPHM", generator="lalsimulation")
    both = waveforms.signal_model(settings, RATE, "cpu", workers=2)
    one = model_of("IMRPhenomXPHM")
    for a, b in zip(one.batches(sources), both.batches(sources), strict=True):
        assert a.index.tolist() == b.index.tolist()
        assert a.plus.numpy().tobytes() == b.plus.numpy().tobytes()
        assert a.cross.numpy().tobytes() == b.cross.numpy().tobytes()


def test_a_source_that_lalsimulation_refuses_is_a_failure(model_of, corner, capfd):
    sources = corner("gw150914", "100 + 5 at redshift 2", "face-on")
    model = model_of("IMRPhenomTPHM")
    _, _, good = model.polarizations(sources)
    assert good.tolist() == [True, False, True]
    (failure,) = model.failures
    assert failure.index == 1
    assert failure.parameters["mass_1_detector"] == 300
    assert "fRef" in failure.reason
    assert capfd.readouterr() == ("", "")


def ending(task, source):
    """What a model's processes run, and one source ends them."""
    if source["mass_1_detector"] == 45.0:
        os._exit(3)
    return lal_worker.answer(task, source)


def test_a_source_that_ends_its_process_is_a_failure(settings_of, corner):
    settings = settings_of("IMRPhenomD", generator="lalsimulation", duration=4.0)
    model = waveforms.signal_model(settings, RATE, "cpu", workers=1)
    model._answer = ending
    good = model.polarizations(corner("gw150914", "face-on", "heavy"))[2]
    assert good.tolist() == [True, False, True]
    assert [f.reason for f in model.failures] == ["lalsimulation ended its process"]


@pytest.mark.parametrize(
    ("approximant", "sentence"),
    [
        ("IMRPhenomXPMH", "no approximant IMRPhenomXPMH: did you mean .*IMRPhenomXPHM"),
        ("SEOBNRv4_ROM", "cannot make SEOBNRv4_ROM here: .*'SEOBNRv4ROM.*LAL_DATA_PATH"),
    ],
)
def test_what_cannot_be_made_is_a_sentence(settings_of, monkeypatch, approximant, sentence):
    monkeypatch.delenv("LAL_DATA_PATH", raising=False)
    settings = settings_of(approximant, generator="lalsimulation")
    with pytest.raises(ValueError, match=sentence):
        waveforms.signal_model(settings, RATE, "cpu", workers=1)


def test_spins_are_not_left_out_in_silence(model_of, corner):
    model = model_of("TaylorT4")
    with pytest.raises(ValueError, match="TaylorT4 has no spins"):
        model.polarizations(corner("gw150914"))
    assert model.polarizations(corner("equal without spin"))[2].all()


def test_there_are_no_spectra(model_of, corner):
    model = model_of("IMRPhenomXPHM")
    assert not model.has_spectra
    with pytest.raises(ValueError, match="no spectra"):
        model.spectra(corner("gw150914"), np.array([50.0]))


def test_processes_need_no_torch():
    code = "import sys, waveforms.lal_worker; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_processes_end_with_their_parent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, time\n"
        "from waveforms import lal_worker\n"
        "if __name__ == '__main__':\n"
        "    pool = lal_worker.new_pool(2)\n"
        "    list(pool.map(time.sleep, [0.3, 0.3]))\n"
        "    print(*[p.pid for p in multiprocessing.active_children()], flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-P", program], stdout=subprocess.PIPE, text=True)
    children = [int(pid) for pid in parent.stdout.readline().split()]
    try:
        assert children
        assert all(_runs(pid) for pid in children)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _runs(pid):
    """Whether a process is there, and not merely waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
