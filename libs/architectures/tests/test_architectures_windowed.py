"""What holds for every network that scores kernels."""

import warnings

import pytest
import scipy.signal
import torch
from architectures import (
    Autoencoder,
    FrequencyResNet,
    MultiModal,
    QTransformResNet,
    SpectrogramResNet,
    WaveNet,
    WindowedNetwork,
    build,
    names,
)
from architectures.autoencoder_losses import AutoencoderLoss
from architectures.s4 import SizedKernel
from architectures.spectrum import FilterSpectrum, band_bins
from ml4gw.nn.ssm.s4d import S4DKernel, S4Model
from torch import Tensor
from torch.nn import functional as F

# small ones, for speed
SMALL = {
    "Autoencoder": {"widths": [4, 8]},
    "EarlyFusion": {"channels": [8, 16], "dilations": [1]},
    "FrequencyResNet": {"layers": [1, 1], "groups": 4},
    "MultiModal": {"layers": [1, 1], "frequency_layers": [1, 1], "groups": 4},
    "QTransformResNet": {"layers": [1, 1], "shape": [16, 32], "groups": 4},
    "ResNet": {"layers": [1, 1], "groups": 4},
    "S4": {"channels": 16, "states": 16, "layers": 2, "dropout": 0.0},
    "SpectrogramResNet": {"layers": [1, 1], "groups": 4},
    "TwoTower": {"channels": [8, 16], "features": 32, "dilations": [1]},
    "WaveNet": {"channels": 8, "skips": 16, "layers": 5, "blocks": 1},
}
SCORING = sorted({*names("supervised"), *names("autoencoder")})


def make(name: str, ifos: int = 2, rate: int = 512, seconds: float = 1.0) -> WindowedNetwork:
    torch.manual_seed(0)
    experiment = {"ifos": ["H1", "L1", "V1"][:ifos], "highpass": 30.0, "lowpass": None}
    return build(name, ifos, rate, seconds, SMALL[name], experiment=experiment)


