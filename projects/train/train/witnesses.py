"""Batches of witnesses and of the strain that holds their noise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lightning as L
import numpy as np
import torch
from cleaning import BandPass, Resampler, Series, load_cleaning_experiment
from ledger import WitnessSet
from runtime import generator_for
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset


class _Batches(IterableDataset):
    """Batches by their number, of one epoch after the other."""

    def __init__(self, data: Witnesses) -> None:
        self.data = data

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        data = self.data
        trainer = data.trainer
        epoch = 0 if trainer is None else trainer.current_epoch
        rank, world = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        first = epoch * data.batches_per_epoch
        for number in range(first, first + data.batches_per_epoch):
            yield data.make_batch(number, rank, world)

    def __len__(self) -> int:
        return self.data.batches_per_epoch


class Witnesses(L.LightningDataModule):
    """Stretches of witnesses and strain, drawn at random from what is usable.

    The strain is band-passed as the cleaner's output is, and both are scaled by what was found in
    the training part. A stretch of witnesses is longer than its strain by what the network that
    is trained and the band-pass see before and after it.

    Args:
        experiment: The cleaning experiment; set by `--experiment`.
        witnesses: File of `deepclean collect`.
        batch_size: Stretches in a batch.
        batches_per_epoch: Batches between two validations.

    Raises:
        ProductError: The file is broken.
        ValueError: The file is of another problem or span, or has nothing usable.
    """

    def __init__(
        self,
        experiment: Path,
        witnesses: Path,
        batch_size: int = 16,
        batches_per_epoch: int = 25,
    ) -> None:
        super().__init__()
        self.settings = load_cleaning_experiment(experiment)
        self.paths = {"witnesses": Path(witnesses)}
        self.batch_size = batch_size
        self.batches_per_epoch = batches_per_epoch
        problem = self.settings.load_problem()
        layer = self.settings.training_layer
        found = WitnessSet.read(witnesses)
        if found.problem != problem.digest or found.witness_rate != layer.sample_rate:
            raise ValueError(
                f"{witnesses} is of problem {found.problem} at {found.witness_rate} Hz, the "
                f"experiment's is {problem.digest} at {layer.sample_rate} Hz: collect data for it"
            )
        channels = list(problem.layer_witnesses(layer))
        rows = [found.channel.index(name) for name in channels]
        self.rate = layer.sample_rate
        self.band_pass = BandPass(layer.bands, layer.sample_rate)
        self.kernel_size = round(self.settings.kernel_length * self.rate)
        self.gps_start, self.gps_stop = found.gps_start, found.gps_stop
        self.usable = found.usable.astype(bool)
        self.raw = found.strain
        self.raw_rate = found.strain_rate
        self.witness = found.witness[rows]
        self._prepare()

    def _prepare(self) -> None:
        """Band-pass the strain and find scales."""
        split, where = self.settings.split, self.paths["witnesses"]
        if not self.gps_start < split < self.gps_stop:
            raise ValueError(
                f"{where} covers [{self.gps_start}, {self.gps_stop}), validation begins at "
                f"{split}: collect the training span of the experiment"
            )
        raw = Series(self.raw, self.raw_rate, self.gps_start * self.raw_rate)
        lowered = self.band_pass(Resampler(self.raw_rate, self.rate)(raw))
        # what the filters cut off at the ends is never drawn
        first = lowered.first - self.gps_start * self.rate
        self.target = np.zeros(len(self.usable) * self.rate)
        self.target[first : first + lowered.size] = lowered.values
        training = np.repeat(self.usable, self.rate)
        training[(split - self.gps_start) * self.rate :] = False
        inner = training & (np.arange(len(training)) >= 2 * self.rate)
        if not inner.any():
            raise ValueError(f"{where} has no usable second before GPS {split}")
        self.mean = self.witness[:, inner].mean(axis=1, dtype=np.float64)
        spread = self.witness[:, inner].std(axis=1, dtype=np.float64)
        # a channel that never changes says nothing, whatever its size
        self.scale = np.where(spread > 0, spread, 1.0)
        self.strain_scale = float(self.target[inner].std())
        scaled = (self.witness - self.mean[:, None]) / self.scale[:, None]
        self.inputs = torch.from_numpy(scaled.astype(np.float32))
        self.targets = torch.from_numpy((self.target / self.strain_scale).astype(np.float32))

    def setup(self, stage: str) -> None:
        """Find places to draw from, for the network that is trained."""
        if stage == "fit":
            network = self.trainer.lightning_module.network
            self.look(int(network.past_size), int(network.future_size))

    def look(self, past_size: int, future_size: int) -> None:
        """Find places to draw from.

        Args:
            past_size: Samples that the network sees before a sample of its output.
            future_size: Samples that it sees after it.

        Raises:
            ValueError: No stretch of usable data is long enough.
        """
        self.past_margin = past_size + self.band_pass.half_size
        self.stretch_size = (
            self.past_margin + self.kernel_size + self.band_pass.half_size + future_size
        )
        self.places = self._places()

    def _places(self) -> np.ndarray:
        """First samples of stretches all of whose witnesses are usable training data."""
        size, split = self.stretch_size, self.settings.split
        usable = np.repeat(self.usable, self.rate)
        usable[(split - self.gps_start) * self.rate :] = False
        total = np.concatenate(([0], np.cumsum(usable)))
        places = np.flatnonzero(total[size:] - total[:-size] == size)
        # the band-pass of the strain lacks data at the very beginning
        places = places[places >= self.rate]
        if not len(places):
            raise ValueError(
                f"{self.paths['witnesses']} has no {size / self.rate:.2f} usable seconds in a row "
                f"before GPS {split}, of which kernel_length is {self.settings.kernel_length} s "
                f"and the rest what the network and the band-pass see around it: collect more "
                "data, or shorten kernel_length or the network's memory"
            )
        return places

    def make_batch(self, number: int, rank: int = 0, world: int = 1) -> tuple[Tensor, Tensor]:
        """Witnesses and strain of a batch, from the seed and its number alone.

        Args:
            number: Number of the batch.
            rank: This process's place among those that share the batch.
            world: How many share it.

        Returns:
            Scaled witnesses of shape (batch, channel, stretch_size), and scaled strain of shape
            (batch, kernel_size).
        """
        random = generator_for(self.settings.seed, "witnesses", self.settings.layer, number)
        drawn = random.choice(self.places, self.batch_size)[rank::world]
        inputs = torch.stack([self.inputs[:, p : p + self.stretch_size] for p in drawn])
        first = drawn + self.past_margin
        targets = torch.stack([self.targets[p : p + self.kernel_size] for p in first])
        return inputs, targets

    def train_dataloader(self) -> DataLoader:
        """Batches to learn from."""
        return DataLoader(_Batches(self), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """One batch that says nothing: validation cleans the whole span, see `Cleaning`."""
        return DataLoader([torch.zeros(1)], batch_size=None)

    test_dataloader = val_dataloader
