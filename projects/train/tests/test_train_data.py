"""Training batches: exact fractions, any number of processes, any size of memory, one recipe."""

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from ledger import InjectionSet, StrainIndex, StrainSegment, WaveformSet
from preprocessing import WhitenedStretch, WhiteningRecipe, filter_signals, optimal_snr
from preprocessing.stretches import LoadedStretch, load_stretches
from runtime import load_experiment, make_provenance
from scipy import signal
from train.augmentation import Composition, choose, share_of
from train.background import Background
from train.batch import Kind
from train.data import Data
from train.glitches import Glitches, loudest_samples, read_triggers
from train.rotation import NUM_SLOTS, RotatingBackground, cut_pieces
from train.signals import SnrDistribution, delayed
from waveforms import antenna_response, project, signal_model
from waveforms.projection import sidereal_angle

REPOSITORY = Path(__file__).parents[3]
RATE = 512
KERNEL = 768
CPU = torch.device("cpu")
FILES = {"a": (1000.0, 230), "b": (1300.5, 151), "validation": (2000.0, 120)}


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Red noise, sine-Gaussians, and one injection, written through the ledger."""
    folder = tmp_path_factory.mktemp("inputs")
    settings = yaml.safe_load((REPOSITORY / "configs/smoke/experiment.yaml").read_text())
    settings["whitening"]["psd_length"] = 64
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(settings))
    experiment = load_experiment(path)
    provenance = make_provenance("test", experiment)
    rng = np.random.default_rng(0)
    for name, (start, seconds) in FILES.items():
        strain = {
            ifo: 1e-22 * signal.lfilter([1], [1, -0.7], rng.standard_normal(seconds * RATE))
            for ifo in experiment.ifos
        }
        StrainSegment(strain=strain, gps_start=start, sample_rate=RATE).write(
            folder / f"{name}.hdf5", provenance
        )
    StrainIndex(
        ifos=experiment.ifos,
        sample_rate=RATE,
        path=[f"{name}.hdf5" for name in FILES],
        label=list(FILES),
        gps_start=np.array([s for s, _ in FILES.values()]),
        gps_stop=np.array([s + n for s, n in FILES.values()]),
        # what is trained on in the first fold is searched in the second
        role=np.array([[0, 2], [0, 2], [1, 1]]),
        known_label=["burst"],
        known_time=np.array([1100.0]),
        known_window=np.array([[1099.0, 1101.0]]),
    ).write(folder / "index.hdf5", provenance)
    time = np.arange(4 * RATE) / RATE - 3
    waves = np.array(
        [
            1e-21 * np.exp(-((time / 0.03) ** 2)) * np.exp(2j * np.pi * (f * time + p))
            for f, p in zip(rng.uniform(60, 150, 32), rng.uniform(0, 1, 32), strict=True)
        ]
    )
    WaveformSet(
        sample_rate=RATE,
        coalescence=3.0,
        parameters={"redshift": np.zeros(32)},
        num_failed=0,
        plus=waves.real,
        cross=waves.imag,
    ).write(folder / "waveforms.hdf5", provenance)
    InjectionSet(
        ifos=experiment.ifos,
        sample_rate=RATE,
        coalescence=3.0,
        snr_threshold=4.0,
        volume=1.0,
        time=np.array([2090.0]),
        snr=np.array([15.0]),
        ifo_snr=np.full((1, 2), 15 / np.sqrt(2)),
        parameters={"redshift": np.zeros(1)},
        response=np.stack([waves[:1].real, waves[:1].imag], axis=1),
        rejected={"redshift": np.zeros(0)},
        rejected_snr=np.zeros(0),
        shift=np.zeros((1, 2)),
        file=np.zeros(1),
        draw=np.arange(1),
        rejected_by=np.zeros(0),
        rejected_file=np.zeros(0),
        rejected_draw=np.arange(0),
        failed_file=np.zeros(0),
        failed_draw=np.zeros(0),
        failed_reason=[],
        stream="injections/0",
    ).write(folder / "validation-0.hdf5", provenance)
    return {
        "experiment": path,
        "strain": folder / "index.hdf5",
        "waveforms": folder / "waveforms.hdf5",
        "validation": folder / "validation-0.hdf5",
    }


def data_of(inputs: dict[str, Path], rank: int = 0, world: int = 1, **options: object) -> Data:
    data = Data(**inputs, **options)
    data.trainer = SimpleNamespace(
        strategy=SimpleNamespace(root_device=CPU), global_rank=rank, world_size=world
    )
    data.setup("fit")
    return data


def whole(inputs: dict[str, Path]) -> list[LoadedStretch]:
    """The training files, as the search of the second fold whitens them."""
    experiment = load_experiment(inputs["experiment"])
    return list(load_stretches(inputs["strain"], experiment, "search", 1, 1.5))


def ramp(data: Data) -> None:
    """Put the number of each sample in its place, the same for all detectors."""
    data.background.values[:] = torch.arange(data.background.values.shape[-1])


EVERYTHING = {
    "batch_size": 40,
    "signal_fraction": 0.3,
    "swap_fraction": 0.11,
    "mute_fraction": 0.09,
    "glitch_fraction": 0.2,
}


@pytest.mark.parametrize("batch_size", [7, 64, 250])
def test_counts_of_many_batches_are_the_fractions(batch_size: int) -> None:
    composition = Composition(signal=0.277, swapped=0.014, muted=0.055, glitch=0.1)
    composition.check(batch_size, 2)
    kinds = torch.stack([composition.kinds(batch_size, n) for n in range(200)])
    for kind, fraction in composition.fractions().items():
        for batches in (1, 50, 200):
            found = int((kinds[:batches] == kind).sum())
            assert abs(found - fraction * batch_size * batches) <= 0.5 + 1e-6
        each = (kinds == kind).sum(1)
        assert each.max() - each.min() <= 1


def test_whole_numbers_of_kernels_are_in_every_batch(inputs: dict[str, Path]) -> None:
    data = data_of(inputs, batch_size=20, signal_fraction=0.25, mute_fraction=0.1)
    for number in range(5):
        batch = data.make_batch(number)
        assert torch.bincount(batch.kind.long()).tolist() == [13, 5, 0, 2]
        assert torch.equal(batch.labels, (batch.kind == Kind.SIGNAL).float())
        assert batch.kernels.shape == (20, 2, KERNEL)
        assert batch.taps.shape == (20, 2, RATE)
        assert batch.kind.dtype == torch.int8


def test_fractions_that_do_not_fit_are_refused(inputs: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match=r"signal_fraction 0.8.*take up to 11 .* batch of 10"):
        Data(**inputs, batch_size=10, signal_fraction=0.8, mute_fraction=0.25)
    with pytest.raises(ValueError, match="need two detectors, found one"):
        Composition(muted=0.1).check(10, 1)
    Composition(signal=0.7, swapped=0.3).check(10, 2)


def test_kernels_hold_what_their_kind_says(inputs: dict[str, Path]) -> None:
    """In noise that is zero everywhere, with signals of one SNR."""
    snr = SnrDistribution(minimum=9.99, start=10.0, maximum=10.01)
    data = data_of(inputs, snr=snr, coalescence=(0.3, 1.2), **EVERYTHING)
    data.background.values.zero_()
    rows = [data.make_batch(n) for n in range(20)]
    kernels, kind = torch.cat([b.kernels for b in rows]), torch.cat([b.kind for b in rows])
    power = kernels.square().sum(-1)
    # 20 batches of 40 kernels
    assert torch.bincount(kind.long()).tolist() == [240, 240, 88, 72, 160]
    assert not power[(kind == Kind.NOISE) | (kind == Kind.GLITCH)].any()
    signals = power[kind == Kind.SIGNAL]
    torch.testing.assert_close(signals.sum(-1).sqrt(), torch.full((240,), 10.0), rtol=0.01, atol=0)
    # the signal of one detector, either, is gone; what is left is as loud as it was
    muted = power[kind == Kind.MUTED]
    assert ((muted == 0).sum(-1) == 1).all()
    assert 15 < int((muted[:, 0] == 0).sum()) < 57
    assert muted.max() < 10.02**2
    # detectors see one source at one time, or two sources at two
    time = torch.arange(KERNEL) / RATE
    middle = (kernels.square() * time).sum(-1) / power
    apart = (middle[:, 0] - middle[:, 1]).abs()
    assert apart[kind == Kind.SIGNAL].max() < 0.02
    swapped = apart[kind == Kind.SWAPPED]
    # two uniform numbers in 0.9 s differ by a third of that on average
    assert swapped.mean().item() == pytest.approx(0.3, abs=0.07)


def test_one_number_changes_one_thing() -> None:
    eligible = torch.ones(3, 50, dtype=torch.bool)
    eligible[1] = False
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(3, 50)
    for _ in range(400):
        chosen = choose(eligible, 25, generator)
        assert int(chosen.sum()) == 25
        counts += chosen
    assert not counts[1].any()
    # each is chosen as often as the others: 100 times, give or take five standard deviations
    assert (counts[[0, 2]] - 100).abs().max() < 5 * np.sqrt(75)
    assert [share_of(0.25, 2, n) for n in range(4)] == [1, 0, 1, 0]


@pytest.mark.parametrize("name", ["inversion", "reversal", "mixing"])
def test_noise_is_changed_as_often_as_asked(inputs: dict[str, Path], name: str) -> None:
    fractions = {"inversion": 0.0, "reversal": 0.0, "mixing": 0.0, name: 0.3}
    data = data_of(inputs, batch_size=50, signal_fraction=0.0, **fractions)
    ramp(data)
    for number in range(3):
        kernels = data.make_batch(number).kernels
        slope = kernels.diff(dim=-1).mean(-1)
        if name == "inversion":
            changed = kernels[..., 0] < 0
        elif name == "reversal":
            changed = (slope < 0) & (kernels[..., 0] > 0)
        else:
            changed = slope > 1 + 1e-6
        assert int(changed.sum()) == 30


def test_signals_are_not_reversed(inputs: dict[str, Path]) -> None:
    """Reversal and inversion are of the noise: signals are the same with and without."""
    made = []
    for fraction in (0.0, 1.0):
        data = data_of(inputs, batch_size=20, inversion=fraction, reversal=fraction)
        data.background.values.zero_()
        made.append(data.make_batch(0).kernels)
    assert torch.equal(made[0], made[1])
    assert made[0].any()


@pytest.mark.parametrize("memory_length", [None, 60.0])
@pytest.mark.parametrize("world", [2, 4])
def test_processes_share_a_batch(
    inputs: dict[str, Path], world: int, memory_length: float | None
) -> None:
    options = {**EVERYTHING, "batches_per_epoch": 8, "memory_length": memory_length}
    alone = data_of(inputs, **options)
    shares = [data_of(inputs, rank, world, **options) for rank in range(world)]
    for number in (0, 5):
        expected = alone.make_batch(number)
        for rank, data in enumerate(shares):
            found = data.make_batch(number)
            for mine, all_ in zip(found, expected, strict=True):
                torch.testing.assert_close(mine, all_[rank::world], rtol=1e-5, atol=1e-5)
            assert len(found.kernels) == 40 // world
    with pytest.raises(ValueError, match="40 cannot be shared evenly by 3 processes"):
        data_of(inputs, 0, 3, **options)


def test_kernels_are_what_the_search_sees(inputs: dict[str, Path]) -> None:
    """Sample by sample at the same GPS time, and by scipy from the raw strain."""
    experiment = load_experiment(inputs["experiment"])
    data = data_of(inputs, batch_size=16, signal_fraction=0, inversion=0, reversal=0, mixing=0)
    searched = whole(inputs)
    background = data.background
    starts = background.draw_starts(16, torch.Generator().manual_seed(3))
    kernels, taps = background.kernels_at(starts), background.taps_at(starts)
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    for row, ifo in itertools.product(range(16), range(2)):
        start = int(starts[ifo, row])
        slot = max((s for s in background.slots if s.place <= start), key=lambda s: s.place)
        gps = slot.gps_start + (start - slot.place) / RATE
        item = max((i for i in searched if i.gps_start <= gps), key=lambda i: i.gps_start)
        first = round((gps - item.gps_start) * RATE)
        assert torch.equal(kernels[row, ifo], item.stretch.values[ifo, first : first + KERNEL])
        if row > 3:
            continue
        block = (first + KERNEL // 2) // recipe.update_size
        raw = StrainSegment.read(item.file.path).strain[experiment.ifos[ifo]].astype(float)
        begin = block * recipe.update_size
        psd = signal.welch(
            raw[begin : begin + recipe.psd_size], RATE, "hann", recipe.fft_size,
            detrend=False, average="median",
        )[1]  # fmt: skip
        frequency = np.fft.rfftfreq(recipe.fft_size, 1 / RATE)
        inverse = np.where(frequency >= experiment.highpass, np.sqrt(2 / (RATE * psd)), 0)
        impulse = np.roll(np.fft.irfft(inverse), recipe.filter_size // 2)
        impulse = impulse[: recipe.filter_size] * signal.windows.hann(recipe.filter_size, False)
        scale = float(taps[row, ifo].abs().max()) / np.abs(impulse).max()
        np.testing.assert_allclose(
            taps[row, ifo], impulse * scale, atol=2e-4 * float(taps[row, ifo].abs().max())
        )
        white = np.convolve(raw, impulse)[recipe.filter_size // 2 + recipe.lead_size :]
        inside = np.arange(first, first + KERNEL) // recipe.update_size == block
        np.testing.assert_allclose(
            kernels[row, ifo][inside], white[first : first + KERNEL][inside], atol=2e-3
        )


def test_signals_are_projected_exactly(inputs: dict[str, Path]) -> None:
    """As `waveforms` projects injections, and as loud as the local PSD says."""
    data = data_of(inputs)
    experiment = data.experiment
    item = whole(inputs)[0].stretch
    block = torch.arange(24) % len(item.taps)
    taps, psd = item.taps[block], item.psd[block]
    sources = data.signals.draw_sources(24, torch.Generator().manual_seed(0), 0)
    gps = np.full(24, 1.2e9)
    factors, delay = antenna_response(
        {
            "ra": sources.phi.double().numpy() + sidereal_angle(gps),
            "dec": np.pi / 2 - sources.theta.double().numpy(),
            "psi": sources.psi.double().numpy(),
        },
        gps,
        experiment.ifos,
    )
    stored = WaveformSet.read(inputs["waveforms"])
    plus, cross = (torch.from_numpy(getattr(stored, n))[sources.which] for n in ("plus", "cross"))
    response = project(plus, cross, factors, delay, RATE)
    expected = filter_signals(response.float(), taps)
    found = data.signals.whitened(sources, taps)
    peak = expected.abs().amax()
    assert (found - expected).abs().amax() < 1e-4 * peak
    # an error of half a sample would show
    late = project(plus, cross, factors, delay + 0.5 / RATE, RATE)
    assert (filter_signals(late.float(), taps) - expected).abs().amax() > 0.1 * peak
    # a network SNR of training is that of an injection, by the PSD where it lands; the filter is
    # half as long as the PSD's segments, and does not follow its scatter from bin to bin
    whitened_snr = found.square().sum((1, 2)).sqrt().double()
    snr = optimal_snr(response, psd, RATE, experiment.highpass).square().sum(-1).sqrt()
    off = (whitened_snr / snr - 1).abs()
    assert off.mean() < 1e-3
    assert off.max() < 2e-3


@pytest.mark.parametrize("size", [2160, 2187])
def test_delays_are_exact_where_phases_are_large(size: int) -> None:
    """Of hundreds of turns, where single precision has lost the last digits."""
    delay = torch.tensor([[-0.021, 0.0], [0.0137, 0.5]])
    exact = np.exp(-2j * np.pi * delay.double()[..., None] * np.fft.rfftfreq(size, 1 / RATE))
    found = delayed(delay, size, RATE)
    assert found.dtype == torch.complex64
    assert (found - exact).abs().max() < 3e-7
    series = torch.randn(size)
    late = torch.fft.irfft(
        torch.fft.rfft(series) * delayed(torch.tensor(3 / RATE), size, RATE), size
    )
    torch.testing.assert_close(late, series.roll(3), rtol=0, atol=1e-5)


def test_sampling_says_which_times_go_together(inputs: dict[str, Path]) -> None:
    plain = {"signal_fraction": 0, "inversion": 0, "reversal": 0, "mixing": 0, "batch_size": 64}
    starts = {}
    for sampling in ("independent", "coincident", "slid"):
        data = data_of(inputs, sampling=sampling, **plain)
        ramp(data)
        batches = [data.make_batch(n).kernels[..., 0].long() for n in range(4)]
        starts[sampling] = torch.stack(batches).movedim(-1, 0).contiguous()
        # nothing that is left out is seen, and all the rest may be
        first, last, begin = data.background.first, data.background.last, starts[sampling]
        run = torch.searchsorted(first, begin, right=True) - 1
        assert ((begin >= first[run]) & (begin <= last[run])).all()
    assert (starts["coincident"][0] == starts["coincident"][1]).all()
    assert (starts["independent"][0] - starts["independent"][1]).unique().numel() > 200
    # in the order of the allowed places each batch has one step, and no two the same
    places = torch.cat([torch.arange(a, b + 1) for a, b in zip(first, last, strict=True)])
    order = torch.searchsorted(places, starts["slid"])
    step = (order[1] - order[0]) % len(places)
    assert (step == step[:, :1]).all()
    assert step[:, 0].unique().numel() == 4
    assert step.min() >= KERNEL
    assert step.max() <= len(places) - KERNEL


def test_listed_glitches_are_in_their_kernels(inputs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "glitches.csv"
    path.write_text(
        "ifo,time,snr\nH1,1150.25,9\nL1,1160.5,20\nL1,1180.75,8\nV1,1170,9\nL1,1100,9\n"
    )
    data = data_of(
        inputs, batch_size=40, signal_fraction=0, glitch_fraction=0.5, glitches=path, mixing=1.0
    )
    background = data.background
    background.values.zero_()
    for row, (time, height) in itertools.product(range(2), {1150.25: 1, 1160.5: 2}.items()):
        # where the other detector has no glitch stands something else
        sample = round((time - background.slots[0].gps_start) * RATE)
        background.values[row, sample] = 1000 * height + row
    kernels, kinds = zip(
        *((b.kernels, b.kind) for b in map(data.make_batch, range(30))), strict=True
    )
    kernels, kind = torch.cat(kernels), torch.cat(kinds)
    assert (kind == Kind.GLITCH).sum() == 600
    height = kernels[kind == Kind.GLITCH].abs().amax(-1)
    found = torch.stack([(height[:, 0] == 1000).sum(), (height[:, 1] == 2001).sum()])
    # of the three that can be had (the fourth is at a known event) two have a mark
    assert ((found > 140) & (found < 270)).all()
    # in the plain noise only now and then
    assert (kernels[kind == Kind.NOISE].abs().amax(-1) > 1).float().mean() < 0.1
    where = kernels[kind == Kind.GLITCH][height[:, 0] == 1000][:, 0].abs().argmax(-1).float()
    assert where.mean().item() == pytest.approx(KERNEL / 2, abs=5 * KERNEL / np.sqrt(12 * 140))


def test_the_loudest_seconds_count_where_no_list_is(inputs: dict[str, Path]) -> None:
    values = torch.randn(300 * RATE)
    places = [10_000, 70_011, 120_500]
    for place in places:
        values[place - 4 : place + 4] += 20
    found = loudest_samples(values, RATE).sort().values
    assert (found - torch.tensor(places)).abs().max() <= RATE // 16
    data = data_of(inputs, batch_size=8, signal_fraction=0, glitch_fraction=0.5)
    assert isinstance(data.glitches, Glitches)
    assert (data.make_batch(0).kind == Kind.GLITCH).sum() == 4


def test_lists_of_glitches_that_say_nothing_are_refused(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "glitches.csv"
    path.write_text("detector,time\nH1,5\n")
    with pytest.raises(ValueError, match=r"no column ifo: expected ifo,time\[,snr\], found det"):
        read_triggers(path, ("H1", "L1"))
    path.write_text("ifo,time\nH1,5\nH1,noon\n")
    with pytest.raises(ValueError, match="line 3: time noon is no GPS time"):
        read_triggers(path, ("H1", "L1"))
    path.write_text("ifo,time\nH1,500\n")
    with pytest.raises(ValueError, match="none of the glitches of"):
        data_of(inputs, glitch_fraction=0.1, glitches=path)


def test_pieces_hold_every_kernel_once(inputs: dict[str, Path]) -> None:
    """And their samples and filters are those of the files as a whole."""
    data = data_of(inputs, memory_length=60.0)
    background = data.background
    assert isinstance(background, RotatingBackground)
    # 60 s and no more, of 381 s of raw strain
    assert background.values.shape[-1] <= 60 * RATE
    searched = whole(inputs)
    seen = [torch.zeros(i.stretch.values.shape[-1], dtype=torch.int) for i in searched]
    for turn in range(len(background.pieces)):
        item = background._load(turn)
        number = background.pieces[turn].file
        stretch = searched[number].stretch
        first = round((item.gps_start - searched[number].gps_start) * RATE)
        size = item.stretch.values.shape[-1]
        torch.testing.assert_close(
            item.stretch.values, stretch.values[:, first : first + size], rtol=1e-5, atol=1e-5
        )
        samples = torch.arange(size)
        torch.testing.assert_close(
            item.stretch.taps[item.stretch.block_of(samples)][::97],
            stretch.taps[stretch.block_of(first + samples)][::97],
        )
        seen[number][first : first + size - KERNEL + 1] += 1
    for count in seen:
        assert (count[: -KERNEL + 1] == 1).all()
        assert not count[-KERNEL + 1 :].any()


def test_what_is_in_memory_follows_from_the_batch_alone(inputs: dict[str, Path]) -> None:
    options = {**EVERYTHING, "memory_length": 60.0, "batches_per_epoch": 16, "renewal": 1.0}
    data = data_of(inputs, **options)
    background = data.background
    held, batches = [], []
    for number in range(24):
        batches.append(data.make_batch(number))
        held.append({(s.gps_start, s.size) for s in background.slots})
    # a piece every two batches, and all of them in turn
    assert [len(a - b) for a, b in itertools.pairwise(held)] == [0, 1] * 11 + [0]
    assert len(set.union(*held)) == min(len(background.pieces), NUM_SLOTS + 11)
    others = data_of(inputs, **options)
    for number in (17, 5, 23):
        for again, first in zip(others.make_batch(number), batches[number], strict=True):
            assert torch.equal(again, first)
    pieces = cut_pieces(background.files, background.recipe, KERNEL, 60 / NUM_SLOTS)
    assert sorted(map(str, pieces)) == sorted(map(str, background.pieces))
    assert pieces != background.pieces
    for made in (data, others):
        made.teardown("fit")


def test_all_stays_in_memory_where_it_fits(inputs: dict[str, Path]) -> None:
    plain, bounded = data_of(inputs), data_of(inputs, memory_length=1000.0)
    assert type(bounded.background) is Background
    assert torch.equal(plain.make_batch(3).kernels, bounded.make_batch(3).kernels)
    with pytest.raises(ValueError, match=r"8 pieces of 0.5 s, .* 5.5 s each .* to 44 s or more"):
        data_of(inputs, memory_length=4.0)


class Recorder(L.LightningModule):
    """Remembers what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[float] = []

    def training_step(self, batch: object, _: int) -> torch.Tensor:
        self.seen.append(float(batch.kernels.sum()))
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


