"""Offline: frames are collected, cleaned and reported on, and signals pass unchanged."""

import json
from pathlib import Path

import lal
import numpy as np
import pytest
import yaml
from cleaning import CleaningExperiment
from conftest import PROBLEM, RATES, SIMULATION, START
from deepclean.frames import FrameFolder, GuardedReader, frame_name, write_frame
from deepclean.report.parts import Part
from deepclean.report.sensitivity import LOWEST, inspiral_range
from deepclean.report.signals import DURATION, MERGER, recover, waveform
from deepclean.report.spectra import MeanCoherence, MeanDensity
from deepclean.simulation.background import advanced_ligo_psd
from deepclean.verbs import clean, collect, report, simulate
from ledger import WitnessSet

RATE, SECONDS = 4096, 40


@pytest.fixture
def experiment(deployment) -> Path:
    """An experiment on the deployment's problem, its evaluation span simulated."""
    folder = deployment.folder
    (folder / "simulation.yaml").write_text(yaml.safe_dump(SIMULATION))
    content = {
        "name": "small",
        "seed": 3,
        "problem": "problem.yaml",
        "simulation": "simulation.yaml",
        "training": {"start": START - 1000, "duration": 20},
        "evaluation": {"start": START, "duration": SECONDS},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    simulate(folder, folder / "evaluation", frame_length=16)
    deployment.publish()
    return folder


def read(folder: Path, channel: str, start: int = START, stop: int = START + SECONDS):
    with GuardedReader() as reader:
        frames = FrameFolder(folder, [channel], reader)
        return np.concatenate([frames.second(s)[channel] for s in range(start, stop)])


def inject(source: Path, target: Path, channel: str, signal: np.ndarray, first: int) -> None:
    """Frames of a second each, with a signal in their strain and witnesses as they were."""
    (target / "strain").mkdir(parents=True)
    (target / "witness").symlink_to(source / "witness")
    start, stop = START - 10, START + SECONDS + 2
    values = read(source / "strain", channel, start, stop)
    place = (first - start) * RATE
    values[place : place + len(signal)] += signal
    for i, second in enumerate(range(start, stop)):
        part = np.ascontiguousarray(values[i * RATE : (i + 1) * RATE])
        path = target / "strain" / frame_name("H", "STRAIN", second)
        write_frame(path, second, 1, {channel: part})


def test_cleaned_frames_are_reported_on(deployment, experiment):
    folder = experiment
    clean(folder, folder / "evaluation", deployment.store, folder / "cleaned", frame_length=16)
    report(
        folder,
        folder / "evaluation",
        folder / "cleaned",
        folder / "report",
        folder / "evaluation" / "truth",
    )
    found = json.loads((folder / "report" / "summary.json").read_text())
    ratio = found["asd_ratio"]
    # the published filter knows the coupling
    assert ratio["production"] == pytest.approx(ratio["optimum"], rel=0.02)
    assert ratio["optimum"] < 0.9
    # frames from before the span open the gate in time
    assert found["gate"] == {"open": SECONDS, "good": SECONDS, "dropped": 0}
    assert ratio["out_dq"] == pytest.approx(ratio["production"])
    assert found["outside"]["largest_change"] < 1e-3
    assert found["range_mpc"]["least_change"] > 0
    assert found["versions"] == [1]
    mains, pitch = found["coherence"]
    assert mains["channel"] == "H1:MAINS_DQ"
    assert mains["highest_before"] > 0.9 > 0.3 > mains["highest_after"]
    assert pitch["highest_before"] < 0.5
    assert found["signals"]["number"] == 2
    page = (folder / "report" / "index.html").read_text()
    assert page.count('class="bk') >= 1 or "data-root-id" in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert (folder / "report" / "bokeh.js").stat().st_size > 100_000


def test_a_signal_in_the_strain_passes_unchanged(deployment, experiment):
    """Through the whole cleaner, gate included: what comes out has the signal that went in."""
    folder = experiment
    channel = deployment.problem.strain_channel
    shape = np.fft.irfft(waveform((10.0, 10.0), 0.3, RATE)) * RATE
    # as loud as any that was ever seen; some of it lies in the band
    signal = shape * 4e-22 / np.abs(shape).max()
    inject(folder / "evaluation", folder / "injected", channel, signal, START + 15)
    for name in ("evaluation", "injected"):
        clean(folder, folder / name, deployment.store, folder / f"{name}-cleaned")
    expected = np.zeros(SECONDS * RATE)
    expected[15 * RATE : 15 * RATE + len(signal)] = signal
    for suffix in ("PRODUCTION", "PRODUCTION_OUT_DQ"):
        name = f"{channel}_DEEPCLEAN_{suffix}"
        before, after = (
            read(folder / f"{which}-cleaned", name) for which in ("evaluation", "injected")
        )
        np.testing.assert_allclose(after - before, expected, atol=1e-9 * np.abs(signal).max())


def test_the_range_is_that_of_the_formula():
    random = np.random.default_rng(2)
    level = 1e-23
    strain = level * np.sqrt(RATE / 2) * random.standard_normal(64 * RATE)
    mass = 2.8 * 0.25**0.6 * lal.MTSUN_SI
    highest = 1 / (6**1.5 * np.pi * 2.8 * lal.MTSUN_SI)
    integral = 0.75 * (LOWEST ** (-4 / 3) - highest ** (-4 / 3)) / level**2
    factor = 5 * mass ** (5 / 3) * 1.77**2 / (96 * np.pi ** (4 / 3) * 64)
    expected = np.sqrt(factor * integral) * lal.C_SI / (1e6 * lal.PC_SI)
    assert inspiral_range(strain, RATE) == pytest.approx(expected, rel=0.02)
    assert inspiral_range(2 * strain, RATE) == pytest.approx(expected / 2, rel=0.02)


def parts_of(strain: np.ndarray, cleaned: np.ndarray) -> list[Part]:
    size = 32 * RATE
    return [
        Part(START + i // RATE, strain[i : i + size], cleaned[i : i + size], cleaned, None, None)
        for i in range(0, len(strain), size)
    ]


def test_signals_are_found_with_the_errors_that_noise_makes():
    frequency = np.arange(0, RATE / 2 + 0.5, 0.5)
    density = np.full(len(frequency), 1e-23)
    random = np.random.default_rng(3)
    noise = 1e-23 * np.sqrt(RATE / 2) * random.standard_normal(512 * RATE)
    found = recover(iter(parts_of(noise, noise)), frequency, density, density, RATE, 1)
    assert len(found) == 32
    pulls = np.array([[s.pull_before, s.phase_pull] for s in found])
    assert np.abs(pulls.mean(axis=0)).max() < 4 / np.sqrt(32)
    assert pulls.std(axis=0) == pytest.approx(1, abs=0.45)
    assert [s.before for s in found] == [s.after for s in found]
    assert {s.time % DURATION for s in found} == {(START + MERGER) % DURATION}


def test_coherence_is_that_of_a_known_mixture():
    random = np.random.default_rng(4)
    rate, seconds = 256, 1024
    seen, own = random.standard_normal((2, seconds * rate))
    found = MeanCoherence(rate, ("A", "B"))
    strain = {"raw": 0.5 * seen + own}
    found.add(START, strain, rate, {"A": seen, "B": random.standard_normal(seconds * rate)})
    inner = slice(20, 200)
    with_a, with_b = found.coherence("raw")[:, inner].mean(axis=1)
    assert with_a == pytest.approx(0.25 / 1.25, abs=0.01)
    assert with_b < 3 / found.number


def test_densities_of_parts_are_averaged():
    random = np.random.default_rng(5)
    found = MeanDensity(512)
    for size, level in ((1024, 2.0), (8192, 1.0)):
        found.add(raw=level * np.sqrt(256) * random.standard_normal(size))
    # one segment of power 4, fifteen of power 1
    assert found.number == 16
    assert np.square(found.asd("raw"))[5:-5].mean() == pytest.approx(19 / 16, rel=0.1)


def test_what_is_not_analysed_is_not_learned_from(deployment):
    """Dropped frames, and seconds that the state vector does not call analysed."""
    folder = deployment.folder
    state = "H1:STATE"
    (folder / "problem.yaml").write_text(yaml.safe_dump(PROBLEM | {"state": "STATE"}))
    content = {
        "name": "small",
        "training": {"start": START + 1, "duration": 16},
        "evaluation": {"start": START + 1000, "duration": 16},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    made = deployment.plant(START, START + 18)
    frames = folder / "frames"
    for i in range(18):
        second = START + i
        strain = np.ascontiguousarray(made.strain[i * RATE : (i + 1) * RATE])
        name = deployment.problem.strain_channel
        write_frame(deployment.frame("strain", second), second, 1, {name: strain})
        if i == 5:
            continue
        seen = {
            n: np.ascontiguousarray(made.witnesses[n][i * r : (i + 1) * r])
            for n, r in RATES.items()
        }
        seen[state] = np.full(16, 1 if i == 12 else 3, dtype=np.int32)
        write_frame(deployment.frame("witness", second), second, 1, seen)
    collect(folder, frames, folder / "witnesses.hdf5")
    found = WitnessSet.read(folder / "witnesses.hdf5")
    # seconds beside a missing one have seen it through the filters
    assert np.flatnonzero(found.usable == 0).tolist() == [3, 4, 5, 10, 11, 12]
    assert found.channel == list(RATES)
    assert found.witness.shape == (2, 16 * 512)
    assert not found.strain[3 * RATE : 6 * RATE].any()
    good = slice(7 * RATE, 9 * RATE)
    np.testing.assert_allclose(found.strain[good], made.strain[RATE:][good])


def test_two_spans_may_not_overlap():
    content = {
        "name": "x",
        "training": {"start": START, "duration": 10},
        "evaluation": {"start": START + 5, "duration": 10},
    }
    with pytest.raises(ValueError, match="overlap"):
        CleaningExperiment.model_validate(content)


def test_the_formula_of_the_background_is_that_of_the_simulation(deployment):
    """The range of the simulated detector is that of the formula that it is made by."""
    made = deployment.plant(START, START + 32)
    frequency = np.arange(LOWEST, 1570, 0.1)
    mass = 2.8 * 0.25**0.6 * lal.MTSUN_SI
    integral = np.sum(frequency ** (-7 / 3) / advanced_ligo_psd(frequency)) * 0.1
    factor = 5 * mass ** (5 / 3) * 1.77**2 / (96 * np.pi ** (4 / 3) * 64)
    expected = np.sqrt(factor * integral) * lal.C_SI / (1e6 * lal.PC_SI)
    assert inspiral_range(made.background, RATE) == pytest.approx(expected, rel=0.05)
