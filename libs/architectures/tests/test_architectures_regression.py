"""The regression network: its size, its alignment, that it learns."""

import pytest
import torch
from architectures import DeepClean, build
from architectures.hourglass import Hourglass


@pytest.mark.parametrize(("witnesses", "size"), [(21, 43_873), (18, 42_679), (35, 51_111)])
def test_it_has_the_layers_of_the_first_deepclean(witnesses: int, size: int) -> None:
    network = build("DeepClean", witnesses, 4096, 1.0, family="regression")
    assert sum(p.numel() for p in network.parameters()) == size


def smoothed() -> DeepClean:
    """A network without nonlinearity, so that all that an output sees shows in its gradient."""
    torch.manual_seed(0)
    network = DeepClean(2, 512, 1.0)
    network.network = Hourglass(2, 1, (8, 16, 32, 64), activation=torch.nn.Identity)
    return network.double().eval()


def test_it_looks_as_far_ahead_as_back() -> None:
    network = smoothed()
    witnesses = torch.randn(1, 2, 512, dtype=torch.float64, requires_grad=True)
    output = network(witnesses)
    reach = []
    # outputs of all phases of the strides
    for sample in range(256, 256 + network.hop_size):
        (gradient,) = torch.autograd.grad(output[0, sample], witnesses, retain_graph=True)
        touched = gradient[0].abs().amax(dim=0).nonzero()[:, 0]
        reach.append((sample - int(touched.min()), int(touched.max()) - sample))
    back, ahead = (max(values) for values in zip(*reach, strict=True))
    assert back == ahead == 96


@pytest.mark.parametrize("size", [512, 500, 497])
def test_a_later_beginning_changes_nothing_inside(size: int) -> None:
    torch.manual_seed(0)
    network = DeepClean(3, 512, 1.0)
    stretch = torch.randn(2, 3, 1024, dtype=torch.float64)
    network.double().train()(stretch)  # statistics
    network.eval()
    with torch.no_grad():
        whole = network(stretch)
        assert whole.shape == (2, 1024)
        for start in (16, 64, 240):
            part = network(stretch[..., start : start + size])
            assert part.shape == (2, size)
            inside = slice(96, size - 96 - 15)
            torch.testing.assert_close(
                part[:, inside], whole[:, start : start + size][:, inside], rtol=1e-9, atol=1e-12
            )
    # no dead samples at the ends
    assert (whole.abs() > 0).all()


def test_rows_of_a_batch_do_not_meet() -> None:
    network = DeepClean(2, 512, 1.0).eval()
    witnesses = torch.randn(4, 2, 512)
    with torch.no_grad():
        torch.testing.assert_close(network(witnesses[2:3])[0], network(witnesses)[2])


def test_a_trace_takes_other_batches() -> None:
    network = DeepClean(2, 512, 1.0).eval()
    with torch.no_grad():
        traced = torch.jit.trace(network, torch.randn(2, 2, 512))
        witnesses = torch.randn(5, 2, 512)
        torch.testing.assert_close(traced(witnesses), network(witnesses))


def slow_noise(number: int, generator: torch.Generator) -> torch.Tensor:
    """Noise of 4 to 16 Hz in two channels at 512 Hz, of variance 1."""
    frequency = torch.fft.rfftfreq(512, 1 / 512)
    band = (frequency >= 4) & (frequency <= 16)
    noise = torch.fft.irfft(
        torch.fft.rfft(torch.randn(number, 2, 512, generator=generator)) * band
    )
    return noise / noise.std()


def test_identity_is_learnt() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    network = DeepClean(2, 512, 1.0)
    steps = 250
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, steps)
    for _ in range(steps):
        witnesses = slow_noise(16, generator)
        loss = (network(witnesses) - witnesses[:, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    witnesses = slow_noise(64, generator)
    with torch.no_grad():
        left = (network(witnesses) - witnesses[:, 0])[:, 96:-96]
    # the share of the power that is left; a shift by one sample would leave 0.016 at 10 Hz
    assert left.square().mean() < 1e-2


def test_even_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"taps must be odd.*found 8"):
        DeepClean(2, 512, 1.0, taps=8)
