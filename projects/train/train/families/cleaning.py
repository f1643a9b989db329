"""Learning the noise in strain from its witnesses."""

from __future__ import annotations

import copy
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleaning import (
    AsdRatio,
    BandPass,
    CleaningExperiment,
    LayerEstimator,
    Series,
    TorchPredictor,
    band_ratios,
    fit_wiener,
    gap_envelope,
    load_cleaning_experiment,
)
from cleaning.cleaner import TAPER_LENGTH
from torch import Tensor
from torch.nn import functional as F

from train.families.regression import Regression
from train.witnesses import Witnesses

MEASURES = ("valid_asd_ratio", "valid_outside", "valid_wiener")
"""What a validation finds."""

WIENER_LENGTH = 0.25
"""What the linear filter that must be beaten sees on either side [s]."""

log = logging.getLogger("train")


@dataclass(frozen=True)
class _LayerSettings:
    """What a family asks of an experiment, for the layer of a cleaning experiment."""

    experiment: CleaningExperiment

    @property
    def seed(self) -> int:
        return self.experiment.seed

    @property
    def ifos(self) -> tuple[str, ...]:
        return (self.experiment.load_problem().ifo,)

    @property
    def sample_rate(self) -> float:
        return float(self.experiment.training_layer.sample_rate)

    @property
    def kernel_length(self) -> float:
        return self.experiment.kernel_length

    def settings(self) -> dict[str, Any]:
        return self.experiment.settings()


