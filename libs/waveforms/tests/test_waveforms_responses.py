import numpy as np
import priors
import pytest
import torch
from waveforms import PolarizationSet, ResponseSet, detector_responses, project, signal_model
from waveforms.projection import antenna_response

RATE = 512.0
IFOS = ("H1", "L1", "V1")
COUNT, BLOCK = 44, 16


@pytest.fixture(scope="module")
def sources():
    made = priors.population("end_o3_ratesandpops", 1.0)
    return made.sample(COUNT, np.random.default_rng(4))


@pytest.fixture(scope="module")
def gps():
    return np.random.default_rng(5).uniform(1.2e9, 1.3e9, COUNT)


@pytest.fixture(scope="module")
def model_of(settings_of):
    def model(approximant, workers=1):
        generator = "ml4gw" if approximant in ("IMRPhenomD", "IMRPhenomPv2") else "lalsimulation"
        settings = settings_of(approximant, generator=generator, duration=4.0)
        return signal_model(settings, RATE, "cpu", workers)

    return model


@pytest.fixture(scope="module", params=["IMRPhenomD", "IMRPhenomPv2", "IMRPhenomXPHM"])
def approximant(request):
    return request.param


def test_any_rows_in_any_way_are_the_same_bytes(model_of, sources, gps, approximant, monkeypatch):
    model = model_of(approximant)
    every = detector_responses(model, sources, gps, IFOS, block_size=BLOCK)
    assert every.shape == (COUNT, 3, 4 * RATE)
    assert every.dtype == np.float32
    random = np.random.default_rng(6)
    for _ in range(4):
        rows = np.sort(random.choice(COUNT, random.integers(1, COUNT), replace=False))
        some = detector_responses(model, sources, gps, IFOS, rows=rows, block_size=BLOCK)
        assert some.tobytes() == every[rows].tobytes()
    lazy = ResponseSet(model, sources, gps, IFOS, block_size=BLOCK)
    assert len(lazy) == COUNT
    for row in range(COUNT):
        assert lazy[[row]].tobytes() == every[row].tobytes()
    assert lazy[30:5:-3].tobytes() == every[30:5:-3].tobytes()
    assert lazy[every[:, 0].max(axis=1) > 0].tobytes() == every.tobytes()
    assert lazy[[7, 40, 7]].tobytes() == every[[7, 40, 7]].tobytes()
    # other numbers of threads: torch's, those that take batches, and lalsimulation's processes
    threads = torch.get_num_threads()
    for number in (1, 2):
        monkeypatch.setattr("waveforms.threads.num_cores", lambda number=number: number)
        torch.set_num_threads(number)
        try:
            again = model_of(approximant, workers=number)
            made = detector_responses(again, sources, gps, IFOS, block_size=BLOCK)
        finally:
            torch.set_num_threads(threads)
        assert made.tobytes() == every.tobytes()


def test_responses_are_the_projected_polarizations(model_of, sources, gps):
    model = model_of("IMRPhenomPv2")
    made = detector_responses(model, sources, gps, IFOS)
    plus, cross, _ = model.polarizations(sources)
    expected = project(plus, cross, *antenna_response(sources, gps, IFOS), RATE).numpy()
    scale = np.abs(expected).max(axis=-1, keepdims=True)
    np.testing.assert_allclose(made / scale, expected / scale, atol=1e-6)


def test_blocks_are_made_when_needed_and_remembered(model_of, sources, gps, monkeypatch):
    model = model_of("IMRPhenomD")
    made = []
    batches = model.batches

    def watched(some):
        made.append(len(some["ra"]))
        return batches(some)

    monkeypatch.setattr(model, "batches", watched)
    lazy = ResponseSet(model, sources, gps, IFOS, block_size=BLOCK)
    assert made == []
    lazy[3:5]
    lazy[10:12]
    assert made == [16]
    lazy[14:18]
    assert made == [16, 16]
    lazy[40:]
    assert made == [16, 16, 12]
    assert lazy[0:0].shape == (0, 3, 4 * RATE)
    with pytest.raises(IndexError):
        lazy[[COUNT]]


def test_a_row_without_a_signal_is_named(model_of, sources, gps):
    wrong = {name: values.copy() for name, values in sources.items()}
    wrong["luminosity_distance"][21] = np.nan
    model = model_of("IMRPhenomD")
    lazy = ResponseSet(model, wrong, gps, IFOS, block_size=BLOCK)
    lazy[:16]
    with pytest.raises(ValueError, match="signal of row 21 cannot be made"):
        lazy[16:17]
    with pytest.raises(ValueError, match="signal of row 21 cannot be made"):
        PolarizationSet(model, wrong)[[21]]


def test_training_goes_on_where_a_row_has_no_signal(model_of, sources, caplog):
    wrong = {name: values.copy() for name, values in sources.items()}
    for row in (21, 30):
        wrong["luminosity_distance"][row] = np.nan
    signals = PolarizationSet(model_of("IMRPhenomD"), wrong)
    plus, cross = signals[[21, 3, 30, 5]]
    for made in (plus, cross):
        assert torch.equal(made[0], made[1])
        assert torch.equal(made[2], made[1])
        assert not torch.equal(made[3], made[1])
        assert made.abs().amax(dim=-1).min() > 0
    assert signals.num_replaced == 2
    assert "row 21 has no signal" in caplog.text


def test_polarizations_on_the_fly(model_of, sources):
    model = model_of("IMRPhenomPv2")
    signals = PolarizationSet(model, sources)
    assert len(signals) == COUNT
    rows = [40, 2, 17]
    made = signals[rows]
    for mine, whole in zip(made, model.polarizations(sources)[:2], strict=True):
        assert mine.dtype == torch.float32
        assert mine.shape == (3, 4 * RATE)
        scale = whole[rows].abs().amax(dim=-1, keepdim=True)
        torch.testing.assert_close(mine / scale, whole[rows] / scale, rtol=0, atol=1e-6)
    again = signals[rows]
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))
