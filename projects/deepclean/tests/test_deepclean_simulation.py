"""What rings in a simulation: its response, its truth, that no stretch depends on another."""

import numpy as np
import pytest
import yaml
from deepclean.simulation import Plant, load_simulation
from deepclean.simulation.background import advanced_ligo_psd
from deepclean.simulation.resonances import impulse_response, memory, ring
from deepclean.simulation.settings import Resonance

RATE, START = 1024, 1_000_000_000
FLOOR = {"kind": "motion", "band": [20.0, 40.0]}
CONTENT = {
    "seed": 5,
    "strain_rate": RATE,
    "sources": {"floor": FLOOR, "mains": {"kind": "mains"}},
    "witnesses": {"FLOOR": {"source": "floor", "rate": 256}},
    "couplings": [
        {
            "sources": ["floor"],
            "size": 10.0,
            "at": 30.0,
            "delay": 0.002,
            "resonance": {"frequency": 29.6, "quality": 40},
        }
    ],
}


def plant(tmp_path, **changes) -> Plant:
    path = tmp_path / "simulation.yaml"
    path.write_text(yaml.safe_dump(CONTENT | changes))
    return Plant(load_simulation(path), "H1")


def oscillator(frequency: np.ndarray, resonance: Resonance) -> np.ndarray:
    """Response of a driven oscillator, over its quality."""
    place = resonance.frequency
    below = place**2 - frequency**2 + 1j * frequency * place / resonance.quality
    return place**2 / below / resonance.quality


@pytest.mark.parametrize("quality", [2.0, 40.0, 300.0])
def test_a_resonance_is_a_driven_oscillator(quality: float) -> None:
    resonance = Resonance(frequency=29.6, quality=quality)
    taps = impulse_response(resonance, 4096)
    frequency = np.fft.rfftfreq(len(taps), 1 / 4096)
    near = (frequency > 1) & (frequency < 100)
    found, frequency = np.fft.rfft(taps)[near], frequency[near]
    # sampling folds the response's tail at half the rate back: 1e-3 of the gain far below
    expected = oscillator(frequency, resonance)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3 / quality)
    assert abs(oscillator(np.array([29.6]), resonance)[0]) == pytest.approx(1)


def test_a_tone_at_the_resonance_passes_as_it_is_but_late(tmp_path) -> None:
    resonance = Resonance(frequency=60.0, quality=30)

    def tone(rate: int, first: int, stop: int) -> np.ndarray:
        return np.cos(2 * np.pi * 60 * np.arange(first, stop) / rate)

    found = ring(tone, resonance, RATE, 5 * RATE, 6 * RATE)
    late = np.sin(2 * np.pi * 60 * np.arange(RATE) / RATE)
    # a quarter of a period
    np.testing.assert_allclose(found, late, atol=0.02)


def test_a_stretch_is_the_same_in_whatever_pieces_it_is_made(tmp_path) -> None:
    made = plant(tmp_path)
    assert memory(made.settings.couplings[0].resonance) > 3
    whole = made(START, START + 6).noise
    parts = np.concatenate([made(START + i, START + i + 1).noise for i in range(6)])
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-9 * whole.std())


def test_the_truth_is_the_source_through_the_oscillator(tmp_path) -> None:
    made = plant(tmp_path)
    resonance = made.settings.couplings[0].resonance
    found = made(START, START + 64).noise
    # the source, made anew and filtered in the frequency domain, with time to settle
    source = made.sources["floor"](RATE, (START - 64) * RATE - 2, (START + 64) * RATE - 2)
    frequency = np.fft.rfftfreq(len(source), 1 / RATE)
    through = np.fft.irfft(np.fft.rfft(source) * oscillator(frequency, resonance), len(source))
    size = 10 * float(np.sqrt(advanced_ligo_psd(np.array(30.0))))
    error = found - size * through[64 * RATE :]
    assert error.std() < 0.01 * found.std()


def test_a_product_cannot_ring(tmp_path) -> None:
    coupling = CONTENT["couplings"][0] | {"sources": ["mains", "floor"]}
    with pytest.raises(ValueError, match="product of mains and floor: give it to a coupling of"):
        plant(tmp_path, couplings=[coupling])
