"""Batches of kernels with and without signals, made on the device."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from ledger import InjectionSet, StrainIndex, WaveformSet
from runtime import load_experiment, require_same, seed_for
from runtime.provenance import SAME_STRAIN
from torch import Tensor

from train.background import Background, load_stretches
from train.signals import Signals, SnrDistribution
from train.validation import ValidationSet

log = logging.getLogger("train")


class Data(L.LightningDataModule):
    """Background from files, signals from a waveform set.

    Args:
        experiment: The experiment file; set by `--experiment`.
        strain: The strain index; set by `--strain`.
        waveforms: Polarizations to train on; set by `--waveforms`.
        validation: Injections into the validation strain; set by `--validation`.
        fold: Fold of the experiment; set by `--fold`.
        batch_size: Kernels in a batch.
        batches_per_epoch: Batches between two validations.
        signal_fraction: Fraction of the kernels that hold a signal.
        snr: Distribution of the network SNR of training signals.
        coalescence: Earliest and latest time of the coalescence in the kernel [s].
        inversion: Probability that a detector's noise changes sign.
        reversal: Probability that a detector's noise runs backward.
        mixing: Probability that a detector's noise is a mixture of two kernels with amplitudes
            cos(x) and sin(x). A mixture of Gaussian noise is Gaussian noise of the same
            spectrum that was never there before, which keeps a network from learning the
            training noise by heart; the rest keeps glitches as loud as they are.
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
        snr: SnrDistribution = SnrDistribution(),  # noqa: B008 - frozen, so safe to share
        coalescence: tuple[float, float] = (0.45, 1.4),
        inversion: float = 0.5,
        reversal: float = 0.5,
        mixing: float = 0.75,
        validation_livetime: float = 40000.0,
    ) -> None:
        super().__init__()
        self.experiment = load_experiment(experiment)
        for name in ("signal_fraction", "inversion", "reversal", "mixing"):
            if not 0 <= locals()[name] <= 1:
                raise ValueError(f"data.{name} {locals()[name]} is no fraction between 0 and 1")
        self.paths = {"strain": strain, "waveforms": waveforms, "validation": validation}
        self.fold = fold
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        self.signal_fraction = signal_fraction
        self.snr = snr
        self.coalescence = coalescence
        self.inversion = inversion
        self.reversal = reversal
        self.mixing = mixing
        self.validation_livetime = validation_livetime
        self.seconds_making = 0.0

    def prepare_data(self) -> None:
        """Stop early where an input was made with other settings."""
        for path in self.paths.values():
            require_same(path, self.experiment, SAME_STRAIN)
        require_same(self.paths["waveforms"], self.experiment, ("waveforms",))
        require_same(self.paths["validation"], self.experiment, ("waveforms", "whitening"))

    def setup(self, stage: str) -> None:
        """Whiten the background and load the signals onto the device."""
        experiment = self.experiment
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        kernel_size = round(experiment.kernel_length * experiment.sample_rate)
        index = StrainIndex.read(self.paths["strain"])
        left_out = [(float(a), float(b)) for a, b in index.known_window]
        if stage == "fit":
            loaded = load_stretches(
                self.paths["strain"], experiment, "training", self.fold, device
            )
            self.background = Background(loaded, kernel_size, left_out)
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

    def train_dataloader(self) -> Any:
        """Numbers of batches within an epoch; the batches are made on the device."""
        return torch.utils.data.DataLoader(range(self.batches_per_epoch), batch_size=None)

    def val_dataloader(self) -> Any:
        """One item: the validation set is scored as a whole."""
        return torch.utils.data.DataLoader([-1], batch_size=None)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make the batch of a number."""
        if not self.trainer.training:
            return self.validation
        begun = time.perf_counter()
        # Lightning asks for the loader once: the number must count on from epoch to epoch
        made = self.make_batch(self.trainer.current_epoch * self.batches_per_epoch + int(batch))
        self.seconds_making += time.perf_counter() - begun
        return made

    def _noise(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Kernels of noise, some inverted, some reversed, and their filters."""
        kernels, taps = self.background.draw(self.batch_size, generator)
        shape, device = (*kernels.shape[:2], 1), kernels.device
        reverse = torch.rand(shape, generator=generator, device=device) < self.reversal
        kernels = torch.where(reverse, kernels.flip(-1), kernels)
        invert = torch.rand(shape, generator=generator, device=device) < self.inversion
        return torch.where(invert, -kernels, kernels), taps

    def make_batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Kernels and labels of a training step.

        Args:
            number: Number of the step, from which all its random numbers follow.

        Returns:
            Kernels, of shape (batch, ifo, kernel_size), those with signals first, and labels of
            shape (batch,), 1 for a signal.
        """
        device = self.background.values.device
        generator = torch.Generator(device)
        generator.manual_seed(seed_for(self.experiment.seed, "train", self.fold, number))
        kernels, taps = self._noise(generator)
        others, _ = self._noise(generator)
        shape = (*kernels.shape[:2], 1)
        mix = torch.rand(shape, generator=generator, device=device) < self.mixing
        angle = mix * (math.pi / 2) * torch.rand(shape, generator=generator, device=device)
        kernels = angle.cos() * kernels + angle.sin() * others
        count = round(self.signal_fraction * self.batch_size)
        labels = torch.zeros(self.batch_size, device=device)
        if count:
            kernels[:count] += self.signals.draw(taps[:count], generator, number)
            labels[:count] = 1
        return kernels, labels