def inputs(network: WindowedNetwork, batch: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Kernels of white noise, and filters of noise that falls with frequency, if asked for."""
    generator = torch.Generator().manual_seed(seed)
    kernel = torch.randn(batch, network.num_ifos, network.kernel_size, generator=generator)
    if not network.needs_taps:
        return (kernel,)
    size = round(network.sample_rate)
    taps = torch.randn(batch, network.num_ifos, size, generator=generator)
    return kernel, taps * torch.hann_window(size)


def trace(network: WindowedNetwork, batch: int = 2) -> torch.jit.ScriptModule:
    """As training publishes a windowed network."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return torch.jit.trace(network.eval(), inputs(network, batch, seed=9))


def test_every_network_is_tested_here() -> None:
    assert set(SMALL) == set(SCORING)


@pytest.mark.parametrize("name", SCORING)
@pytest.mark.parametrize(("ifos", "rate"), [(1, 512), (2, 1024), (3, 2048), (3, 512)])
def test_kernels_give_a_score_each(name: str, ifos: int, rate: int) -> None:
    if name == "Autoencoder" and ifos == 1:
        pytest.skip("an autoencoder compares detectors")
    network = make(name, ifos, rate).eval()
    with torch.no_grad():
        score = network(*inputs(network, 3))
    assert score.shape == (3,)
    assert torch.isfinite(score).all()
    assert score.std() > 0


@pytest.mark.parametrize("name", SCORING)
def test_a_trace_gives_the_same_for_any_batch_and_names_no_device(name: str) -> None:
    network = make(name)
    traced = trace(network)
    for batch in (1, 5):
        values = inputs(network, batch)
        with torch.no_grad():
            torch.testing.assert_close(traced(*values), network(*values), rtol=1e-5, atol=1e-6)
    # a device in the graph would tie the published model to the machine that traced it
    assert 'prim::Constant[value="cpu"]' not in str(traced.inlined_graph)


@pytest.mark.parametrize("name", SCORING)
def test_a_kernel_does_not_see_the_rest_of_the_batch(name: str) -> None:
    network = make(name)
    values = inputs(network, 6)
    with torch.no_grad():
        network(*values)  # gives normalisation layers that need it their statistics
        network.eval()
        together = network(*values)
        for i in (0, 5):
            alone = network(*(v[i : i + 1] for v in values))
            torch.testing.assert_close(alone[0], together[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", SCORING)
def test_mixed_precision_is_taken(name: str) -> None:
    network = make(name).eval()
    values = inputs(network, 8)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(*values)
    mixed.float().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    with torch.no_grad():
        exact = network(*values)
    # bfloat16 has 8 bits; what is left of a score is the sum of many of its roundings
    assert (mixed - exact).abs().max() < 0.05 * (exact.abs().max() + exact.std())


def bursts(number: int, network: WindowedNetwork, generator: torch.Generator) -> Tensor:
    """Loud sine-Gaussians of 40 to 120 Hz around the middle of the kernel, in all detectors."""
    time = torch.arange(network.kernel_size) / network.sample_rate
    centre, frequency, phase = torch.rand(3, number, 1, generator=generator)
    since = time - network.kernel_length * (0.2 + 0.6 * centre)
    wave = torch.sin(2 * torch.pi * ((40 + 80 * frequency) * since + phase))
    return (6 * wave * torch.exp(-((since / 0.05) ** 2)))[:, None]


def batch_of(
    network: WindowedNetwork, number: int, generator: torch.Generator
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Half signals, half noise; and which is which."""
    seed = int(torch.randint(2**31, (1,), generator=generator))
    kernel, *rest = inputs(network, number, seed)
    kernel[: number // 2] += bursts(number // 2, network, generator)
    return (kernel, *rest), (torch.arange(number) < number // 2).float()


def loss_of(network: WindowedNetwork, values: tuple[Tensor, ...], labels: Tensor) -> Tensor:
    """What its family trains a network on."""
    if isinstance(network, Autoencoder):
        return AutoencoderLoss({"correlation": 1.0})(network.examine(*values), labels)[0]
    return F.binary_cross_entropy_with_logits(network(*values), labels)


@pytest.mark.parametrize("name", SCORING)
def test_loud_bursts_are_learnt(name: str) -> None:
    network = make(name, seconds=1.0 if name in ("EarlyFusion", "TwoTower") else 0.75)
    generator = torch.Generator().manual_seed(1)
    steps, rate = 40, 3e-3 if "ResNet" in name or name == "MultiModal" else 1e-2
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(steps):
        loss = loss_of(network, *batch_of(network, 32, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()
    values, labels = batch_of(network, 200, generator)
    with torch.no_grad():
        score = network(*values)
        loss = loss_of(network, values, labels)
    signal, noise = score[labels == 1], score[labels == 0]
    # area under the ROC; chance is 0.5 with a deviation of 0.04
    assert (signal[:, None] > noise).float().mean() > 0.95
    # a network that knows nothing has 0.69, an autoencoder 1
    assert loss < 0.35


def resnet_size(channels: int, taps: int, stem: int, layers: tuple[int, ...]) -> int:
    """Parameters of a ResNet of plain blocks with one output (He et al., arXiv:1512.03385).

    Args:
        channels: Channels in.
        taps: Weights of a convolution per pair of channels.
        stem: The same of the first convolution.
        layers: Blocks in each stage; widths are 64, 128, ...
    """
    width = 64
    total = channels * width * stem + 2 * width
    for stage, blocks in enumerate(layers):
        wide = 64 * 2**stage
        total += width * wide * taps + (2 * blocks - 1) * wide**2 * taps + 2 * blocks * 2 * wide
        if stage:
            total += width * wide + 2 * wide  # the skip past a stride
        width = wide
    return total + width + 1


def stack_size(channels: int, halving: tuple[int, ...], dilated: tuple[int, ...]) -> int:
    """Parameters of blocks of two convolutions with normalisation, and a skip of one tap."""
    total = 0
    for taps, widths in ((7, halving), (3, dilated)):
        for width in widths:
            total += (channels + width) * width * taps + 4 * width + (channels + 1) * width
            channels = width
    return total


def test_sizes_are_what_they_are_said_to_be() -> None:
    def size(name: str) -> int:
        return sum(p.numel() for p in build(name, 2, 2048, 1.5).parameters())

    assert size("ResNet") == resnet_size(2, 3, 7, (3, 4, 6, 3))
    assert size("FrequencyResNet") == resnet_size(4, 3, 7, (3, 4, 6, 3))
    for name in ("QTransformResNet", "SpectrogramResNet"):
        assert size(name) == resnet_size(2, 9, 49, (3, 4, 6, 3))
    # 31 more outputs of 512 features in each branch, and the linear layer that fuses them
    branches = resnet_size(2, 3, 7, (3, 4, 6, 3)) + resnet_size(6, 3, 7, (2, 2, 2, 2))
    assert size("MultiModal") == branches + 2 * 31 * 513 + 65
    assert size("TwoTower") == (
        # halving and dilated blocks, a matrix per detector, the head
        stack_size(1, (8, 16, 32, 32, 32), (32, 32)) + 2 * 32 * 64 + 64 + 3 * 64 * 16 + 16 + 17
    )
    assert size("EarlyFusion") == (
        stack_size(2, (12, 24, 48, 48, 48), (48, 48)) + 3 * 48 * 16 + 16 + 17
    )
    for name in ("S4", "WaveNet", "Autoencoder"):
        assert 2e4 < size(name) < 1e5


def test_band_is_taken_with_and_without_limits() -> None:
    assert band_bins(1536, 1024, None, None) == (1, 769)
    assert band_bins(1536, 1024, 32.0, None) == (48, 769)
    assert band_bins(1536, 1024, None, 400.0) == (1, 601)
    assert band_bins(1536, 1024, 32.1, 9e9) == (49, 769)
    with pytest.raises(ValueError, match=r"highpass 300.0 Hz to lowpass 200.0 Hz"):
        band_bins(1536, 1024, 300.0, 200.0)


@pytest.mark.parametrize("kind", [FrequencyResNet, MultiModal])
def test_what_is_outside_the_band_is_not_seen(kind: type[WindowedNetwork]) -> None:
    network = kind(1, 512, 1.0, highpass=40.0, lowpass=100.0, layers=[1, 1], groups=4).eval()
    spectrum = network.spectrum
    time = torch.arange(512, dtype=torch.float64) / 512
    for frequency, seen in ((39, 0.0), (40, 1.0), (100, 1.0), (101, 0.0)):
        tone = torch.sin(2 * torch.pi * frequency * time)[None, None]
        # Parseval: a sine has half of its power, 512 / 4, at its positive frequency
        power = spectrum(tone).square().sum()
        assert power == pytest.approx(seen * 512 / 4, abs=1e-9)


def test_asd_comes_from_filters_of_any_length() -> None:
    """Against the response of the filter, summed up term by term at each frequency."""
    rate, size = 512, 768
    first, last = band_bins(size, rate, 20.0, 200.0)
    frequency = torch.arange(first, last, dtype=torch.float64) * rate / size
    for length in (256, 768, 1024, 2000):
        taps = torch.randn(1, 2, length, dtype=torch.float64)
        time = torch.arange(length, dtype=torch.float64) / rate
        angle = 2 * torch.pi * frequency[:, None] * time
        response = torch.complex(taps @ angle.cos().T, -(taps @ angle.sin().T)).abs()
        found = FilterSpectrum(size, first, last)(taps)
        torch.testing.assert_close(found, -response.log(), rtol=1e-9, atol=1e-9)


def test_multimodal_uses_all_it_is_given() -> None:
    network = make("MultiModal")
    kernel, taps = inputs(network, 2)
    kernel.requires_grad_()
    taps.requires_grad_()
    network(kernel, taps).sum().backward()
    for value in (kernel, taps):
        assert (value.grad.abs().amax(dim=-1) > 0).all()


@pytest.mark.parametrize(("rate", "seconds", "q"), [(512, 1.0, 4.0), (2048, 1.5, 6.0)])
def test_energies_of_white_noise_are_one(rate: int, seconds: float, q: float) -> None:
    network = QTransformResNet(1, rate, seconds, q=q, layers=[1, 1], groups=4)
    noise = torch.randn(400, 1, network.kernel_size, generator=torch.Generator().manual_seed(3))
    mean = network.picture(noise).mean(dim=(0, 1, 3))
    # frequencies near the upper edge have a part of their windows beyond what was sampled
    assert mean.mean() == pytest.approx(1, abs=0.05)
    assert mean[: len(mean) // 2].sub(1).abs().max() < 0.15


def test_picture_shows_a_burst_where_it_is() -> None:
    network = QTransformResNet(2, 1024, 1.0, highpass=40.0, lowpass=300.0)
    time = torch.arange(1024) / 1024
    wave = torch.sin(2 * torch.pi * 120 * time) * torch.exp(-(((time - 0.3) / 0.02) ** 2))
    kernel = torch.stack((torch.zeros(1024), wave))[None]
    picture = network.picture(kernel)
    assert picture.shape == (1, 2, 64, 128)
    assert picture[0, 0].abs().max() == 0
    row, column = divmod(int(picture[0, 1].argmax()), 128)
    low, high = network.transform.frange
    assert (column + 0.5) / 128 == pytest.approx(0.3, abs=0.02)
    assert low * (high / low) ** ((row + 0.5) / 64) == pytest.approx(120, rel=0.1)


@pytest.mark.parametrize(("rate", "seconds"), [(512, 1.0), (2048, 1.5)])
def test_power_of_white_noise_is_one(rate: int, seconds: float) -> None:
    network = SpectrogramResNet(2, rate, seconds, layers=[1, 1], groups=4)
    noise = torch.randn(400, 2, network.kernel_size, generator=torch.Generator().manual_seed(3))
    mean = network.picture(noise).mean(dim=(0, 3))
    assert mean.mean() == pytest.approx(1, abs=0.01)
    assert mean.sub(1).abs().max() < 0.1


def test_spectrogram_is_that_of_scipy() -> None:
    network = SpectrogramResNet(
        2, 1024, 1.0, highpass=40.0, lowpass=300.0, window_length=0.25, step_length=1 / 32
    ).double()
    kernel = torch.randn(3, 2, 1024, dtype=torch.float64)
    frequency, _, density = scipy.signal.spectrogram(
        kernel.numpy(),
        1024,
        "hann",
        nperseg=256,
        noverlap=256 - 32,
        detrend=False,
        scaling="density",
    )
    band = (frequency >= 40) & (frequency <= 300)
    # the one-sided density of white noise of variance 1 is 2 / sample rate; the window of the
    # network has been rounded to float32
    torch.testing.assert_close(
        network.picture(kernel), torch.from_numpy(density[:, :, band] * 512), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "options", [{"window_length": 2.0}, {"step_length": 0.2}, {"step_length": 1e-4}]
)
def test_spectrogram_says_what_does_not_fit(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"does not cover a kernel of 1.0 s at 512 Hz"):
        SpectrogramResNet(2, 512, 1.0, **options)


def test_q_transform_says_what_it_can_reach() -> None:
    with pytest.raises(ValueError, match=r"reaches from 79.6 to 329.7 Hz.*lowpass 60.0"):
        QTransformResNet(2, 1024, 0.6, lowpass=60.0)


@pytest.mark.parametrize("size", [1, 300, 1024])
def test_sized_kernel_is_that_of_ml4gw(size: int) -> None:
    torch.manual_seed(0)
    ours = SizedKernel(4, size, 16, 0.001, 0.1)
    theirs = S4DKernel(4, 16)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(size), theirs(size), rtol=1e-4, atol=1e-4)
    # nothing more is stored than by ml4gw
    assert set(make("S4").network.state_dict()) == set(
        S4Model(2, 1, d_model=16, d_state=16, n_layers=2).state_dict()
    )


def test_wavenet_sees_what_it_says() -> None:
    torch.manual_seed(0)
    blocks, layers, taps = 2, 3, 3
    network = WaveNet(1, 512, 0.25, channels=4, layers=layers, blocks=blocks, taps=taps, groups=4)
    for layer in network.layers:
        layer.norm = torch.nn.Identity()  # looks at the whole window
    seen = []
    network.evidence.register_forward_hook(lambda _, __, evidence: seen.append(evidence))
    kernel = torch.randn(1, 1, 128, requires_grad=True)
    network(kernel)
    (gradient,) = torch.autograd.grad(seen[0][0, 0, 64], kernel)
    touched = gradient[0, 0].nonzero()[:, 0]
    reach = blocks * (taps - 1) * (2**layers - 1) // 2
    assert (touched.min(), touched.max()) == (64 - reach, 64 + reach)
