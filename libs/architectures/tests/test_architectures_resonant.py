"""The network with a long memory: what it computes, what it sees, that it learns what rings."""

import numpy as np
import pytest
import torch
from architectures import build
from architectures.resonant import Resonant

RATE = 128
OPTIONS = {"rank": 2, "taps": 9, "memory_length": 2.0, "bands": [[10, 30], [0, 2]], "modes": 4}


def resonant(**options) -> Resonant:
    """A network whose parameters are all drawn at random, and none is small."""
    torch.manual_seed(0)
    network = build("Resonant", 3, RATE, 4.0, OPTIONS | options, "regression")
    with torch.no_grad():
        for name in ("weight", "bias", "modes", "shift", "gain"):
            getattr(network, name).normal_()
    return network.eval()


def noise(size: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(1, 3, size, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_formula() -> None:
    network = resonant()
    witnesses = noise(1600)
    values = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
    # impulse responses of damped oscillations, by hand
    size = 2 * RATE
    time = np.arange(size) / RATE
    window = np.cos(np.pi / 2 * np.clip((time - 1.5) / 0.5, 0, None)) ** 2
    places = np.array([12.5, 17.5, 22.5, 27.5, 0.25, 0.75, 1.25, 1.75]) + values["shift"] / 2.0
    decay = np.exp(values["log_decay"])
    found = np.zeros((5, 1600))
    for output in range(5):
        for channel in range(3):
            response = np.zeros(size)
            for mode in range(8):
                envelope = np.exp(-decay[mode] * time) * window
                phase = 2 * np.pi * places[mode] * time
                cosine, sine = values["modes"][output, channel, [mode, 8 + mode]]
                both = cosine * np.cos(phase) + sine * np.sin(phase)
                response += 2 * envelope / envelope.sum() * both
            x = witnesses[0, channel].double().numpy()
            found[output] += np.convolve(x, response)[:1600]
            found[output] += np.correlate(np.pad(x, 4), values["weight"][output, channel], "valid")
    linear, *factors = found + values["bias"][:, None]
    expected = linear + sum(values["gain"][k] * factors[k] * factors[2 + k] for k in range(2))
    with torch.no_grad():
        np.testing.assert_allclose(network(witnesses.double())[0], expected, rtol=0, atol=1e-10)


def test_without_modes_it_is_the_bilinear_network() -> None:
    network = resonant()
    short = build("Bilinear", 3, RATE, 4.0, {"rank": 2, "taps": 9}, "regression").eval()
    with torch.no_grad():
        network.modes.zero_()
        short.filters.weight.copy_(network.weight)
        short.filters.bias.copy_(network.bias)
        short.gain.copy_(network.gain)
        witnesses = noise(600)
        torch.testing.assert_close(network(witnesses), short(witnesses), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("training", "rounding"), [(True, 1e-5), (False, 1e-13)])
def test_it_sees_what_it_declares_and_no_more(training: bool, rounding: float) -> None:
    network = resonant().train(training)
    witnesses = noise(900).double().requires_grad_()
    network(witnesses)[0, 500].backward()
    slope = witnesses.grad[0].abs().amax(dim=0)
    touched = (slope > rounding * slope.max()).nonzero()[:, 0]
    first = 500 - network.past_size
    assert (network.past_size, network.future_size) == (2 * RATE - 1, 4)
    assert int(touched.max()) == 504
    # the taper ends in so little that rounding in training hides it
    assert first <= int(touched.min()) <= (first + 8 if training else first)


def test_the_gain_at_the_frequency_of_a_mode_is_one() -> None:
    network = resonant()
    time = np.arange(2 * RATE) / RATE
    frequency = network.frequency.detach().numpy()[:4]
    turned = np.exp(-2j * np.pi * np.multiply.outer(frequency, time))
    responses = network.responses().detach().numpy()[:4]
    np.testing.assert_allclose(np.abs((responses * turned).sum(axis=1)), 1, atol=0.1)


@pytest.mark.parametrize("start", [0, 1, 37, 400])
def test_any_cut_gives_the_same_however_loud_another_frequency_is(start: int) -> None:
    network = resonant(rank=0)
    # a line of a thousand times the noise, which no filter passes
    line = 1e3 * torch.cos(2 * torch.pi * 50 * torch.arange(3000, dtype=torch.float64) / RATE)
    with torch.no_grad():
        network.weight.zero_()
        network.modes[..., :4].zero_()
        witnesses = (noise(3000).double() + line).float()
        whole = network(witnesses)
        size = 1500
        part = network(witnesses[..., start : start + size])
        inside = slice(network.past_size, size - network.future_size)
        error = (part[0, inside] - whole[0, start : start + size][inside]).abs().max()
        assert error < 1e-6 * whole[0, network.past_size :].std()


def test_a_trace_takes_other_lengths_and_batches() -> None:
    network = resonant()
    with torch.no_grad():
        traced = torch.jit.trace(network, torch.zeros(1, 3, 512))
        for batch, size in ((1, 90), (2, 512), (3, 2001)):
            witnesses = torch.randn(batch, 3, size)
            torch.testing.assert_close(traced(witnesses), network(witnesses))


def test_every_parameter_learns() -> None:
    network = resonant().train()
    network(noise(700)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_it_learns_a_resonance_whose_frequency_it_does_not_know() -> None:
    torch.manual_seed(1)
    size, quality, place = 2 * RATE, 60, 18.3
    time = torch.arange(size) / RATE
    decay = torch.exp(-torch.pi * place / quality * time)
    response = decay * torch.sin(2 * torch.pi * place * time)
    spectrum = torch.fft.rfft(response / response.norm(), 8 * RATE)
    network = Resonant(1, RATE, 4.0, rank=0, taps=9, memory_length=2.0, bands=[[12, 24]], modes=16)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, 120)
    for _ in range(120):
        witnesses = torch.randn(4, 1, 6 * RATE)
        target = torch.fft.irfft(torch.fft.rfft(witnesses[:, 0], 8 * RATE) * spectrum, 8 * RATE)
        # of variance 1
        loss = (network(witnesses) - target[:, : 6 * RATE])[:, size:].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert float(loss.detach()) < 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"taps": 8}, "taps must be odd"),
        ({"memory_length": 0.01}, "shorter than half of the 9 taps"),
        ({"bands": [[10, 90]]}, r"found \[10, 90\] Hz, expected .* to 64"),
        ({"bands": [[20, 20]]}, "frequencies that rise"),
    ],
)
def test_what_cannot_be_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Resonant(3, RATE, 4.0, **OPTIONS | options)