class Published(torch.nn.Module):
    """A network with its scales: witnesses as they are in, strain out.

    Args:
        network: From scaled witnesses to scaled noise, traced.
        mean: Mean of each witness, of shape (channel,).
        scale: Spread of each witness, of shape (channel,).
        strain_scale: Spread of the strain.
        hop_size: That of the network.
        past_size: That of the network.
        future_size: That of the network.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        mean: Tensor,
        scale: Tensor,
        strain_scale: float,
        hop_size: int,
        past_size: int,
        future_size: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean[:, None])
        self.register_buffer("scale", scale[:, None])
        self.strain_scale = strain_scale
        self.hop_size = hop_size
        self.past_size = past_size
        self.future_size = future_size

    def forward(self, witnesses: Tensor) -> Tensor:
        """Noise, (batch, channel, time) to (batch, time)."""
        return self.network((witnesses - self.mean) / self.scale) * self.strain_scale


class Cleaning(Regression):
    """Learns what can be subtracted from strain: makes the density in the bands small.

    Validation cleans the last part of the training data as the online cleaner would, and measures
    the mean ratio of the densities in the bands, cleaned over raw: `valid_asd_ratio`. The best
    linear filter is measured alike: `valid_wiener`. Data are `train.witnesses.Witnesses`.

    Args:
        experiment: The cleaning experiment; set by `--experiment`.
        num_channels: Number of witnesses; by default those of the layer.
        architecture: Name of the network in `libs/architectures`.
        options: Further arguments of the network.
        learning_rate: Largest learning rate of the one-cycle schedule.
        warm_up: Fraction of the training in which the learning rate rises.
        weight_decay: Weight decay of AdamW.
        alpha: Weight of the ratio of densities in the loss; the rest is that of the squared error.
        fftlength: Length of the Welch segments of the loss [s].
        start_from: `best.ckpt` of an earlier training to begin with, or random weights if None.
        compile: Whether the loss runs through `torch.compile`.
    """

    monitor = "valid_asd_ratio"

    def __init__(
        self,
        experiment: Path,
        num_channels: int | None = None,
        architecture: str = "Bilinear",
        options: dict[str, Any] | None = None,
        learning_rate: float = 1e-2,
        warm_up: float = 0.2,
        weight_decay: float = 0.0,
        alpha: float = 1.0,
        fftlength: float = 2.0,
        start_from: Path | None = None,
        compile: bool = False,
    ) -> None:
        layer = load_cleaning_experiment(experiment).training_layer
        self.start_from = start_from
        super().__init__(
            experiment,
            num_channels or len(layer.witnesses),
            architecture,
            options,
            learning_rate,
            warm_up,
            weight_decay,
            compile=compile,
        )
        self.difference = AsdRatio(
            list(layer.bands), layer.sample_rate, fftlength, fftlength / 2, alpha
        )
        taps = BandPass(layer.bands, layer.sample_rate).taps
        self.register_buffer("taps", torch.from_numpy(taps).float()[None, None], persistent=False)
        self.found: dict[str, float] = {}

    @staticmethod
    def read_settings(experiment: Path) -> Any:
        """The layer of a cleaning experiment."""
        return _LayerSettings(load_cleaning_experiment(experiment))

    def reseed(self, offset: int) -> None:
        """Begin with the weights of another seed, or with those of an earlier training.

        Raises:
            ValueError: The earlier training was of another network.
        """
        super().reseed(offset)
        if self.start_from is not None:
            state = torch.load(self.start_from, map_location="cpu", weights_only=True)
            weights = {
                name.removeprefix("network."): value
                for name, value in state["state_dict"].items()
                if name.startswith("network.")
            }
            try:
                self.network.load_state_dict(weights)
            except RuntimeError:
                raise ValueError(
                    f"{self.start_from} is of another network than {self.architecture} with "
                    f"options {self.options}: name that network, or leave start_from out"
                ) from None

    @property
    def data(self) -> Witnesses:
        """The data of this training."""
        return self.trainer.datamodule

    def prepare_data(self) -> None:
        """Refuse data of another kind, before anything is read.

        Raises:
            ValueError: The data are not those of witnesses.
        """
        if not isinstance(self.trainer.datamodule, Witnesses):
            raise ValueError(
                "Cleaning learns from witnesses and strain: give data.class_path "
                "train.witnesses.Witnesses, or a class derived from it"
            )

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """What is left of the strain's density in the bands."""
        inputs, target = batch
        noise = F.conv1d(self.network(inputs)[:, None], self.taps)[:, 0]
        # what comes before has seen the padding of the network, and so has what follows
        first = self.network.past_size
        return self.difference(noise[:, first : first + target.shape[-1]], target)

    def published(self) -> torch.jit.ScriptModule:
        """The network with its scales, as TorchScript, on the CPU whatever it is trained on."""
        data, network = self.data, copy.deepcopy(self.network).cpu().eval()
        example = torch.zeros(1, network.num_channels, network.kernel_size)
        module = Published(
            torch.jit.trace(network, example),
            torch.from_numpy(data.mean).float(),
            torch.from_numpy(data.scale).float(),
            data.strain_scale,
            int(network.hop_size),
            int(network.past_size),
            int(network.future_size),
        )
        return torch.jit.script(module.eval())

    @torch.no_grad()
    def clean(self, network: Any) -> dict[str, float]:
        """Clean the validation span as the online cleaner would, and measure what is left.

        Args:
            network: From witnesses, as they are, to noise; see `cleaning.Network`.

        Returns:
            Mean ratio inside and just outside the bands.
        """
        data, experiment = self.data, self.settings.experiment
        problem, layer = experiment.load_problem(), experiment.training_layer
        channels = problem.layer_witnesses(layer)
        first = data.gps_start * data.rate
        witnesses = {
            name: Series(values, data.rate, first)
            for name, values in zip(channels, data.witness, strict=True)
        }
        predictor = TorchPredictor(network.to(self.device), self.device)
        estimator = LayerEstimator(layer, channels, predictor, data.raw_rate)
        # the last second lacks what the filters see
        start, stop = experiment.split, data.gps_stop - 1
        noise = estimator(witnesses, start, stop)
        raw = Series(data.raw, data.raw_rate, data.gps_start * data.raw_rate)
        strain = raw.seconds(start, stop).values
        dropped = data.gps_start + np.flatnonzero(~data.usable)
        past, future = estimator.reach(dict.fromkeys(channels, data.rate))
        weight = gap_envelope(
            dropped.tolist(), start, stop, data.raw_rate, past, future, TAPER_LENGTH
        )
        cleaned = np.where(weight > 0, strain - weight * noise, strain)
        ratios = band_ratios(strain, cleaned, data.raw_rate, layer.bands, average="mean")
        return {
            "inside": float(np.mean(ratios.inside)),
            "outside": float(np.mean(ratios.outside)),
        }

    def on_validation_epoch_start(self) -> None:
        """Clean the validation span."""
        found = self.clean(self.published())
        if "valid_wiener" not in self.found:
            self.found["valid_wiener"] = self._wiener()
        self.found |= {"valid_asd_ratio": found["inside"], "valid_outside": found["outside"]}

    def _wiener(self) -> float:
        """Ratio that the best linear filter of the training data leaves in the validation span."""
        data = self.data
        usable = np.repeat(data.usable, data.rate)
        usable[: 2 * data.rate] = False
        usable[(self.settings.experiment.split - data.gps_start) * data.rate :] = False
        linear = fit_wiener(
            np.asarray(data.witness[:, usable], dtype=np.float64),
            data.target[usable],
            data.rate,
            length=WIENER_LENGTH,
        )
        return self.clean(linear)["inside"]

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Log what cleaning the validation span found."""
        figures = self.epoch_figures() if self.trainer.state.fn == "fit" else {}
        self.log_dict(figures | self.found, batch_size=1, sync_dist=True)

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        """The same for `test`: cleaning is reported on by `deepclean report`."""
        self.validation_step(batch, batch_idx)

    def on_fit_end(self) -> None:
        """Say so if the best network is no better than the linear filter."""
        kept = [c for c in self.trainer.checkpoint_callbacks if c.monitor == self.monitor]
        linear = self.found.get("valid_wiener", math.nan)
        for best in (c.best_model_score for c in kept):
            # written so that what is not finite is said as well
            if best is not None and not float(best) < linear:
                log.warning(
                    "the network leaves %.4f of the density in the bands, the best linear filter "
                    "%.4f: train longer, with another learning_rate, or use a linear network",
                    float(best),
                    linear,
                )

    def measures(self) -> dict[str, float]:
        """What the last validation found, by name."""
        return {name: float(self.found[name]) for name in MEASURES if name in self.found}
