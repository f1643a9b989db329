"""Streaming equals windowed."""

import copy

import pytest
import torch
from architectures import EvidenceNetwork, ResNet, StreamingNetwork, build, log_mean_exp
from hypothesis import given, settings
from hypothesis import strategies as st


def trained_like(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give the normalisation layers statistics and the scores a spread, as training would."""
    torch.manual_seed(seed)
    kernels = torch.randn(64, network.num_ifos, network.kernel_size)
    with torch.no_grad():
        for _ in range(3):
            network(kernels * 3)
        network.eval()
        kernels[:32] *= 3
        evidence = network.evidence_of(kernels)
        network.evidence.weight *= 2 / evidence.std()
        network.evidence.bias *= 2 / evidence.std()
        network.evidence.bias -= network.evidence_of(kernels).mean()
    return network


torch.manual_seed(0)
NAMES = ("EarlyFusion", "TwoTower")
NETWORKS = {
    (name, rate): trained_like(build(name, 2, rate, 1.5))
    for name in NAMES
    for rate in (512, 1024, 2048)
}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(NETWORKS)),
    extra=st.integers(0, 3000),
    stride=st.sampled_from([1, 2, 3, 16, 64]),
    phase=st.integers(0, 70),
    seed=st.integers(0, 99),
)
def test_streaming_equals_windowed(
    kind: tuple[str, int], extra: int, stride: int, phase: int, seed: int
) -> None:
    network = NETWORKS[kind]
    generator = torch.Generator().manual_seed(seed)
    stretch = torch.randn(1, 2, network.kernel_size + phase + extra, generator=generator)
    stretch = stretch[..., phase:]
    kernels = torch.randn(200, 2, network.kernel_size, generator=generator)
    kernels[:100] *= 3
    spread = network(kernels).std()
    # as it runs, and in double precision, where only a fault of structure would remain
    for candidate, tolerance in ((network, 1e-5), (copy.deepcopy(network).double(), 1e-12)):
        values = stretch.to(candidate.evidence.bias.dtype)
        with torch.no_grad():
            streamed = candidate.pool(candidate.evidence_of(values), stride)[0]
            windows = values[0].unfold(-1, network.kernel_size, stride * network.hop_size)
            windowed = candidate(windows.movedim(1, 0))
        # the stream may hold one more score where the last kernel's unused samples are missing
        assert 0 <= len(streamed) - len(windowed) <= 1
        assert (streamed[: len(windowed)] - windowed).abs().max() < tolerance * spread


@pytest.mark.parametrize("rate", [512, 1024, 2048])
def test_sliding_features_is_sliding_data(rate: int) -> None:
    network = NETWORKS["TwoTower", rate]
    shift = 7
    first = torch.randn(1, 1, 6 * rate)
    second = torch.randn(1, 1, 6 * rate)
    slid = torch.cat(
        (first[..., : -shift * network.hop_size], second[..., shift * network.hop_size :]), dim=1
    )
    with torch.no_grad():
        expected = network.head(network.towers(slid))
        features = network.towers(torch.cat((first, second), dim=1))
        paired = torch.stack((features[:, 0, :, :-shift], features[:, 1, :, shift:]), dim=1)
        torch.testing.assert_close(network.head(paired), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_receptive_field_is_what_it_says(name: str) -> None:
    network = trained_like(build(name, 1, 1024, 1.5)).double()
    strain = torch.randn(1, 1, 1536, dtype=torch.float64, requires_grad=True)
    evidence = network.evidence_of(strain)
    assert evidence.shape[-1] == network.pool_size
    for frame in (0, 5):
        (gradient,) = torch.autograd.grad(evidence[0, frame], strain, retain_graph=True)
        seen = gradient[0, 0].nonzero()[:, 0]
        assert seen.min() >= frame * network.hop_size
        assert seen.max() < frame * network.hop_size + network.receptive_size
        # the outermost samples are seen through a few taps only, some behind a closed ReLU
        assert seen.max() - seen.min() > 0.9 * network.receptive_size


def test_pooling_does_not_overflow() -> None:
    network = NETWORKS["TwoTower", 1024]
    score = network.pool(torch.full((1, network.pool_size), 500.0))
    assert torch.isfinite(score).all()
    assert score.item() == pytest.approx(80, rel=1e-5)


def test_pooling_is_not_done_in_half_precision() -> None:
    """Where the odds are near 1, bfloat16 has steps of 0.008; float16 ends at exp(11)."""
    evidence = torch.tensor([[0.001, 0.002, 0.003], [20.0, 21.0, 22.0]])
    for half in (torch.bfloat16, torch.float16):
        rounded = evidence.to(half)
        expected = log_mean_exp(rounded.double(), 3)
        torch.testing.assert_close(
            log_mean_exp(rounded, 3).double(), expected, rtol=1e-5, atol=1e-6
        )


def test_networks_are_not_called_what_they_are_not() -> None:
    assert not isinstance(ResNet(2, 512, 1.5, layers=[1, 1, 1, 1]), EvidenceNetwork)
    assert isinstance(NETWORKS["TwoTower", 512], StreamingNetwork)
    # it streams, but the slides of a stretch share nothing
    assert isinstance(NETWORKS["EarlyFusion", 512], EvidenceNetwork)
    assert not isinstance(NETWORKS["EarlyFusion", 512], StreamingNetwork)


@pytest.mark.parametrize("name", NAMES)
def test_networks_of_halving_blocks_say_what_they_need(name: str) -> None:
    with pytest.raises(ValueError, match="64 Hz times a power of two, found 1000"):
        build(name, 2, 1000, 1.5)
    with pytest.raises(ValueError, match=rf"one output of this {name} .* more than the kernel"):
        build(name, 2, 1024, 0.25)
