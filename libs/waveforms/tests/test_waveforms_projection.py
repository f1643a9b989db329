import lal
import numpy as np
import pytest
import torch
from waveforms.projection import antenna_response, project

NUM = 200
IFOS = ("H1", "L1", "V1")


@pytest.fixture(scope="module")
def sky():
    generator = np.random.default_rng(5)
    sources = {
        "ra": generator.uniform(0, 2 * np.pi, NUM),
        "dec": np.arcsin(generator.uniform(-1, 1, NUM)),
        "psi": generator.uniform(0, np.pi, NUM),
    }
    return sources, generator.uniform(1.1e9, 1.4e9, NUM)


def test_antenna_factors_and_delays_agree_with_lal(sky):
    sources, gps = sky
    factors, delays = antenna_response(sources, gps, IFOS)
    prefix = {d.frDetector.prefix: d for d in lal.CachedDetectors}
    for i in range(NUM):
        ra, dec, psi = (float(sources[k][i]) for k in ("ra", "dec", "psi"))
        time = lal.LIGOTimeGPS(float(gps[i]))
        for j, ifo in enumerate(IFOS):
            detector = prefix[ifo]
            expected = lal.ComputeDetAMResponse(
                detector.response, ra, dec, psi, lal.GreenwichMeanSiderealTime(time)
            )
            np.testing.assert_allclose(factors[i, :, j], expected, atol=1e-5)
            delay = lal.TimeDelayFromEarthCenter(detector.location, ra, dec, time)
            assert float(delays[i, j]) == pytest.approx(delay, abs=1e-6)


def wavelet(time, centre):
    return np.exp(-(((time - centre) / 0.02) ** 2)) * np.cos(2 * np.pi * 100 * (time - centre))


def test_projection_is_a_sum_at_the_exact_time(sky):
    sources, gps = sky
    factors, delays = (x.numpy() for x in antenna_response(sources, gps, IFOS))
    rate, size = 1024.0, 1024
    time = np.arange(size) / rate
    plus = torch.from_numpy(np.tile(wavelet(time, 0.5), (NUM, 1)))
    cross = torch.from_numpy(np.tile(wavelet(time, 0.45), (NUM, 1)))
    strain = project(
        plus, cross, torch.from_numpy(factors), torch.from_numpy(delays), rate
    ).numpy()
    for i in range(0, NUM, 10):
        for j in range(len(IFOS)):
            late = time - delays[i, j]
            expected = factors[i, 0, j] * wavelet(late, 0.5) + factors[i, 1, j] * wavelet(
                late, 0.45
            )
            np.testing.assert_allclose(strain[i, j], expected, atol=1e-9)


def test_nothing_comes_round():
    plus = torch.zeros(1, 1024, dtype=torch.float64)
    plus[0, -4:] = 1
    factors = torch.ones(1, 2, 1, dtype=torch.float64)
    late = project(plus, 0 * plus, factors, torch.tensor([[0.020]], dtype=torch.float64), 1024.0)
    # a step is not band-limited: its ripple falls off with the distance
    assert late[0, 0, :900].abs().max() < 0.02
