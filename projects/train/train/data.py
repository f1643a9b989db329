"""Batches of kernels with and without signals, made on the device."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from ledger import InjectionSet, StrainIndex, WaveformSet
from preprocessing import WhiteningRecipe
from preprocessing.stretches import strain_files
from runtime import load_experiment, require_same, seed_for
from runtime.provenance import SAME_STRAIN
from torch import Tensor

from train.augmentation import Composition, choose, share_of
from train.background import Background, Sampling, load_stretches
from train.batch import Batch, Kind
from train.glitches import Glitches, read_triggers
from train.rotation import NUM_SLOTS, RotatingBackground, cut_pieces
from train.signals import Signals, SnrDistribution
from train.validation import ValidationSet

log = logging.getLogger("train")


class Data(L.LightningDataModule):
    """Background from files, signals from a waveform set.

    Several processes share a batch: each draws the random numbers of the whole batch and makes
    every so manieth of its kernels, so a batch is the same for any number of processes.

    Fractions are those of the whole batch, and counts follow them exactly: what is no whole number
    of kernels is rounded once over all batches so far.

    Args:
        experiment: The experiment file; set by `--experiment`.
        strain: The strain index; set by `--strain`.
        waveforms: Polarizations to train on; set by `--waveforms`.
        validation: Injections into the validation strain; set by `--validation`.
        fold: Fold of the experiment; set by `--fold`.
        batch_size: Kernels in a batch, of all processes together.
        batches_per_epoch: Batches between two validations.
        signal_fraction: Fraction of the kernels that hold a signal.
        swap_fraction: Fraction that holds a signal of which one detector shows another one:
            labelled noise.
        mute_fraction: Fraction that holds a signal that one detector does not show: labelled
            noise.
        glitch_fraction: Fraction with one detector at a glitch, the others anywhere.
        glitches: CSV file of glitches, columns `ifo`, `time` (GPS) [s]; the loudest hundredth of
            the seconds of the training strain where None.
        snr: Distribution of the network SNR of training signals.
        coalescence: Earliest and latest time of the coalescence in the kernel [s].
        sampling: Whether the detectors' noise is drawn at `independent` times, at `coincident`
            ones, or `slid` by a step that is drawn for each batch.
        inversion: Fraction of the detectors' noises that change sign.
        reversal: Fraction of the detectors' noises that run backward.
        mixing: Fraction of the detectors' noises that are a mixture of two kernels with amplitudes
            cos(x) and sin(x). A mixture of Gaussian noise is Gaussian noise of the same
            spectrum that was never there before, which keeps a network from learning the
            training noise by heart; the rest keeps glitches as loud as they are, and so do
            kernels that are drawn for their glitch.
        memory_length: Whitened strain of each detector to hold in memory [s]; all if None, or if
            there is no more.
        renewal: Part of the strain in memory that is replaced in an epoch, where not all is in
            memory.
        workers: Threads that read strain where not all is in memory.
        validation_livetime: Livetime of the time slides of a validation, as far as the data
            allow [s].
    """

    def __init__(
        self,
        experiment: Path,
        strain: Path,
        waveforms: Path,
        validation: Path,
        fold: int = 0,
        batch_size: int = 256,
        batches_per_epoch: int = 100,
        signal_fraction: float = 0.5,
        swap_fraction: float = 0.0,
        mute_fraction: float = 0.0,
        glitch_fraction: float = 0.0,
        glitches: Path | None = None,
        snr: SnrDistribution = SnrDistribution(),  # noqa: B008 - frozen, so safe to share
        coalescence: tuple[float, float] = (0.45, 1.4),
        sampling: Sampling = "independent",
        inversion: float = 0.5,
        reversal: float = 0.5,
        mixing: float = 0.75,
        memory_length: float | None = None,
        renewal: float = 1.0,
        workers: int = 2,
        validation_livetime: float = 40000.0,
    ) -> None:
        super().__init__()
        self.experiment = load_experiment(experiment)
        for name in (
            "signal_fraction", "swap_fraction", "mute_fraction", "glitch_fraction", "inversion",
            "reversal", "mixing",
        ):  # fmt: skip
            if not 0 <= locals()[name] <= 1:
                raise ValueError(f"data.{name} {locals()[name]} is no fraction between 0 and 1")
        for name in ("batch_size", "batches_per_epoch", "workers", "renewal"):
            if not locals()[name] > 0:
                raise ValueError(f"data.{name} {locals()[name]} is not above 0")
        self.composition = Composition(
            signal_fraction, swap_fraction, mute_fraction, glitch_fraction
        )
        self.composition.check(batch_size, len(self.experiment.ifos))
        self.paths = {"strain": strain, "waveforms": waveforms, "validation": validation}
        self.fold = fold
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.glitch_list = glitches
        self.snr = snr
        self.coalescence = coalescence
        self.sampling = sampling
        self.inversion = inversion
        self.reversal = reversal
        self.mixing = mixing
        self.memory_length = memory_length
        self.renewal = renewal
        self.workers = workers
        self.validation_livetime = validation_livetime
        self.seconds_making = 0.0

    def prepare_data(self) -> None:
        """Stop early where an input was made with other settings."""
        for path in self.paths.values():
            require_same(path, self.experiment, SAME_STRAIN)
        require_same(self.paths["waveforms"], self.experiment, ("waveforms",))
        require_same(self.paths["validation"], self.experiment, ("waveforms", "whitening"))

    def setup(self, stage: str) -> None:
        """Whiten the background and load the signals onto the device.

        Raises:
            ValueError: The processes cannot share a batch evenly, or the strain is too short.
        """
        experiment, trainer = self.experiment, self.trainer
        device = trainer.strategy.root_device if trainer else torch.device("cpu")
        self.rank, self.num_processes = (
            (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        )
        if self.batch_size % self.num_processes:
            raise ValueError(
                f"data.batch_size {self.batch_size} cannot be shared evenly by "
                f"{self.num_processes} processes: choose a multiple"
            )
        kernel_size = round(experiment.kernel_length * experiment.sample_rate)
        index = StrainIndex.read(self.paths["strain"])
        left_out = [(float(a), float(b)) for a, b in index.known_window]
        if stage == "fit":
            self.background = self._make_background(kernel_size, left_out, device)
            self.glitches = None
            if self.composition.glitch:
                listed = self.glitch_list
                self.glitches = Glitches(
                    experiment.ifos,
                    None if listed is None else read_triggers(listed, experiment.ifos),
                )
                self.glitches.find(self.background)
            self.signals = Signals(
                WaveformSet.read(self.paths["waveforms"]),
                experiment.waveforms,
                experiment.ifos,
                kernel_size,
                self.snr,
                self.coalescence,
                device,
            )
            log.info(
                "training on %.0f s of background and %d waveforms",
                self.background.livetime,
                self.signals.num_waveforms,
            )
        self.validation = ValidationSet(
            load_stretches(self.paths["strain"], experiment, "validation", self.fold, device),
            InjectionSet.read(self.paths["validation"]),
            experiment,
            left_out,
            self.validation_livetime,
        )

    def _make_background(
        self, kernel_size: int, left_out: Sequence[tuple[float, float]], device: torch.device
    ) -> Background:
        """All training strain in memory, or a part of it in turn where it is longer than that."""
        experiment, path = self.experiment, self.paths["strain"]
        recipe = WhiteningRecipe.from_settings(experiment.settings())
        files = strain_files(path, experiment, "training", self.fold)
        size = sum(
            recipe.whitened_size(round((file.gps_stop - file.gps_start) * recipe.sample_rate))
            for file in files
        )
        if self.memory_length is None or size <= self.memory_length * recipe.sample_rate:
            loaded = load_stretches(path, experiment, "training", self.fold, device)
            return Background(loaded, kernel_size, left_out, self.sampling)
        pieces = cut_pieces(files, recipe, kernel_size, self.memory_length / NUM_SLOTS)
        log.info(
            "%.0f s of training strain are more than data.memory_length %g s: %d of %d pieces are "
            "in memory at a time",
            size / recipe.sample_rate,
            self.memory_length,
            NUM_SLOTS,
            len(pieces),
        )
        return RotatingBackground(
            files,
            pieces,
            experiment.ifos,
            recipe,
            kernel_size,
            left_out,
            self.sampling,
            self.renewal * NUM_SLOTS / self.batches_per_epoch,
            experiment.seed,
            self.workers,
            device,
        )

    def teardown(self, stage: str) -> None:
        """End what reads strain."""
        if stage == "fit":
            self.background.close()

    @property
    def seconds_waiting(self) -> float:
        """Time that batches have waited for strain to be read, since the start [s]."""
        return self.background.seconds_waiting

    def train_dataloader(self) -> Any:
        """Numbers of batches within an epoch; the batches are made on the device.

        No `DataLoader`, which Lightning would divide among processes: all make a part of each
        batch.
        """
        return range(self.batches_per_epoch)

    def val_dataloader(self) -> Any:
        """One item: the validation set is scored as a whole."""
        return torch.utils.data.DataLoader([-1], batch_size=None)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make the next batch."""
        if not self.trainer.training:
            return self.validation
        begun = time.perf_counter()
        # the loader starts anew where a training goes on in the middle of an epoch: Lightning's
        # own count does not
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        made = self.make_batch(self.trainer.current_epoch * self.batches_per_epoch + done)
        self.seconds_making += time.perf_counter() - begun
        return made

    def make_batch(self, number: int) -> Batch:
        """Kernels of a training step.

        Args:
            number: Number of the step, from which all its random numbers follow.

        Returns:
            The kernels that this process makes of the batch, those with signals first, then those
            swapped, muted, with glitches, and plain noise.
        """
        if self.background.prepare(number) and self.glitches:
            self.glitches.find(self.background)
        device = self.background.values.device
        generator = torch.Generator(device)
        generator.manual_seed(seed_for(self.experiment.seed, "train", self.fold, number))
        kinds = self.composition.kinds(self.batch_size, number)
        mine = torch.arange(self.rank, self.batch_size, self.num_processes)
        kernels, taps = self._noise(kinds, mine.to(device), generator, number)
        signals = self._signals(kinds, mine, taps, generator, number)
        kernels[: len(signals)] += signals
        kind = kinds[mine].to(device)
        return Batch(kernels, (kind == Kind.SIGNAL).float(), taps, kind)

    def _noise(
        self, kinds: Tensor, mine: Tensor, generator: torch.Generator, number: int
    ) -> tuple[Tensor, Tensor]:
        """Kernels of noise of this process, and their filters.

        Args:
            kinds: Kind of each kernel of the batch.
            mine: Rows of the batch that this process makes, on the device.
            generator: Random numbers.
            number: Number of the batch.
        """
        starts = self.background.draw_starts(self.batch_size, generator)
        others = self.background.draw_starts(self.batch_size, generator)
        device, shape = starts.device, starts.shape
        everyone = torch.ones(shape, dtype=torch.bool, device=device)
        plain = everyone.clone()
        num_glitches = int((kinds == Kind.GLITCH).sum())
        if num_glitches and self.glitches:
            rows = torch.nonzero(kinds == Kind.GLITCH)[:, 0].to(device)
            detectors, begins = self.glitches.draw(num_glitches, generator)
            starts[detectors, rows] = begins
            plain[detectors, rows] = False

        def mask(fraction: float, eligible: Tensor, size: int) -> Tensor:
            chosen = choose(eligible, share_of(fraction, size, number), generator)
            return chosen[:, mine].T[..., None]

        size = everyone.numel()
        parts = []
        for places in (starts, others):
            kernels = self.background.kernels_at(places[:, mine])
            reversed_ = mask(self.reversal, everyone, size)
            kernels = torch.where(reversed_, kernels.flip(-1), kernels)
            inverted = mask(self.inversion, everyone, size)
            parts.append((kernels, 1 - 2 * inverted.float()))
        mixed = mask(self.mixing, plain, size - num_glitches)
        angle = math.pi / 2 * torch.rand(shape, generator=generator, device=device)
        angle = mixed * angle[:, mine].T[..., None]
        (kernels, sign), (partners, partners_sign) = parts
        kernels *= sign * angle.cos()
        kernels += partners.mul_(partners_sign * angle.sin())
        return kernels, self.background.taps_at(starts[:, mine])

    def _signals(
        self, kinds: Tensor, mine: Tensor, taps: Tensor, generator: torch.Generator, number: int
    ) -> Tensor:
        """Whitened signals for the first kernels of this process, some of them spoiled.

        Args:
            kinds: Kind of each kernel of the batch, on the CPU.
            mine: Rows of the batch that this process makes, on the CPU.
            taps: Filters of those.
            generator: Random numbers.
            number: Number of the batch.

        Returns:
            Tensor of shape (kernels with a signal, ifo, kernel_size).
        """
        device, num_ifos = taps.device, taps.shape[1]
        counts = {kind: int((kinds == kind).sum()) for kind in Kind}
        first = counts[Kind.SIGNAL]
        sources = self.signals.draw_sources(
            first + counts[Kind.SWAPPED] + counts[Kind.MUTED], generator, number
        )
        # what a swapped kernel shows in one detector is of an injection of its own
        strangers = self.signals.draw_sources(counts[Kind.SWAPPED], generator, number)
        detector = torch.randint(num_ifos, (self.batch_size,), generator=generator, device=device)
        mine = mine[mine < len(sources.which)]
        if not len(mine):
            return taps.new_zeros(0, num_ifos, self.background.kernel_size)
        held = torch.arange(len(mine))
        swapped = held[kinds[mine] == Kind.SWAPPED].to(device)
        muted = held[kinds[mine] == Kind.MUTED].to(device)
        mine = mine.to(device)
        made = self.signals.make(
            sources.rows(mine).joined(strangers.rows(mine[swapped] - first)),
            torch.cat((taps[: len(mine)], taps[swapped])),
        )
        signals, other = made[: len(mine)], made[len(mine) :]
        spoiled = detector[mine]
        nth = torch.arange(len(swapped), device=device)
        signals[swapped, spoiled[swapped]] = other[nth, spoiled[swapped]]
        signals[muted, spoiled[muted]] = 0
        return signals