def fitted(inputs: dict[str, Path], folder: Path, steps: int, resume: bool) -> list[float]:
    module = Recorder()
    keeper = L.pytorch.callbacks.ModelCheckpoint(folder, "at", every_n_train_steps=steps)
    trainer = L.Trainer(
        max_steps=12, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
        callbacks=[keeper] if steps < 12 else [], enable_checkpointing=steps < 12,
    )  # fmt: skip
    data = Data(**inputs, batch_size=8, batches_per_epoch=5, memory_length=60.0)
    trainer.fit(module, data, ckpt_path=folder / "at.ckpt" if resume else None)
    return module.seen


@pytest.mark.filterwarnings("ignore")
def test_training_goes_on_in_the_middle_of_an_epoch(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    unbroken = fitted(inputs, tmp_path, 7, resume=False)
    assert len(set(unbroken)) == 12
    assert fitted(inputs, tmp_path, 12, resume=True) == unbroken[7:]


def test_a_window_left_out_is_left_out_of_every_slot() -> None:
    recipe = WhiteningRecipe(RATE, 8, 2, 1, 4, 32)
    loaded = [
        LoadedStretch(
            file=None,
            gps_start=start,
            stretch=WhitenedStretch(
                torch.arange(20 * RATE).float().expand(2, -1),
                torch.zeros(5, 2, RATE),
                None,
                recipe,
            ),
        )
        for start in (100.0, 200.0)
    ]
    background = Background(loaded, KERNEL, [(105.0, 106.0), (210.0, 300.0)])
    kernels, _ = background.draw(3000, torch.Generator().manual_seed(0))
    starts = background.draw_starts(3000, torch.Generator().manual_seed(0))
    begin = kernels[..., 0].T / RATE + torch.where(starts < 20 * RATE, 100, 200)
    for first, last in ((105.0, 106.0), (210.0, 300.0)):
        assert not ((begin < last) & (begin + KERNEL / RATE > first)).any()
    assert background.livetime == pytest.approx(20 - 1.5 - 2.5 + 8.5, abs=0.02)


def test_mixed_noise_is_noise_of_the_same_kind(inputs: dict[str, Path]) -> None:
    for mixing in (0.0, 1.0):
        data = data_of(inputs, batch_size=256, signal_fraction=0.0, mixing=mixing)
        kernels = data.make_batch(0).kernels
        # of 256 Hz the filter keeps those above 32 Hz, and its PSDs scatter
        assert kernels.var().item() == pytest.approx(7 / 8 * 1.04, abs=0.04)
        spectrum = torch.fft.rfft(kernels).abs().square().mean(dim=(0, 1))
        flat = spectrum[60:360] / spectrum[60:360].mean()
        assert (flat - 1).abs().max() < 0.35


def test_batches_depend_on_their_number_alone(inputs: dict[str, Path]) -> None:
    data = data_of(inputs, batch_size=32)
    first = data.make_batch(3)
    data.make_batch(4)
    for again in (data.make_batch(3), data_of(inputs, batch_size=32).make_batch(3)):
        assert torch.equal(again.kernels, first.kernels)
    assert not torch.equal(data.make_batch(4).kernels, first.kernels)


def test_signals_have_the_snr_and_place_asked_for(inputs: dict[str, Path]) -> None:
    snr = SnrDistribution(minimum=9.99, start=10.0, maximum=10.01)
    data = data_of(inputs, snr=snr, coalescence=(0.5, 1.2))
    generator = torch.Generator().manual_seed(1)
    _, taps = data.background.draw(300, generator)
    drawn = data.signals.draw(taps, generator, 0)
    found = drawn.square().sum(dim=(1, 2)).sqrt()
    torch.testing.assert_close(found, torch.full((300,), 10.0), rtol=0.01, atol=0)
    # the centre of the energy is at the coalescence, delayed by at most the light's way
    time = torch.arange(KERNEL) / RATE
    power = drawn.square().sum(dim=1)
    centre = (power * time).sum(-1) / power.sum(-1)
    assert centre.min() > 0.5 - 0.03
    assert centre.max() < 1.2 + 0.03
    assert centre.std() == pytest.approx(0.7 / np.sqrt(12), rel=0.15)


def test_signals_may_be_made_while_training(inputs: dict[str, Path], tmp_path: Path) -> None:
    """From parameters alone, the same as from a file that holds the polarizations."""
    experiment = load_experiment(inputs["experiment"])
    rng = np.random.default_rng(3)
    fixed = {
        "luminosity_distance": 500.0, "redshift": 0.1, "phase": 1.0, "theta_jn": 0.4, "a_1": 0.2,
        "a_2": 0.1, "tilt_1": 0.5, "tilt_2": 1.0, "phi_12": 0.0, "phi_jl": 0.0,
    }  # fmt: skip
    sources = {name: np.full(12, value) for name, value in fixed.items()}
    sources["mass_1_detector"] = rng.uniform(40, 60, 12)
    sources["mass_2_detector"] = rng.uniform(30, 40, 12)
    model = signal_model(experiment.waveforms, RATE)
    plus, cross, good = model.polarizations(sources)
    assert good.all()
    stored = WaveformSet(
        sample_rate=RATE,
        coalescence=model.coalescence,
        num_failed=0,
        parameters=sources,
        plus=plus.float().numpy(),
        cross=cross.float().numpy(),
    )
    bare = dataclasses.replace(stored, plus=stored.plus[:0], cross=stored.cross[:0])
    batches = []
    for name, waveforms in (("stored", stored), ("bare", bare)):
        path = tmp_path / f"{name}.hdf5"
        waveforms.write(path, make_provenance("test", experiment))
        data = data_of({**inputs, "waveforms": path}, batch_size=32)
        assert data.signals.num_waveforms == 12
        batches.append(data.make_batch(5).kernels)
    torch.testing.assert_close(*batches, rtol=1e-3, atol=1e-3)


def test_snr_distribution_is_the_power_law() -> None:
    generator = torch.Generator().manual_seed(2)
    for index in (-4.0, -3.0, -1.0):
        drawn = SnrDistribution(4, 40, index).draw(200_000, generator, CPU, 0)
        assert drawn.min() >= 4
        assert drawn.max() <= 40.001
        if index == -1:
            expected = np.log(8 / 4) / np.log(10)
        else:
            p = index + 1
            expected = (8**p - 4**p) / (40**p - 4**p)
        assert (drawn < 8).float().mean().item() == pytest.approx(expected, abs=0.005)


def test_loud_signals_come_first() -> None:
    snr = SnrDistribution(minimum=5, start=12, start_steps=100)
    assert [snr.smallest(step) for step in (0, 50, 100, 5000)] == [12, 8.5, 5, 5]
    drawn = snr.draw(10_000, torch.Generator().manual_seed(0), CPU, 50)
    assert drawn.min().item() == pytest.approx(8.5, abs=0.01)
    with pytest.raises(ValueError, match="are not in order"):
        SnrDistribution(minimum=13, start=12)


def test_other_settings_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    changed = yaml.safe_load(inputs["experiment"].read_text())
    changed["sample_rate"] = 1024
    other = tmp_path / "experiment.yaml"
    other.write_text(yaml.safe_dump(changed))
    data = Data(**{**inputs, "experiment": other})
    with pytest.raises(ValueError, match=r"index.hdf5 was made with sample_rate = 512.*1024"):
        data.prepare_data()
    with pytest.raises(ValueError, match="folds 0 to 1"):
        data_of(inputs, fold=3)
    with pytest.raises(ValueError, match=r"data.mixing 1.5 is no fraction"):
        Data(**inputs, mixing=1.5)
