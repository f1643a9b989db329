"""The bilinear network: what it computes, what it sees, that it learns sidebands."""

import numpy as np
import pytest
import torch
from architectures import build
from architectures.bilinear import Bilinear


def bilinear(**options) -> Bilinear:
    torch.manual_seed(0)
    network = build("Bilinear", 3, 256, 4.0, {"rank": 2, "taps": 9, **options}, "regression")
    with torch.no_grad():
        network.filters.weight.normal_()
        network.filters.bias.normal_()
    return network.double().eval()


def test_it_is_the_formula() -> None:
    network = bilinear()
    witnesses = torch.randn(1, 3, 40, dtype=torch.float64)
    weight = network.filters.weight.detach().numpy()
    bias = network.filters.bias.detach().numpy()
    # a correlation with zeros beyond the ends
    seen = [
        sum(np.correlate(np.pad(witnesses[0, c].numpy(), 4), taps[c], "valid") for c in range(3))
        for taps in weight
    ]
    linear, *factors = (values + b for values, b in zip(seen, bias, strict=True))
    gain = network.gain.detach().numpy()
    expected = linear + sum(gain[k] * factors[k] * factors[2 + k] for k in range(2))
    found = network(witnesses)[0].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_it_sees_its_reach_and_no_more() -> None:
    network = bilinear()
    witnesses = torch.randn(1, 3, 64, dtype=torch.float64, requires_grad=True)
    network(witnesses)[0, 30].backward()
    touched = witnesses.grad[0].abs().amax(dim=0).nonzero()[:, 0]
    assert (network.hop_size, network.past_size, network.future_size) == (1, 4, 4)
    assert (int(touched.min()), int(touched.max())) == (26, 34)


def test_without_products_it_is_linear() -> None:
    network = bilinear(rank=0)
    with torch.no_grad():
        network.filters.bias.zero_()
        one, other = torch.randn(2, 1, 3, 64, dtype=torch.float64)
        torch.testing.assert_close(
            network(2 * one + other), 2 * network(one) + network(other), rtol=1e-9, atol=1e-12
        )


def test_an_even_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="taps must be odd"):
        Bilinear(2, 256, 4.0, taps=8)


def test_it_learns_a_product_of_two_witnesses() -> None:
    torch.manual_seed(1)
    network = Bilinear(2, 256, 4.0, rank=2, taps=5)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(200):
        witnesses = torch.randn(4, 2, 256)
        target = witnesses[:, 0].roll(1, -1) * witnesses[:, 1]
        loss = (network(witnesses) - target)[:, 8:-8].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
